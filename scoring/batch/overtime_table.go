package batch

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// A timetable says of each job that waits and has a deadline on which server it runs and when, so that it ends in time; the plan over time knows
// sites alone, where the room of several servers may be too scattered for one job. Jobs stand there as late as they can, which leaves the present to whatever
// the plan does. What starts must leave all of them a place (see starts), and one whose time there has come starts: then each ends in time as
// long as jobs last as long as told, whatever the plan wants.
type timetable struct {
	entries map[string]*entry
	on      []row // by server
	call    int64
	runs    [][]run
	c       *Cluster
	now     time.Duration
	undo    []undone
	journal bool
}

// An entry is a job's place.
type entry struct {
	job       Job
	node      int // -1: it has none
	start     time.Duration
	first     time.Duration // it is not asked about before
	due, last time.Duration // the latest start, with what the margin adds and without
	late      bool          // it cannot end in time, and gives way to nobody
	weight    float64       // how often it had to give way
	tried     int64         // the slot in which others were asked to give way to it last
}

// A row is a server's entries, and what it has free over time.
type row struct {
	entries  []*entry
	built    int64 // in which call; 0 is not
	at       []time.Duration
	cpu, mem []float64
}

type undone struct {
	e     *entry
	node  int
	start time.Duration
}

// mostEntries bounds a timetable: jobs beyond are planned without one.
const mostEntries = 2000

func newTimetable(n int) *timetable {
	return &timetable{entries: map[string]*entry{}, on: make([]row, n)}
}

// begin has what is free seen anew.
func (t *timetable) begin(c *Cluster, runs [][]run, now time.Duration) {
	t.call++
	t.c, t.runs, t.now = c, runs, now
}

// life is how long a job takes a server.
func (t *timetable) life(i int, j *Job) time.Duration {
	if t.c.switchOff {
		return j.Demand.Lifetime + t.c.nodes[i].Wake
	}
	return j.Demand.Lifetime
}

