package batch

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// A cell is the servers of one tier at one site.
type cell struct {
	site     int
	capacity float64 // cores that may be reserved
	slope    float64 // mean kilowatts a core, over all it can do; NaN where no model is known
}

// maxTiers is how many tiers a site has where servers are switched off. Where they stay on it has one: tiers that are alike would be fought over one by one, and
// their prices would not settle.
const maxTiers = 4

// tier cuts each site's servers into tiers of like efficiency and like size.
func (b *overTime) tier(c *Cluster) {
	first := b.cells == nil
	tiers := 1
	if b.whole {
		tiers = maxTiers
	}
	if !first {
		tiers = len(b.cells) / len(b.sites)
	} else {
		b.cells, b.cellOf = make([]cell, tiers*len(b.sites)), make([]int, c.Len())
		b.booked, b.running = make([]ledger, len(b.cells)), make([]ledger, len(b.cells))
		for q := range b.firm {
			b.firm[q] = make([]ledger, len(b.cells))
		}
	}
	slope := make([]float64, c.Len()) // kilowatts a core
	bySite := make([][]int, len(b.sites))
	for i := range c.nodes {
		slope[i] = math.NaN()
		if e := c.env[i]; e != nil {
			slope[i] = float64(e.At(1)-e.At(0)) * c.perWork[i] / 1000
		}
		bySite[b.of[i]] = append(bySite[b.of[i]], i)
	}
	for s, nodes := range bySite {
		slices.SortStableFunc(nodes, func(i, k int) int { // unknown last
			if u, v := slope[i] != slope[i], slope[k] != slope[k]; u != v {
				if u {
					return 1
				}
				return -1
			}
			return cmp.Compare(slope[i], slope[k])
		})
		var known, cores [maxTiers]float64
		for t := range tiers {
			b.cells[s*tiers+t] = cell{site: s}
		}
		for n, i := range nodes {
			t := b.cellOf[i] % tiers
			if first {
				t = n * tiers / len(nodes)
				b.cellOf[i] = s*tiers + t
			}
			x := &b.cells[s*tiers+t]
			if !c.nodes[i].Down {
				x.capacity += c.nodes[i].Allocatable.CPU
			}
			if slope[i] == slope[i] {
				known[t] += slope[i] * c.work[i]
				cores[t] += c.work[i]
			}
		}
		for t := range tiers {
			b.cells[s*tiers+t].slope = known[t] / cores[t] // NaN without any
		}
	}
}

// A booking is room that a job which is held takes in a cell.
type booking struct {
	cell        int
	start, life time.Duration
	size        float64
	from        int64
	slots       []int   // from 'from' on, of a job that may be suspended; nil is from start on
	energy      float64 // kilowatt-hours in a slot
	made        int64   // the slot in which it was planned
	class       int     // see firm
}

// parts calls visit for the slots that a job takes from its start on, with the share of each: many short ones can run in one slot, one after the other.
// Where jobs take full slots each share is 1.
func (b *overTime) parts(start, life time.Duration, visit func(slot int64, share float64)) {
	d := b.grid.Slot()
	t := int64(start / d)
	if b.whole || life <= 0 {
		for end := t + int64(b.slots(life)); t < end; t++ {
			visit(t, 1)
		}
		return
	}
	for left := life; left > 0; t++ {
		part := min(left, time.Duration(t+1)*d-start)
		visit(t, float64(part)/float64(d))
		left -= part
		start += part
	}
}

// end is the slot after the last that is booked.
func (b *overTime) end(k *booking) int64 {
	if n := len(k.slots); n > 0 {
		return k.from + int64(k.slots[n-1]) + 1
	}
	return int64(k.start/b.grid.Slot()) + int64(b.slots(k.life)) + 1
}

// book enters a booking (sign 1) or takes it back (−1).
func (b *overTime) book(k booking, sign float64) {
	add := func(t int64, share float64) {
		b.booked[k.cell].add(t, sign*share*k.size)
		for q := k.class; q < slackClasses; q++ {
			b.firm[q][k.cell].add(t, sign*share*k.size)
		}
	}
	if k.slots == nil {
		b.parts(k.start, k.life, add)
		return
	}
	for _, t := range k.slots {
		share := 1.0
		if len(k.slots) == 1 {
			share = b.last(k.life)
		}
		add(k.from+int64(t), share)
	}
}

// A ledger counts what is booked in each slot ahead.
type ledger struct {
	first int64
	used  []float64
}

func (l *ledger) add(t int64, size float64) {
	k := int(t - l.first)
	if k < 0 {
		return // it has passed
	}
	for len(l.used) <= k {
		l.used = append(l.used, 0)
	}
	l.used[k] = max(0, l.used[k]+size)
}

// forget drops the slots before first.
func (l *ledger) forget(first int64) {
	if n := int(first - l.first); n > 0 {
		l.used = l.used[:copy(l.used, l.used[min(n, len(l.used)):])]
		l.first = first
	}
}

func (l *ledger) at(t int64) float64 {
	if k := int(t - l.first); k >= 0 && k < len(l.used) {
		return l.used[k]
	}
	return 0
}
