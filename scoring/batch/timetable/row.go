package timetable

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// A row is a server's entries, and what it has free over time.
type row struct {
	entries  []*entry
	built    int64 // in which call; 0 is not
	at       []time.Duration
	cpu, mem []float64
	edges    []int32 // how many entries and runs begin or end at that time
}

// life is how long a job takes a server.
func (t *Table) life(i int, e *entry) time.Duration { return e.Life + t.servers[i].Wake }

// free returns what a server has free over time, from now on; the last value goes on.
func (t *Table) free(i int) *row {
	r := &t.on[i]
	if r.built == t.call {
		return r
	}
	s := &t.servers[i]
	steps := append(t.steps[:0], s.Runs...)
	for _, e := range r.entries {
		start := max(e.start, t.now)
		steps = append(steps, Run{start, -e.CPU, -e.Memory}, Run{start + t.life(i, e), e.CPU, e.Memory})
	}
	slices.SortFunc(steps, func(a, b Run) int { return cmp.Compare(a.End, b.End) })
	t.steps = steps
	r.built = t.call
	r.at, r.cpu, r.mem, r.edges = append(r.at[:0], t.now), append(r.cpu[:0], s.CPU), append(r.mem[:0], s.Memory), append(r.edges[:0], 1)
	for _, x := range steps {
		n := len(r.at) - 1
		if x.End > r.at[n] {
			r.at, r.cpu, r.mem, r.edges = append(r.at, x.End), append(r.cpu, r.cpu[n]), append(r.mem, r.mem[n]), append(r.edges, 0)
			n++
		}
		r.cpu[n] += x.CPU
		r.mem[n] += x.Memory
		r.edges[n]++
	}
	return r
}

// take takes what an entry needs from a row that is up to date, or with sign -1 gives it back.
func (t *Table) take(i int, e *entry, sign float64) {
	r := &t.on[i]
	if r.built != t.call {
		return
	}
	start := max(e.start, t.now)
	end := start + t.life(i, e)
	k := r.edge(start)
	for n := r.edge(end); k < n; k++ {
		r.cpu[k] -= sign * e.CPU
		r.mem[k] -= sign * e.Memory
	}
	if sign > 0 {
		return
	}
	for _, at := range [...]time.Duration{end, start} { // that edge too, and the one just counted
		k := r.step(at)
		if r.edges[k] -= 2; r.edges[k] <= 0 {
			r.at, r.cpu, r.mem, r.edges = slices.Delete(r.at, k, k+1), slices.Delete(r.cpu, k, k+1), slices.Delete(r.mem, k, k+1), slices.Delete(r.edges, k, k+1)
		}
	}
}

// edge counts one more that begins or ends at a time, and returns the step that begins then.
func (r *row) edge(at time.Duration) int {
	k, found := slices.BinarySearch(r.at, at)
	if !found {
		r.at, r.cpu, r.mem, r.edges = slices.Insert(r.at, k, at), slices.Insert(r.cpu, k, r.cpu[k-1]), slices.Insert(r.mem, k, r.mem[k-1]), slices.Insert(r.edges, k, 0)
	}
	r.edges[k]++
	return k
}

// room tells whether a job has room in a step of a row.
func (r *row) room(k int, e *entry) bool {
	return e.CPU <= r.cpu[k]+1e-9*math.Abs(r.cpu[k]) && e.Memory <= r.mem[k]+1e-9*math.Abs(r.mem[k])
}

// step is the step of a row that a time lies in.
func (r *row) step(at time.Duration) int {
	k, found := slices.BinarySearch(r.at, at)
	if !found {
		k--
	}
	return max(k, 0)
}

// fits tells whether a job has room on a server from a time on.
func (t *Table) fits(i int, e *entry, start time.Duration) bool {
	return t.blocked(t.free(i), e, start, t.life(i, e)) < 0
}

// blocked returns the last step in which a job has no room that starts on a server at a time, or -1.
func (t *Table) blocked(r *row, e *entry, start, life time.Duration) int {
	first := r.step(start)
	for k := max(first, r.step(start+life-1)); k >= first; k-- {
		if t.looked++; !r.room(k, e) {
			return k
		}
	}
	return -1
}

// latest returns the latest start from one time until another for which a job has room on a server.
func (t *Table) latest(i int, e *entry, from, until time.Duration) (time.Duration, bool) {
	r, life := t.free(i), t.life(i, e)
	start := until
	for k := r.step(until + life - 1); start >= from; k-- {
		if t.looked++; !r.room(k, e) {
			start = r.at[k] - life
		} else if r.at[k] <= start || k == 0 {
			return start, true
		}
	}
	return 0, false
}

// earliest returns the earliest.
func (t *Table) earliest(i int, e *entry, from, until time.Duration) (time.Duration, bool) {
	r, life := t.free(i), t.life(i, e)
	start := from
	for k := r.step(from); start <= until; k++ {
		t.looked++
		switch room, last := r.room(k, e), k == len(r.at)-1; {
		case room && (last || r.at[k+1] >= start+life):
			return start, true
		case last:
			return 0, false
		case !room:
			start = r.at[k+1]
		}
	}
	return 0, false
}