// free returns what a server has free over time, from now on; the last value goes on.
func (t *timetable) free(i int) *row {
	r := &t.on[i]
	if r.built == t.call {
		return r
	}
	type step struct {
		at       time.Duration
		cpu, mem float64
	}
	var steps []step
	for _, x := range t.runs[i] {
		steps = append(steps, step{x.end, x.cpu, x.mem})
	}
	for _, e := range r.entries {
		start := max(e.start, t.now)
		steps = append(steps, step{start, -e.job.Requests.CPU, -e.job.Requests.Memory}, step{start + t.life(i, &e.job), e.job.Requests.CPU, e.job.Requests.Memory})
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	r.built = t.call
	r.at, r.cpu, r.mem = append(r.at[:0], t.now), append(r.cpu[:0], t.c.fitCPU[i]), append(r.mem[:0], t.c.freeMem[i])
	for _, s := range steps {
		n := len(r.at) - 1
		if s.at > r.at[n] {
			r.at, r.cpu, r.mem = append(r.at, s.at), append(r.cpu, r.cpu[n]), append(r.mem, r.mem[n])
			n++
		}
		r.cpu[n] += s.cpu
		r.mem[n] += s.mem
	}
	return r
}

// room tells whether a job has room in a step of a row.
func (r *row) room(k int, j *Job) bool {
	return j.Requests.CPU <= r.cpu[k]+1e-9*math.Abs(r.cpu[k]) && j.Requests.Memory <= r.mem[k]+1e-9*math.Abs(r.mem[k])
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
func (t *timetable) fits(i int, j *Job, start time.Duration) bool {
	return t.blocked(t.free(i), j, start, t.life(i, j)) < 0
}

// blocked returns the last step in which a job has no room that starts on a server at a time, or -1.
func (t *timetable) blocked(r *row, j *Job, start, life time.Duration) int {
	first := r.step(start)
	for k := max(first, r.step(start+life-1)); k >= first; k-- {
		if !r.room(k, j) {
			return k
		}
	}
	return -1
}

// latest returns the latest start from one time until another for which a job has room on a server.
func (t *timetable) latest(i int, j *Job, from, until time.Duration) (time.Duration, bool) {
	r, life := t.free(i), t.life(i, j)
	for start := until; start >= from; {
		k := t.blocked(r, j, start, life)
		if k < 0 {
			return start, true
		}
		start = r.at[k] - life
	}
	return 0, false
}

// earliest returns the earliest.
func (t *timetable) earliest(i int, j *Job, from, until time.Duration) (time.Duration, bool) {
	r, life := t.free(i), t.life(i, j)
	for start := from; start <= until; {
		k := t.blocked(r, j, start, life)
		if k < 0 {
			return start, true
		}
		if k == len(r.at)-1 {
			break
		}
		start = r.at[k+1]
	}
	return 0, false
}

// can tells whether a server may take a job at all.
func (t *timetable) can(i int, j *Job) bool {
	n := &t.c.nodes[i]
	return !n.Down && (j.Node == "" || j.Node == n.Name) && j.Requests.Fits(&n.Allocatable)
}

// put gives an entry a place, or with node -1 takes it away.
func (t *timetable) put(e *entry, node int, start time.Duration) {
	if t.journal {
		t.undo = append(t.undo, undone{e, e.node, e.start})
	}
	if e.node >= 0 {
		r := &t.on[e.node]
		r.entries = slices.DeleteFunc(r.entries, func(x *entry) bool { return x == e })
		r.built = 0
	}
	if e.node, e.start = node, start; node >= 0 {
		r := &t.on[node]
		r.entries, r.built = append(r.entries, e), 0
	}
}

// attempt undoes what f has changed where it fails.
func (t *timetable) attempt(f func() bool) bool {
	t.journal, t.undo = true, t.undo[:0]
	ok := f()
	t.journal = false
	if !ok {
		for _, u := range slices.Backward(t.undo) {
			t.put(u.e, u.node, u.start)
		}
	}
	return ok
}

// place finds an entry a place beside all others: as late as it may start, where the least is left over; else as early as it can and still end in time.
func (t *timetable) place(e *entry) bool {
	from := max(t.now, e.first)
	best, at, spare, exact := -1, time.Duration(0), 0.0, 0
	const enough = 16 // servers to choose from
	for i := range t.on {
		if !t.can(i, &e.job) {
			continue
		}
		until := min(e.due, e.last-t.life(i, &e.job)+e.job.Demand.Lifetime)
		start, ok := t.latest(i, &e.job, from, until)
		if !ok {
			continue
		}
		r := t.free(i)
		left := r.cpu[r.step(start)]
		if best < 0 || start > at || start == at && left < spare {
			best, at, spare = i, start, left
		}
		if start == e.due {
			if exact++; exact == enough {
				break
			}
		}
	}
	for i := range t.on {
		if best >= 0 && at <= e.due {
			break
		}
		if !t.can(i, &e.job) {
			continue
		}
		if start, ok := t.earliest(i, &e.job, from, e.last-t.life(i, &e.job)+e.job.Demand.Lifetime); ok && (best < 0 || start < at) {
			best, at = i, start
		}
	}
	if best < 0 {
		return false
	}
	t.put(e, best, at)
	return true
}

// force finds an entry a place for which the least has to give way, and what gives way another; it fails, and changes nothing, where that does not come to
// an end.
func (t *timetable) force(e *entry) bool {
	return t.attempt(func() bool {
		left := []*entry{e}
		for steps := 100 + 2*len(t.entries); len(left) > 0; steps-- {
			if steps == 0 {
				return false
			}
			x := left[0]
			left = left[1:]
			if t.place(x) {
				continue
			}
			node, start := t.contested(x)
			if node < 0 {
				return false
			}
			left = append(left, t.lift(x, node, start)...)
			t.put(x, node, start)
		}
		return true
	})
}

// overlapping calls yield for the entries that run on a server while a job would that starts there at a time.
func (t *timetable) overlapping(i int, j *Job, start time.Duration, yield func(*entry)) {
	end := start + t.life(i, j)
	for _, x := range t.on[i].entries {
		if x.start < end && max(x.start, t.now)+t.life(i, &x.job) > start {
			yield(x)
		}
	}
}

// contested returns the place in time for which the least work has to give way, that which had to often counting more; -1 where there is none.
func (t *timetable) contested(e *entry) (node int, at time.Duration) {
	const servers = 64 // that are looked at
	node = -1
	least, looked := math.Inf(1), 0
	from := max(t.now, e.first)
	for i := range t.on {
		if !t.can(i, &e.job) || looked == servers {
			continue
		}
		looked++
		life := t.life(i, &e.job)
		last := e.last - life + e.job.Demand.Lifetime
		try := func(start time.Duration) {
			if start < from || start > last {
				return
			}
			v := 0.0
			t.overlapping(i, &e.job, start, func(x *entry) {
				if x.late {
					v = math.Inf(1)
				}
				v += (1 + x.weight) * x.job.Requests.CPU * x.job.Demand.Lifetime.Hours()
			})
			if v >= least || !t.bare(i, &e.job, start) {
				return
			}
			node, at, least = i, start, v
		}
		try(from)
		try(min(e.due, last))
		for _, r := range t.runs[i] {
			try(r.end)
		}
		for _, x := range t.on[i].entries {
			try(x.start + t.life(i, &x.job))
			try(x.start - life)
		}
	}
	return node, at
}

// bare tells whether a job had room on a server if nothing but what runs were there.
func (t *timetable) bare(i int, j *Job, start time.Duration) bool {
	cpu, mem := t.c.fitCPU[i], t.c.freeMem[i]
	for _, r := range t.runs[i] {
		if r.end <= start {
			cpu, mem = cpu+r.cpu, mem+r.mem
		}
	}
	return j.Requests.CPU <= cpu*(1+1e-9) && j.Requests.Memory <= mem*(1+1e-9)
}

// lift takes away entries until a job has room on a server from a time on: the smallest that suffices, else the largest.
func (t *timetable) lift(e *entry, i int, start time.Duration) (out []*entry) {
	for !t.fits(i, &e.job, start) {
		r := t.free(i)
		k := t.blocked(r, &e.job, start, t.life(i, &e.job))
		need := e.job.Requests.CPU - r.cpu[k]
		var pick *entry
		for _, x := range t.on[i].entries {
			if x.late || x == e || max(x.start, t.now) > r.at[k] || max(x.start, t.now)+t.life(i, &x.job) <= r.at[k] {
				continue
			}
			if pick == nil || better(x.job.Requests.CPU*(1+x.weight), pick.job.Requests.CPU*(1+pick.weight), need) {
				pick = x
			}
		}
		if pick == nil {
			return out // what runs there longer than it should, or for want of memory
		}
		pick.weight++
		t.put(pick, -1, 0)
		out = append(out, pick)
	}
	return out
}

func better(size, than, need float64) bool {
	if (size >= need) != (than >= need) {
		return size >= need
	}
	return (size < than) == (size >= need)
}
