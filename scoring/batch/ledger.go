package batch

import (
	"cmp"
	"math"
	"slices"
)

// A cell is the servers of one tier at one site.
type cell struct {
	site     int
	capacity float64 // cores that may be reserved
	slope    float64 // mean kilowatts a core, over all it can do; NaN where no model is known
}

const tiers = 4 // at each site

// tier cuts each site's servers into tiers of like efficiency and like size.
func (b *overTime) tier(c *Cluster) {
	first := b.cells == nil
	if first {
		b.cells, b.cellOf = make([]cell, tiers*len(b.sites)), make([]int, c.Len())
		b.booked = make([]ledger, len(b.cells))
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
		var known, cores [tiers]float64
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

// A booking is room that a job takes in a cell, from one slot until another.
type booking struct {
	cell        int
	from, until int64
	slots       []int // from 'from' on, of a job that may be suspended; nil is all
	size        float64
}

// end is the slot after the last that is booked.
func (k *booking) end() int64 {
	if n := len(k.slots); n > 0 {
		return k.from + int64(k.slots[n-1]) + 1
	}
	return k.until
}

// book enters a booking (sign 1) or takes it back (−1).
func (b *overTime) book(k booking, sign float64) {
	l := &b.booked[k.cell]
	if k.slots == nil {
		l.add(k.from, k.until, sign*k.size)
		return
	}
	for _, t := range k.slots {
		l.add(k.from+int64(t), k.from+int64(t)+1, sign*k.size)
	}
}

// A ledger counts what is booked in each slot ahead.
type ledger struct {
	first int64
	used  []float64
}

func (l *ledger) add(from, until int64, size float64) {
	for t := max(from, l.first); t < until; t++ {
		k := int(t - l.first)
		for len(l.used) <= k {
			l.used = append(l.used, 0)
		}
		l.used[k] = max(0, l.used[k]+size)
	}
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
