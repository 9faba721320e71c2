package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// SpaceTime is the name of the strategy that plans over sites and time.
const SpaceTime = "spacetime"

// window is how many jobs are planned at once: those that must start first. The others follow as these start.
const window = 1000

// A planned start is where and when a job is to run.
type plannedStart struct {
	at   time.Time
	site int
}

// planJobs plans jobs over the fleet's sites and the time ahead. Every job gets a start; one whose latest start has come, or
// one that has nowhere to go, gets now. Without any forecast all do.
func planJobs(now time.Time, jobs []*Job, f *Fleet, o *Outlook, latest func(*Job) time.Time) (map[string]plannedStart, error) {
	slices.SortStableFunc(jobs, func(a, b *Job) int {
		return cmp.Or(latest(a).Compare(latest(b)), cmp.Compare(b.Priority, a.Priority))
	})
	jobs = jobs[:min(len(jobs), window)]
	if len(jobs) == 0 || len(f.sites) == 0 {
		return nil, nil
	}
	var end time.Duration
	for _, j := range jobs {
		end = max(end, min(max(latest(j).Sub(now), 0), horizon)+j.Duration)
	}
	slot := 15 * time.Minute
	for end/slot > 400 {
		slot *= 2
	}
	slots := int(end/slot) + 2
	p := spacetime.Problem{Sites: f.capacity(now, slot, slots), Jobs: make([]spacetime.Job, len(jobs))}
	for k := range p.Sites {
		p.Sites[k].Cost = make([]float64, slots)
		for t := range slots {
			from := now.Add(time.Duration(t) * slot)
			p.Sites[k].Cost[t] = o.mean(k, from, from.Add(slot)) * f.sites[k].factor()
		}
	}
	for i, j := range jobs {
		length := int((j.Duration + slot - 1) / slot)
		p.Jobs[i] = spacetime.Job{Name: j.ID, Size: j.CPU, Length: length, Latest: int(max(latest(j).Sub(now), 0) / slot), Energy: make([]float64, len(p.Sites))}
		p.Jobs[i].Latest = min(p.Jobs[i].Latest, max(slots-length, 0))
		for k := range p.Sites {
			p.Jobs[i].Energy[k] = f.leastWatts(k, j) / 1000 * j.Duration.Hours() / float64(length)
		}
	}
	plan, err := spacetime.Solve(p)
	if err != nil {
		return nil, err
	}
	out := make(map[string]plannedStart, len(jobs))
	for i, x := range plan.Placements {
		if x.Site < 0 {
			out[jobs[i].ID] = plannedStart{now, -1}
			continue
		}
		out[jobs[i].ID] = plannedStart{now.Add(time.Duration(x.Start) * slot), x.Site}
	}
	return out, nil
}

// capacity returns the cores that each site has to give in each slot: all but what runs there until it is expected to end.
func (f *Fleet) capacity(now time.Time, slot time.Duration, slots int) []spacetime.Site {
	sites := make([]spacetime.Site, len(f.sites))
	for k := range sites {
		sites[k] = spacetime.Site{Name: f.sites[k].Name, Capacity: make([]float64, slots)}
	}
	for i := range f.machines {
		if !f.machines[i].Down {
			for t := range slots {
				sites[f.siteOf[i]].Capacity[t] += f.machines[i].Cores
			}
		}
	}
	for _, h := range f.held {
		if h.machine < 0 {
			continue
		}
		left := max(h.until.Sub(now), 1) // overdue: for this slot at least
		c := sites[f.siteOf[h.machine]].Capacity
		for t := range min(slots, int((left+slot-1)/slot)) {
			c[t] = max(0, c[t]-h.job.Requests.CPU)
		}
	}
	return sites
}

// leastWatts is what a job adds on the machine of a site that draws the least for it at half load; a machine without a model
// counts as the mean of the site's, and a site without any as 1 W a core, as all others like it. +Inf: it fits on none.
func (f *Fleet) leastWatts(site int, j *Job) float64 {
	best, fits := math.Inf(1), false
	for i := range f.machines {
		m := &f.machines[i]
		if f.siteOf[i] != site || m.Down || m.Cores < j.CPU || m.Memory < j.Memory {
			continue
		}
		fits = true
		if w := m.watts(j.CPU, min(m.Cores/2, m.Cores-j.CPU)); w < best {
			best = w
		}
	}
	if fits && math.IsInf(best, 1) {
		return j.CPU
	}
	return best
}
