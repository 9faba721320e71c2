package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// overTime plans site, node and time together: each job gets the site and the start where its energy costs the least of what the
// grid tells to come, within its deadline and what the sites have free, and on the site the node where it adds the fewest watts. Jobs that are
// planned in one call share the room by [spacetime.Solve], in which the servers of a site stand in tiers from the most efficient to the least,
// so that a clean hour is not filled beyond what it is worth. A job is held only until its planned start and only while there is a
// forecast, and never beyond its latest start; one without a deadline starts at once, where it is cheapest.
type overTime struct {
	clean
	booked []ledger           // by cell
	holds  map[string]booking // of jobs that were held, by name
	cells  []cell
	cellOf []int     // of each node
	cost   []float64 // of the site's best node for the job at hand: kilowatts
	best   []int
}

func (*overTime) Name() string { return "spacetime" }

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

func (b *overTime) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	var p Plan
	fresh := b.for_ != c
	b.look(c, now, b.opts.Horizon)
	if fresh {
		b.cells, b.holds = nil, map[string]booking{}
		b.cost, b.best = make([]float64, len(b.sites)), make([]int, len(b.sites))
	}
	b.tier(c)
	for s := range b.booked {
		b.booked[s].forget(b.at)
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
	if len(later) == 1 && !jobs[later[0]].Suspend {
		again, later = append(again, later[0]), nil
	}
	for _, k := range again {
		if pl := b.alone(now, &jobs[k], c); pl.Site >= 0 {
			b.follow(&p, c, now, jobs, k, &pl)
		} else {
			b.atOnce(&p, c, now, jobs, k, -1)
		}
	}
	if len(later) == 0 {
		return p, nil
	}
	plan, err := spacetime.Solve(b.problem(now, jobs, later, c))
	if err != nil && !errors.Is(err, spacetime.ErrNoSites) {
		return p, fmt.Errorf("plan over time: %w", err)
	}
	for n, k := range later {
		j := &jobs[k]
		if err != nil || plan.Placements[n].Site < 0 {
			b.atOnce(&p, c, now, jobs, k, -1)
			continue
		}
		b.follow(&p, c, now, jobs, k, &plan.Placements[n])
		if e := ctx.Err(); e != nil {
			return p, fmt.Errorf("job %q: %w", j.Name, e)
		}
	}
	return p, nil
}

