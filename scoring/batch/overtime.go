package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// overTime plans site, node and time together: each job gets the site and the start where its energy costs the least of what the
// grid tells to come, within its deadline and what the sites have free, and on the site the node where it adds the fewest watts. Jobs that are
// planned in one call share the room by [spacetime.Solve], in which the servers of a site stand in tiers from the most efficient to the least,
// so that a clean hour is not filled beyond what it is worth. A job is held only until its planned start, or until the next slot begins, when all
// that are held are planned anew together by the forecast of the hour; what arrives in between is planned alone, beside what is booked. Nothing is
// held without a forecast, nor beyond its latest start; a job without a deadline starts at once, where it is cheapest.
type overTime struct {
	clean
	booked []ledger           // by cell
	holds  map[string]booking // of jobs that were held, by name
	joined int64              // the slot in which all that were held were planned last
	whole  bool               // jobs take full slots: see room
	swept  int64              // the slot in which holds were looked through last
	prices [][]float64        // that this plan ended with, by cell, from its slot on
	cells  []cell
	cellOf []int     // of each node
	cost   []float64 // of the site's best node for the job at hand: kilowatts
	best   []int
}

func (*overTime) Name() string { return "spacetime" }

func (b *overTime) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	var p Plan
	fresh := b.cluster != c
	b.whole = c.switchOff
	b.look(c, now, b.opts.Horizon)
	if fresh {
		b.cells, b.holds, b.joined, b.prices = nil, map[string]booking{}, b.at, nil
		b.cost, b.best = make([]float64, len(b.sites)), make([]int, len(b.sites))
	}
	b.tier(c)
	for s := range b.booked {
		b.booked[s].forget(b.at)
	}
	if b.swept != b.at { // jobs that are not asked about any more leave nothing behind once their time has passed
		maps.DeleteFunc(b.holds, func(_ string, h booking) bool { return h.end() <= b.at })
		b.swept = b.at
	}
	var later []int // jobs with time to choose, to be planned together
	var again []int // jobs that were held and now look at what has changed, one by one
	for _, k := range queue(jobs, &p) {
		j := &jobs[k]
		h, held := b.holds[j.Name]
		if held {
			b.book(h, -1)
			delete(b.holds, j.Name)
		}
		if latest := b.latest(j, now); latest >= 0 && latest > now && j.Requests.CPU > 0 && j.Demand.Lifetime > 0 && c.CanEver(j) {
			if held && !j.Suspend {
				again = append(again, k)
			} else {
				later = append(later, k)
			}
			continue
		}
		b.atOnce(&p, c, now, jobs, k, -1)
	}
	if err := ctx.Err(); err != nil {
		return p, err
	}
	var before [][]float64
	joint := b.opts.Joint > 0 && b.at > b.joined && len(again) > 1
	if joint {
		for _, v := range b.prices {
			before = append(before, v[min(len(v), int(b.at-b.joined)):])
		}
		b.joined = b.at
		slices.SortStableFunc(again, func(k, l int) int { return cmp.Compare(b.latest(&jobs[k], now), b.latest(&jobs[l], now)) })
		n := min(len(again), b.opts.Joint)
		later, again = append(later, again[:n]...), again[n:]
	}
	if len(later) == 1 && !jobs[later[0]].Suspend {
		again, later = append(again, later[0]), nil
	}
	prices, err := b.together(ctx, &p, c, now, jobs, later, before, joint)
	if err != nil {
		return p, err
	}
	if joint {
		b.prices = prices
	}
	for _, k := range again {
		if pl := b.alone(now, &jobs[k], c); pl.Site >= 0 {
			b.follow(&p, c, now, jobs, k, &pl)
		} else {
			b.atOnce(&p, c, now, jobs, k, -1)
		}
	}
	return p, nil
}

// together plans jobs in one problem, from prices on, and returns those that it ends with.
func (b *overTime) together(ctx context.Context, p *Plan, c *Cluster, now time.Duration, jobs []Job, later []int, prices [][]float64, quick bool) ([][]float64, error) {
	if len(later) == 0 {
		return nil, nil
	}
	problem := b.problem(now, jobs, later, c)
	problem.Prices, problem.Quick = prices, quick
	plan, err := spacetime.Solve(problem)
	if err != nil && !errors.Is(err, spacetime.ErrNoSites) {
		return nil, fmt.Errorf("plan over time: %w", err)
	}
	for n, k := range later {
		j := &jobs[k]
		if err != nil || plan.Placements[n].Site < 0 {
			b.atOnce(p, c, now, jobs, k, -1)
			continue
		}
		b.follow(p, c, now, jobs, k, &plan.Placements[n])
		if e := ctx.Err(); e != nil {
			return nil, fmt.Errorf("job %q: %w", j.Name, e)
		}
	}
	if err != nil { // nowhere to run anything
		return nil, nil
	}
	return plan.Prices, nil
}

