package timetable

import (
	"math"
	"time"
)

// Where more is to be done than there is time for, nothing is sure of an end: what is looked at so that others give way to a job is bounded, for each attempt and in a round.
const (
	mostLooks   = 100_000_000 // a second or so
	mostAtATime = mostLooks / 5
)

// force finds an entry a place for which the least has to give way, and what gives way another; it fails, and changes nothing, where that does not come to
// an end, or not before so much was looked at.
func (t *Table) force(e *entry, most int) bool {
	return t.attempt(func() bool {
		left := []*entry{e}
		for steps := 100 + 20*len(t.entries); len(left) > 0; steps-- {
			if steps == 0 || t.looked > most {
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

// inTheWay returns how much work runs on a server while a job would that starts there at a time, what had to give way often counting more; of what gives way to nobody +Inf.
// It stops where it is not less than that.
func (t *Table) inTheWay(i int, e *entry, start time.Duration, least float64) float64 {
	end, v := start+t.life(i, e), 0.0
	for _, x := range t.on[i].entries {
		t.looked++
		if x.start >= end || max(x.start, t.now)+t.life(i, x) <= start {
			continue
		}
		if x.late {
			return math.Inf(1)
		}
		if v += (1 + x.weight) * x.CPU * x.Life.Hours(); v >= least {
			break
		}
	}
	return v
}

// contested returns the place in time for which the least work has to give way, that which had to often counting more; -1 where there is none.
func (t *Table) contested(e *entry) (node int, at time.Duration) {
	const servers = 64 // that are looked at
	node = -1
	least, looked := math.Inf(1), 0
	from := max(t.now, e.First)
	for i := range t.on {
		if !t.can(i, e) || looked == servers {
			continue
		}
		looked++
		life := t.life(i, e)
		last := e.Last - life + e.Life
		try := func(start time.Duration) {
			if start < from || start > last {
				return
			}
			v := t.inTheWay(i, e, start, least)
			if v >= least || !t.bare(i, e, start) {
				return
			}
			node, at, least = i, start, v
		}
		try(from)
		try(min(e.Due, last))
		for _, r := range t.servers[i].Runs {
			try(r.End)
		}
		for _, x := range t.on[i].entries {
			try(x.start + t.life(i, x))
			try(x.start - life)
		}
	}
	return node, at
}

// bare tells whether a job had room on a server if nothing but what runs were there.
func (t *Table) bare(i int, e *entry, start time.Duration) bool {
	cpu, mem := t.servers[i].CPU, t.servers[i].Memory
	for _, r := range t.servers[i].Runs {
		if r.End <= start {
			cpu, mem = cpu+r.CPU, mem+r.Memory
		}
	}
	return e.CPU <= cpu*(1+1e-9) && e.Memory <= mem*(1+1e-9)
}

// lift takes away entries until a job has room on a server from a time on: the smallest that suffices, else the largest.
func (t *Table) lift(e *entry, i int, start time.Duration) (out []*entry) {
	for !t.fits(i, e, start) {
		r := t.free(i)
		k := t.blocked(r, e, start, t.life(i, e))
		need := e.CPU - r.cpu[k]
		var pick *entry
		for _, x := range t.on[i].entries {
			if x.late || x == e || max(x.start, t.now) > r.at[k] || max(x.start, t.now)+t.life(i, x) <= r.at[k] {
				continue
			}
			if pick == nil || better(x.CPU*(1+x.weight), pick.CPU*(1+pick.weight), need) {
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
