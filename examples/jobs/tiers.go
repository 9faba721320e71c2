package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// A tier is the machines of one site that are up and draw about as much for a core. The planner takes each for a place of its own, so that a clean
// hour counts for what the machines draw that are still free in it.
type tier struct {
	site     int
	machines []int
	perCore  float64 // watts in full use, in the mean of the machines
}

// A site has at most maxTiers. What differs by less than leastStep is one: tiers that are alike would be fought over one by one.
const (
	maxTiers  = 4
	leastStep = 1.05
)

// perCore is what a machine draws for each core when all are in use, its idle power included; +Inf where it has no model.
func (m *Machine) perCore() float64 {
	if w := m.watts(m.Cores, 0) / m.Cores; !math.IsNaN(w) {
		return w
	}
	return math.Inf(1)
}

// tiers groups the machines of each site, from the most efficient on. Those without a model come last and count as the dearest tier of all, so that no place
// wins because its data is missing; where nothing is known a core draws 1 W. A site where no machine is up has no tier.
func (f *Fleet) tiers() (out []tier) {
	bySite := make([][]int, len(f.sites))
	for i := range f.machines {
		if !f.machines[i].Down && f.machines[i].Cores > 0 {
			bySite[f.siteOf[i]] = append(bySite[f.siteOf[i]], i)
		}
	}
	perCore := func(i int) float64 { return f.machines[i].perCore() }
	for site, machines := range bySite {
		slices.SortStableFunc(machines, func(a, b int) int { return cmp.Compare(perCore(a), perCore(b)) })
		step, first := leastStep, math.Inf(1)
		for _, i := range machines {
			if v := perCore(i); !math.IsInf(v, 1) {
				first = min(first, v)
				step = max(step, math.Pow(v/first, 1./maxTiers))
			}
		}
		for _, i := range machines {
			last := len(out) - 1
			if last < 0 || out[last].site != site || perCore(i) > step*perCore(out[last].machines[0]) {
				out = append(out, tier{site: site})
				last++
			}
			out[last].machines = append(out[last].machines, i)
		}
	}
	dearest := 0.0
	for k := range out {
		watts, cores := 0.0, 0.0
		for _, i := range out[k].machines {
			watts, cores = watts+perCore(i)*f.machines[i].Cores, cores+f.machines[i].Cores
		}
		if out[k].perCore = watts / cores; !math.IsInf(watts, 1) {
			dearest = max(dearest, out[k].perCore)
		}
	}
	for k := range out {
		if math.IsInf(out[k].perCore, 1) {
			out[k].perCore = cmp.Or(dearest, 1)
		}
	}
	return out
}

// tierWatts is what a job adds on the machines of a tier when they are in full use; +Inf where it fits on none.
func (f *Fleet) tierWatts(t *tier, j *Job) float64 {
	if !slices.ContainsFunc(t.machines, func(i int) bool { return f.machines[i].Cores >= j.CPU && f.machines[i].Memory >= j.Memory }) {
		return math.Inf(1)
	}
	return t.perCore * j.CPU
}

// capacity returns the cores that each tier has to give in each slot: all but what runs there until it is expected to end. What the jobs of
// but hold is free.
func (f *Fleet) capacity(tiers []tier, now time.Time, slot time.Duration, slots int, but map[string]bool) []spacetime.Site {
	places := make([]spacetime.Site, len(tiers))
	of := make([]int, len(f.machines)) // the tier of each machine
	for i := range of {
		of[i] = -1
	}
	for k := range tiers {
		cores := 0.0
		for _, i := range tiers[k].machines {
			cores += f.machines[i].Cores
			of[i] = k
		}
		places[k] = spacetime.Site{Name: f.sites[tiers[k].site].Name, Capacity: slices.Repeat([]float64{cores}, slots)}
	}
	for id, h := range f.held {
		if h.machine < 0 || of[h.machine] < 0 || but[id] {
			continue
		}
		left := h.until.Sub(now)
		if left <= 0 { // overdue: for this slot
			left = slot
		}
		c := places[of[h.machine]].Capacity
		length, last := arrivals.Length(left, slot)
		for t := range min(slots, length) {
			share := 1.0
			if t == length-1 {
				share = last
			}
			c[t] = max(0, c[t]-share*h.job.Requests.CPU)
		}
	}
	return places
}
