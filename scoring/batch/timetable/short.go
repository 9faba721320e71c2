package timetable

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// A load is what begins or ends at a time: what has to be done at the latest from then on, or by then, or what a server has more or less of.
type load struct {
	at     time.Duration
	e      *entry // nil: a run of the server
	server int
	Run
}

// loads are those of all entries and of some that want a place, in the order of time.
func (t *Table) loads(want []*entry) (out []load) {
	add := func(e *entry) {
		last := max(t.now, e.Last)
		out = append(out, load{at: last, e: e, Run: Run{CPU: e.CPU, Memory: e.Memory}}, load{at: last + e.Life, e: e, Run: Run{CPU: -e.CPU, Memory: -e.Memory}})
	}
	for i := range t.on {
		for _, r := range t.servers[i].Runs {
			out = append(out, load{at: max(t.now, r.End), server: i, Run: r})
		}
		for _, e := range t.on[i].entries {
			if !e.late {
				add(e)
				continue
			}
			start := max(t.now, e.start)
			out = append(out, load{at: start, server: i, Run: Run{CPU: -e.CPU, Memory: -e.Memory}}, load{at: start + t.life(i, e), server: i, Run: Run{CPU: e.CPU, Memory: e.Memory}})
		}
	}
	for _, e := range want {
		add(e)
	}
	slices.SortStableFunc(out, func(a, b load) int { return cmp.Compare(a.at, b.at) })
	return out
}

// short tells whether the entries that have a place and one more, or for nil all that want one, cannot all end in time: up to some time they need more cores, more memory or, those of a
// size and above, more often a server than there is until then. Where it does not tell so they may or may not.
func (t *Table) short(loads []load, one *entry) bool {
	amounts := []func(r Run) float64{func(r Run) float64 { return r.CPU }, func(r Run) float64 { return r.Memory }}
	for _, size := range sizes(loads, one) {
		amounts = append(amounts, func(r Run) float64 { return math.Floor(r.CPU/size + 1e-9) })
	}
	free := make([]Run, len(t.on))
	for k, amount := range amounts {
		for i := range t.on {
			free[i] = Run{CPU: t.servers[i].CPU, Memory: t.servers[i].Memory}
		}
		has := func(i int) float64 { return max(0, amount(free[i])) }
		more := 0.0 // is needed than there is, at a time
		for i := range free {
			more -= has(i)
		}
		sum, done, at := 0.0, 0.0, t.now // of that, and of what is needed, until then
		need := 0.0
		for _, l := range loads {
			t.looked++
			d := (l.at - at).Hours()
			at = l.at
			done += need * d
			if sum += more * d; sum > 1e-6*done {
				return true
			}
			if l.e == nil {
				more += has(l.server)
				free[l.server].CPU += l.CPU
				free[l.server].Memory += l.Memory
				more -= has(l.server)
			} else if l.e.node >= 0 || l.e == one || one == nil {
				v := amount(Run{CPU: l.e.CPU, Memory: l.e.Memory})
				if k > 1 {
					v = min(1, v)
				}
				if l.CPU < 0 {
					v = -v
				}
				need += v
				more += v
			}
		}
	}
	return false
}

// sizes are the cores of one entry, or for nil some of those that many have: the largest.
func sizes(loads []load, one *entry) (out []float64) {
	const most = 8
	if one != nil {
		return []float64{one.CPU}
	}
	for _, l := range loads {
		if l.e != nil && l.CPU > 0 {
			out = append(out, l.CPU)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[max(0, len(out)-most):]
}
