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

	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
	"github.com/leastwatt/leastwatt/scoring/batch/timetable"
)

// overTime plans site, node and time together: each job gets the site and the start where its energy costs the least of what the
// grid tells to come, within its deadline and what the sites have free, and on the site the node where it adds the fewest watts. Jobs that are
// planned in one call share the room by [spacetime.Solve], in which the servers of a site stand in tiers from the most efficient to the least,
// so that a clean hour is not filled beyond what it is worth. A job is held only until its planned start, or until the next slot begins, when all
// that are held are planned anew together by the forecast of the hour; what arrives in between is planned alone, beside what is booked. Where servers
// stay on, what is expected to arrive takes part, so that nothing waits for a clean hour which others will fill; see package arrivals. Cores that are free
// before their time go to jobs that are planned for one that is worth no more than now; see settle. A timetable of the servers sees to it that
// deadlines are met which can be. Nothing is held without a forecast, nor beyond
// its latest start; a job without a deadline starts at once, where it is cheapest.
type overTime struct {
	clean
	booked  []ledger               // by cell
	running []ledger               // what of it runs
	firm    [slackClasses][]ledger // what of it is held and cannot wait for long; see clears
	servers []timetable.Server     // what runs on each node, as far as is known
	holds   map[string]booking     // of jobs that were held, by name
	asked   []hold                 // of the present call
	keeps   [][]keep               // room that is kept, by node
	keptAt  map[string]int         // the nodes of keeps, by the name of the job
	joined  int64                  // the slot in which all that were held were planned last
	whole   bool                   // jobs take full slots: see parts
	idle    bool                   // nothing runs
	swept   int64                  // the slot in which holds were looked through last
	prices  [][]float64            // that the plan of joined ended with, by cell, from that slot on
	cells   []cell
	cellOf  []int     // of each node
	cost    []float64 // of the site's best node for the job at hand: kilowatts
	best    []int
	sums    [][]float64       // of costs ahead, by site
	priced  [][]float64       // of prices, by cell
	coming  *arrivals.Learner // what comes beside the jobs that are there; see expect
	table   *timetable.Table  // in which all that wait end in time
	barred  []int             // servers that the job at hand may not have
}

func (*overTime) Name() string { return "spacetime" }

func (b *overTime) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	var p Plan
	fresh := b.cluster != c
	// Where servers are switched off, to fill clean hours to the brim wakes servers for a part of an hour, which costs more than that saves.
	b.whole = c.switchOff
	b.look(c, now, b.opts.Horizon)
	if fresh {
		b.cells, b.holds, b.keptAt, b.joined, b.prices = nil, map[string]booking{}, map[string]int{}, b.at, nil
		b.swept, b.servers, b.keeps = -1, make([]timetable.Server, c.Len()), make([][]keep, c.Len())
		b.cost, b.best = make([]float64, len(b.sites)), make([]int, len(b.sites))
		b.coming = arrivals.New(b.grid.Slot(), now)
		b.table = timetable.New()
	}
	b.coming.Pass(now)
	b.tier(c)
	b.forget(now)
	b.enter(jobs, c, now)
	b.asked, b.idle = b.asked[:0], !slices.ContainsFunc(c.jobs, func(n int32) bool { return n > 0 })
	var must []int  // jobs that start now if there is room
	var later []int // jobs with time to choose, to be planned together
	var again []int // jobs that were held and now look at what has changed, one by one
	for _, k := range queue(jobs, &p) {
		j := &jobs[k]
		h, held := b.holds[j.Name]
		latest := b.latest(j, now)
		b.see(j, latest-max(j.Submitted, 0))
		waits := latest >= 0 && latest > now && j.Requests.CPU > 0 && j.Demand.Lifetime > 0 && c.CanEver(j)
		if held && waits && h.made == b.at && b.opts.Joint > 0 && !b.whole && h.slots == nil {
			b.asked = append(b.asked, hold{job: k, booking: h, latest: latest}) // its plan is of this slot
			continue
		}
		if held {
			b.book(h, -1)
			delete(b.holds, j.Name)
		}
		switch {
		case !waits:
			must = append(must, k)
		case held && !j.Suspend:
			again = append(again, k)
		default:
			later = append(later, k)
		}
	}
	b.urgent(must, jobs)
	for _, k := range must {
		b.atOnce(&p, c, now, jobs, k, -1, 0)
	}
	if err := ctx.Err(); err != nil {
		return p, err
	}
	var before [][]float64
	expects := !b.whole && b.coming.Any()
	joint := b.opts.Joint > 0 && b.at > b.joined && (len(again) > 1 || expects && len(again)+len(later) > 0)
	if joint {
		for _, v := range b.prices {
			before = append(before, v[min(len(v), int(b.at-b.joined)):])
		}
		b.joined = b.at
		slices.SortStableFunc(again, func(k, l int) int { return cmp.Compare(b.latest(&jobs[k], now), b.latest(&jobs[l], now)) })
		n := min(len(again), b.opts.Joint)
		later, again = append(later, again[:n]...), again[n:]
	}
	if !joint && (len(later) == 1 || expects && b.prices != nil) { // the prices of this slot stand for the others
		again, later = b.oneByOne(again, later, jobs)
	}
	prices, err := b.together(ctx, &p, c, now, jobs, later, before, joint)
	if err != nil {
		return p, err
	}
	if joint {
		b.prices = prices
	}
	for _, k := range again {
		if pl, energy := b.alone(now, &jobs[k], c); pl.Site >= 0 {
			b.follow(&p, c, now, jobs, k, &pl, energy)
		} else {
			b.atOnce(&p, c, now, jobs, k, -1, 0)
		}
	}
	b.settle(&p, c, now, jobs)
	return p, nil
}