// slots is how many slots a job takes; a part counts as one.
func (b *clean) slots(d time.Duration) int {
	return max(1, int(math.Ceil(float64(d)/float64(b.grid.Slot()))))
}

// room is what a job takes of the cores in each of its slots, on average: many short ones can run in one slot, one after the other. Where servers are
// switched off it is all it requests: to fill clean hours to the brim wakes servers for a part of an hour, which costs more than that saves.
func (b *overTime) room(j *Job) float64 {
	if b.whole || j.Demand.Lifetime <= 0 {
		return j.Requests.CPU
	}
	return j.Requests.CPU * min(1, float64(j.Demand.Lifetime)/float64(b.grid.Slot()))
}

// problem states what is to be planned, in slots from the present one on.
func (b *overTime) problem(now time.Duration, jobs []Job, later []int, c *Cluster) spacetime.Problem {
	// As far as the forecast of any site reaches, and as far as the jobs need for meeting their deadlines.
	n := 1
	for s := range b.sites {
		n = max(n, len(b.ahead[s]))
	}
	far := n
	var p spacetime.Problem
	for _, k := range later {
		j := &jobs[k]
		length := min(b.slots(j.Demand.Lifetime), 10_000)
		last := min(int(int64(b.latest(j, now)/b.grid.Slot())-b.at), n-1) // nothing is held for longer than the forecast reaches
		energy := b.energies(c, j)
		far = max(far, last+length+1)
		p.Jobs = append(p.Jobs, spacetime.Job{Name: j.Name, Size: b.room(j), Length: length, Latest: max(0, last), Energy: energy, Suspend: j.Suspend})
	}
	for x := range b.cells {
		s := b.cells[x].site
		_, known := meanKnown(b.ahead[s], n)
		neutral := b.expected(s, n)
		site := spacetime.Site{Name: b.sites[s], Capacity: make([]float64, far), Cost: make([]float64, far)}
		for t := range far {
			site.Capacity[t] = max(0, b.cells[x].capacity-b.booked[x].at(b.at+int64(t)))
			site.Cost[t] = math.NaN()
			if t < len(b.ahead[s]) {
				site.Cost[t] = b.ahead[s][t]
			} else if !known {
				site.Cost[t] = neutral
			}
		}
		p.Sites = append(p.Sites, site)
	}
	return p
}

// follow carries out what is planned of one job: starts it if its time has come, else holds it.
func (b *overTime) follow(p *Plan, c *Cluster, now time.Duration, jobs []Job, k int, pl *spacetime.Placement) {
	j := &jobs[k]
	if pl.Start == 0 {
		b.atOnce(p, c, now, jobs, k, b.cells[pl.Site].site)
		if n := len(p.Assigned); n > 0 && p.Assigned[n-1].Job == k && pl.Slots != nil {
			run := 1
			for run < len(pl.Slots) && pl.Slots[run] == run {
				run++
			}
			if run < len(pl.Slots) {
				p.Assigned[n-1].For = time.Duration(b.at+int64(run))*b.grid.Slot() - now
				// It gives back what it will not use of the slots that follow.
				b.booked[b.cellOf[p.Assigned[n-1].Node]].add(b.at+int64(run), b.at+int64(b.slots(j.Demand.Lifetime)), -b.room(j))
			}
		}
		return
	}
	planned := min(time.Duration(b.at+int64(pl.Start))*b.grid.Slot(), b.latest(j, now))
	until := planned
	if b.opts.Joint > 0 {
		until = min(until, b.nextSlot(now))
	}
	h := booking{cell: pl.Site, from: b.at + int64(pl.Start), size: b.room(j)}
	h.until = h.from + int64(b.slots(j.Demand.Lifetime))
	if pl.Slots != nil {
		h.from, h.slots = b.at, pl.Slots
	}
	b.book(h, 1)
	b.holds[j.Name] = h
	p.Waiting = append(p.Waiting, Wait{Job: k, Reason: Reason{Until: until, Planned: planned}})
}

// atOnce starts a job now, at the site that was planned if it has a node free; else, and without a plan, at the one where it costs the least
// over its life; else the job waits for room.
func (b *overTime) atOnce(p *Plan, c *Cluster, now time.Duration, jobs []Job, k, planned int) {
	j := &jobs[k]
	b.bestNodes(j, now, c)
	length := b.slots(j.Demand.Lifetime)
	at, value := -1, math.Inf(1)
	for s := range b.sites {
		if b.best[s] < 0 {
			continue
		}
		v := b.cost[s] * b.expected(s, length)
		if s == planned {
			at = s
			break
		}
		if at < 0 || before(v, value) {
			at, value = s, v
		}
	}
	if at < 0 {
		p.wait(c, jobs, k)
		return
	}
	p.place(c, now, jobs, k, b.best[at])
	b.booked[b.cellOf[b.best[at]]].add(b.at, b.at+int64(length), b.room(j))
}