// slots is how many slots a job takes; a part counts as one.
func (b *clean) slots(d time.Duration) int {
	return max(1, int(math.Ceil(float64(d)/float64(b.grid.Slot()))))
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
		p.Jobs = append(p.Jobs, spacetime.Job{Name: j.Name, Size: j.Requests.CPU, Length: length, Latest: max(0, last), Energy: energy, Suspend: j.Suspend})
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

// energies are the kilowatt-hours that a job needs in a slot, by cell: NaN where no server could take it. Where the models are unknown it is
// that of the dearest cell.
func (b *overTime) energies(c *Cluster, j *Job) []float64 {
	can := make([]bool, len(b.cells))
	for i := range c.nodes {
		n := &c.nodes[i]
		if x := b.cellOf[i]; !can[x] && !n.Down && (j.Node == "" || j.Node == n.Name) && j.Requests.Fits(&n.Allocatable) {
			can[x] = true
		}
	}
	dearest := 0.0
	for x := range b.cells {
		if v := b.cells[x].slope; v > dearest {
			dearest = v
		}
	}
	if dearest == 0 {
		dearest = 1 // nothing is known of power: the grid alone decides
	}
	out := make([]float64, len(b.cells))
	for x := range b.cells {
		v := b.cells[x].slope
		if v != v {
			v = dearest
		}
		if out[x] = math.NaN(); can[x] {
			out[x] = max(0, v) * j.Demand.CPU * b.grid.Slot().Hours()
		}
	}
	return out
}

// alone plans one job beside what is booked: the cell and start of least cost, the earliest of equals; Site is -1 where there is no room in
// time. Slots whose cost is unknown are neutral, as in [spacetime.Problem].
func (b *overTime) alone(now time.Duration, j *Job, c *Cluster) spacetime.Placement {
	n := 1
	for s := range b.sites {
		n = max(n, len(b.ahead[s]))
	}
	length := min(b.slots(j.Demand.Lifetime), 10_000)
	last := max(0, min(int(int64(b.latest(j, now)/b.grid.Slot())-b.at), n-1))
	best, value := spacetime.Placement{Site: -1}, math.Inf(1)
	sum := make([]float64, last+length+1)
	site := -1
	for x, e := range b.energies(c, j) {
		if e != e {
			continue
		}
		if s := b.cells[x].site; s != site {
			site = s
			neutral := b.expected(s, n)
			for t := range last + length {
				v := neutral
				if a := b.ahead[s]; t < len(a) && a[t] == a[t] {
					v = a[t]
				}
				sum[t+1] = sum[t] + v
			}
		}
		run := 0
		for t := range last + length {
			if run++; b.cells[x].capacity-b.booked[x].at(b.at+int64(t)) < j.Requests.CPU*(1-1e-9) {
				run = 0
				continue
			}
			if start := t + 1 - length; run >= length {
				if v := e * (sum[t+1] - sum[start]); v < value-1e-12*math.Abs(v) {
					best, value = spacetime.Placement{Site: x, Start: start}, v
				}
			}
		}
	}
	return best
}

// bestNodes finds the node of each site where the job adds the fewest watts now, and fills b.cost with the kilowatts: of that node, else the mean
// of all that could take the job once they are free, else +Inf. A site whose models are unknown costs as much as the dearest that is known.
func (b *overTime) bestNodes(j *Job, now time.Duration, c *Cluster) {
	type sum struct{ total, n float64 }
	means := make([]sum, len(b.sites))
	for s := range b.sites {
		b.cost[s], b.best[s] = math.Inf(1), -1
	}
	unknown := make([]int, len(b.sites))
	for s := range unknown {
		unknown[s] = -1
	}
	for i := range c.nodes {
		n := &c.nodes[i]
		if n.Down || j.Node != "" && j.Node != n.Name || !j.Requests.Fits(&n.Allocatable) {
			continue
		}
		s := b.of[i]
		v := b.watts(c, i, j.Demand.CPU)
		if v != v {
			if unknown[s] < 0 || b.best[s] < 0 && c.Fits(i, j) && !c.Fits(unknown[s], j) {
				unknown[s] = i
			}
			continue
		}
		means[s].total, means[s].n = means[s].total+v, means[s].n+1
		if c.Fits(i, j) && v < b.cost[s] {
			b.cost[s], b.best[s] = v, i
		}
	}
	dearest := 0.0
	for s := range b.sites {
		if b.best[s] < 0 && means[s].n > 0 {
			b.cost[s] = means[s].total / means[s].n
		}
		b.cost[s] = max(0, b.cost[s]) / 1000
		if !math.IsInf(b.cost[s], 1) {
			dearest = max(dearest, b.cost[s])
		}
	}
	if dearest == 0 {
		dearest = 1 // nothing is known of power: the grid alone decides
	}
	for s := range b.sites {
		if u := unknown[s]; u >= 0 && means[s].n == 0 {
			b.cost[s] = dearest
			if c.Fits(u, j) {
				b.best[s] = u
			}
		} else if u >= 0 && b.best[s] < 0 && c.Fits(u, j) {
			b.best[s] = u
		}
	}
}

// watts is what a job adds to the energy of the cluster, as leastwatt sees it.
func (b *overTime) watts(c *Cluster, i int, cores float64) float64 {
	e := c.env[i]
	if e == nil {
		return math.NaN()
	}
	weights := DefaultWeights()
	a := weights.On
	if c.switchOff {
		a = weights.Off
	}
	return a*c.riseOf(&c.envAt[i], e, i, cores) + (1-a)*c.riseOf(&c.curveAt[i], c.curve[i], i, cores)
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
				b.booked[b.cellOf[p.Assigned[n-1].Node]].add(b.at+int64(run), b.at+int64(b.slots(j.Demand.Lifetime)), -j.Requests.CPU)
			}
		}
		return
	}
	until := time.Duration(b.at+int64(pl.Start)) * b.grid.Slot()
	if latest := b.latest(j, now); until > latest {
		until = latest
	}
	h := booking{cell: pl.Site, from: b.at + int64(pl.Start), size: j.Requests.CPU}
	h.until = h.from + int64(b.slots(j.Demand.Lifetime))
	if pl.Slots != nil {
		h.from, h.slots = b.at, pl.Slots
	}
	b.book(h, 1)
	b.holds[j.Name] = h
	p.Waiting = append(p.Waiting, Wait{Job: k, Reason: Reason{Until: until}})
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
	b.booked[b.cellOf[b.best[at]]].add(b.at, b.at+int64(length), j.Requests.CPU)
}

// expected is the mean cost of a kilowatt-hour over the next slots at a site, as far as known; where nothing is, that of the dearest other
// site, so that no site wins because its data is missing, else 1.
func (b *overTime) expected(site, length int) float64 {
	if v, ok := meanKnown(b.ahead[site], length); ok {
		return v
	}
	most, known := math.Inf(-1), false
	for s := range b.sites {
		if v, ok := meanKnown(b.ahead[s], length); ok {
			most, known = max(most, v), true
		}
	}
	if !known {
		return 1
	}
	return most + 1e-9*math.Abs(most) // and loses a tie
}

func meanKnown(a []float64, length int) (float64, bool) {
	sum, n := 0.0, 0
	for _, v := range a[:min(length, len(a))] {
		if v == v {
			sum, n = sum+v, n+1
		}
	}
	return sum / float64(max(n, 1)), n > 0
}