// oneByOne moves the jobs that may not be suspended from those that are planned together to those that are planned one by one.
func (*overTime) oneByOne(again, later []int, jobs []Job) (alone, together []int) {
	for _, k := range later {
		if jobs[k].Suspend {
			together = append(together, k)
		} else {
			again = append(again, k)
		}
	}
	return again, together
}

// urgent brings those that must start first to the front, within one priority; those without a deadline come last.
func (b *overTime) urgent(must []int, jobs []Job) {
	slices.SortStableFunc(must, func(k, l int) int {
		return cmp.Or(cmp.Compare(jobs[l].Priority, jobs[k].Priority), cmp.Compare(b.due(&jobs[k]), b.due(&jobs[l])))
	})
}

// forget drops what has passed: slots, jobs that have ended, and those that are not asked about any more.
func (b *overTime) forget(now time.Duration) {
	b.ended(now)
	if b.swept == b.at {
		return
	}
	b.swept = b.at
	maps.DeleteFunc(b.holds, func(_ string, h booking) bool { return b.end(&h) <= b.at })
	for x := range b.cells {
		b.booked[x].forget(b.at)
		b.running[x].forget(b.at)
		for q := range b.firm {
			b.firm[q][x].forget(b.at)
		}
	}
}

// together plans jobs in one problem and returns the prices that it ends with. All that are held are planned from prices on, beside the work that is expected.
func (b *overTime) together(ctx context.Context, p *Plan, c *Cluster, now time.Duration, jobs []Job, later []int, prices [][]float64, joint bool) ([][]float64, error) {
	if len(later) == 0 {
		return nil, nil
	}
	problem := b.problem(now, jobs, later, c)
	if joint {
		problem.Prices, problem.Quick = prices, b.whole
		if !b.whole {
			problem.Expected = b.expect(c, &problem)
		}
	}
	plan, err := spacetime.Solve(problem)
	if err != nil && !errors.Is(err, spacetime.ErrNoSites) {
		return nil, fmt.Errorf("plan over time: %w", err)
	}
	for n, k := range later {
		j := &jobs[k]
		if err != nil || plan.Placements[n].Site < 0 {
			b.atOnce(p, c, now, jobs, k, -1, 0)
			continue
		}
		pl := &plan.Placements[n]
		b.follow(p, c, now, jobs, k, pl, problem.Jobs[n].Energy[pl.Site])
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
	n, _ := arrivals.Length(d, b.grid.Slot())
	return n
}

// last is the share that a job takes of the last of its slots.
func (b *overTime) last(d time.Duration) float64 {
	if b.whole {
		return 1
	}
	_, part := arrivals.Length(d, b.grid.Slot())
	return part
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
		last := min(int(int64((b.latest(j, now)-b.early(c, j))/b.grid.Slot())-b.at), n-1) // nothing is held for longer than the forecast reaches
		energy := b.energies(c, j)
		far = max(far, last+length+1)
		p.Jobs = append(p.Jobs, spacetime.Job{Name: j.Name, Size: j.Requests.CPU, Length: length, Last: b.last(j.Demand.Lifetime), Latest: max(0, last), Energy: energy, Suspend: j.Suspend})
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

// follow carries out what is planned of one job, which takes energy in a slot: it starts one whose time has come, or books its room; then settle starts or
// holds it.
func (b *overTime) follow(p *Plan, c *Cluster, now time.Duration, jobs []Job, k int, pl *spacetime.Placement, energy float64) {
	j := &jobs[k]
	if pl.Start == 0 && (b.whole || j.Suspend) {
		stretch := time.Duration(0)
		for run := 1; pl.Slots != nil && run < len(pl.Slots) && stretch == 0; run++ {
			if pl.Slots[run] != run {
				stretch = time.Duration(b.at+int64(run))*b.grid.Slot() - now
			}
		}
		b.atOnce(p, c, now, jobs, k, b.cells[pl.Site].site, stretch)
		return
	}
	latest := b.latest(j, now)
	h := booking{cell: pl.Site, start: max(now, min(time.Duration(b.at+int64(pl.Start))*b.grid.Slot(), latest)), life: j.Demand.Lifetime, size: j.Requests.CPU, made: b.at, energy: energy}
	h.class = b.classOf(latest - h.start)
	if pl.Slots != nil {
		h.from, h.slots = b.at, pl.Slots
	}
	b.book(h, 1)
	b.holds[j.Name] = h
	b.asked = append(b.asked, hold{job: k, booking: h, latest: latest})
}

// atOnce starts a job now, at the site that was planned if it has a node free; else, and without a plan, at the one where it costs the least
// over its life; else the job waits for room. It runs for a stretch, if that is not 0.
func (b *overTime) atOnce(p *Plan, c *Cluster, now time.Duration, jobs []Job, k, planned int, stretch time.Duration) {
	j := &jobs[k]
	node := b.choose(c, j, now, func() int { return b.pick(j, planned) })
	if node < 0 {
		p.wait(c, jobs, k)
		if at, ok := b.table.Place(j.Name); ok && !at.Late {
			until := min(b.nextAsked(now, at.Start), b.nextChance(now))
			b.table.Wait(j.Name, until)
			p.Waiting[len(p.Waiting)-1].Reason.Until = until
		}
		b.keep(c, j, now)
		return
	}
	b.start(p, c, now, jobs, k, node, stretch)
}

// choose returns the server that pick wants for a job that starts now, or the next that it wants if the timetable has none of the first, or that where the job must
// start now by the timetable; else -1.
func (b *overTime) choose(c *Cluster, j *Job, now time.Duration, pick func() int) int {
	const tries = 4
	b.barred = b.barred[:0]
	defer func() { b.barred = b.barred[:0] }()
	for range tries {
		b.bestNodes(j, now, c)
		node := pick()
		if node < 0 {
			break
		}
		if b.sure(j, c, now, node) {
			return node
		}
		b.barred = append(b.barred, node)
	}
	node := b.turn(j, c, now)
	if node >= 0 {
		b.table.Drop(j.Name)
	}
	return node
}

// pick returns the best node of the site that was planned, else of the one where a job costs the least over its life, or -1.
func (b *overTime) pick(j *Job, planned int) int {
	if planned >= 0 && b.best[planned] >= 0 {
		return b.best[planned]
	}
	length := b.slots(j.Demand.Lifetime)
	node, value := -1, math.Inf(1)
	for s, best := range b.best {
		if best < 0 {
			continue
		}
		if v := b.cost[s] * b.expected(s, length); node < 0 || before(v, value) {
			node, value = best, v
		}
	}
	return node
}

// start places a job on a node and books what it takes.
func (b *overTime) start(p *Plan, c *Cluster, now time.Duration, jobs []Job, k, node int, stretch time.Duration) {
	j := &jobs[k]
	p.place(c, now, jobs, k, node)
	life := j.Demand.Lifetime
	if stretch > 0 {
		life = min(life, stretch)
		p.Assigned[len(p.Assigned)-1].For = stretch
	}
	x := b.cellOf[node]
	b.parts(now, life, func(t int64, share float64) {
		b.booked[x].add(t, share*j.Requests.CPU)
		b.running[x].add(t, share*j.Requests.CPU)
	})
	at := &b.servers[node]
	at.CPU, at.Memory = c.fitCPU[node], c.freeMem[node]
	at.Add(timetable.Run{End: now + life, CPU: j.Requests.CPU, Memory: j.Requests.Memory})
	b.unkeep(j.Name)
	b.table.Changed(node)
	if stretch > 0 && j.Deadline > 0 {
		b.rest(j, c, now, life)
	}
	if stretch == 0 {
		b.coming.Forget(j.Name)
	}
}
