package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// SpaceTime is the name of the strategy that plans over sites and time.
const SpaceTime = "spacetime"

// window is how many jobs are planned at once: those that must start first. The others follow as these start.
const window = 1000

// A planned start is where and when a job is to run.
type plannedStart struct {
	at   time.Time
	site int    // -1: anywhere
	runs []span // of a job that may be suspended, in order
}

// A span is a time.
type span struct{ from, until time.Time }

// runsAt tells whether the plan has the job run at a time, and when it goes on if not.
func (p *plannedStart) runsAt(now time.Time) (next time.Time, runs bool) {
	if p.runs == nil {
		return p.at, !p.at.After(now)
	}
	for _, s := range p.runs {
		if s.until.After(now) {
			return s.from, !s.from.After(now)
		}
	}
	return now, true // the plan is used up, and something is left: on with it
}

// spans makes times of slots, where slots that touch are one.
func spans(slots []int, now time.Time, slot time.Duration) []span {
	var out []span
	for i, t := range slots {
		from := now.Add(time.Duration(t) * slot)
		if i > 0 && slots[i-1] == t-1 {
			out[len(out)-1].until = from.Add(slot)
			continue
		}
		out = append(out, span{from, from.Add(slot)})
	}
	return out
}

// planJobs sorts jobs by their latest start and plans them over the fleet's sites and the time ahead. Every job that waits gets a start; one whose latest start has come, or
// one that has nowhere to go, gets now. Without any forecast all do. Jobs that may be suspended are planned with what is left of them; one that
// runs and would gain nothing by a pause goes on, and has no part in the plan. What is expected to come takes part, so that it finds the room that is worth more
// to it; nil expects nothing.
func planJobs(now time.Time, jobs []*Job, f *Fleet, o *Outlook, latest func(*Job) time.Time, expects *coming) (map[string]plannedStart, error) {
	slices.SortStableFunc(jobs, func(a, b *Job) int {
		return cmp.Or(latest(a).Compare(latest(b)), cmp.Compare(b.Priority, a.Priority))
	})
	jobs = jobs[:min(len(jobs), window)]
	tiers := f.tiers()
	if len(jobs) == 0 || len(f.sites) == 0 {
		return nil, nil
	}
	var end time.Duration
	for _, j := range jobs {
		end = max(end, min(max(latest(j).Sub(now), 0), horizon)+j.left(now))
	}
	if expects.any(now) { // what comes late in that time may wait, too
		end += beyond
	}
	slot := planSlot
	for end/slot > 400 {
		slot *= 2
	}
	slots := int(end/slot) + 2
	costs := make([][]float64, len(f.sites))
	for k := range costs {
		costs[k] = make([]float64, slots)
		for t := range slots {
			from := now.Add(time.Duration(t) * slot)
			costs[k][t] = o.mean(k, from, from.Add(slot)) * f.sites[k].factor()
		}
	}
	p := spacetime.Problem{Quick: len(jobs) > window/3}
	var planned []*Job
	moving := make(map[string]bool) // what they hold is theirs to plan with
	for _, j := range jobs {
		length, last := arrivals.Length(j.left(now), slot)
		x := spacetime.Job{Name: j.ID, Size: j.CPU, Length: length, Last: last, Latest: int(max(latest(j).Sub(now), 0) / slot), Energy: make([]float64, len(tiers)), Suspend: j.Suspendable}
		x.Latest = min(x.Latest, max(slots-length, 0))
		home := f.site(j.Site)
		switch {
		case j.State == Running:
			if home < 0 || now.Sub(j.began()) < shortestStretch || !worthCutting(costs[home], length, x.Latest, 0) {
				continue // it goes on
			}
			moving[j.ID] = true
		case j.Suspendable:
			x.Suspend = slices.ContainsFunc(costs, func(c []float64) bool { return worthCutting(c, length, x.Latest, x.Latest) })
		}
		if !x.Suspend && x.Latest > 0 { // what has the rest of its first slot may go on into that: it starts within the slot
			x.Latest--
		}
		for k := range tiers {
			x.Energy[k] = f.tierWatts(&tiers[k], j) / 1000 * j.left(now).Hours() / x.Slots()
			if j.State != Queued && tiers[k].site != home && home >= 0 { // what it has kept is there
				x.Energy[k] = math.Inf(1)
			}
		}
		planned, p.Jobs = append(planned, j), append(p.Jobs, x)
	}
	out := make(map[string]plannedStart, len(planned))
	if len(planned) == 0 || len(tiers) == 0 { // nothing to choose
		for _, j := range planned {
			if j.State != Running {
				out[j.ID] = plannedStart{at: now, site: -1}
			}
		}
		return out, nil
	}
	p.Sites = f.capacity(tiers, now, slot, slots, moving)
	for k := range p.Sites {
		p.Sites[k].Cost = costs[tiers[k].site]
	}
	if expects.any(now) {
		p.Expected = expects.expect(f.expected(tiers, now, slot, p.Jobs, slots))
	}
	plan, err := spacetime.Solve(p)
	if err != nil {
		return nil, err
	}
	for i, x := range plan.Placements {
		if x.Site < 0 {
			out[planned[i].ID] = plannedStart{at: now, site: -1}
			continue
		}
		out[planned[i].ID] = plannedStart{now.Add(time.Duration(x.Start) * slot), tiers[x.Site].site, spans(x.Slots, now, slot)}
	}
	return out, nil
}

// expected says in which slots work is expected that may take the room of jobs, and what a core of it draws in each tier.
func (f *Fleet) expected(tiers []tier, now time.Time, slot time.Duration, jobs []spacetime.Job, slots int) arrivals.Plan {
	p := arrivals.Plan{From: now.Sub(epoch), Slot: slot, Slots: slots, Every: max(1, int(time.Hour/slot)), Energy: make([]float64, len(tiers))}
	for i := range jobs {
		p.Until = max(p.Until, jobs[i].Latest+jobs[i].Length)
	}
	for k := range tiers {
		p.Energy[k] = f.tierWatts(&tiers[k], &Job{CPU: 1}) / 1000 * slot.Hours()
	}
	return p
}

// leastWatts is what a job adds on the machine of a site that draws the least for it at half load; machines without a model do not count, and a site
// without any counts as 1 W a core, as all others like it. +Inf: it fits on none.
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
