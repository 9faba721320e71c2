package spacetime

import (
	"cmp"
	"math"
	"slices"
)

// plan makes feasible plans in several orders of the jobs, at prices (nil means none), improves each by moves, and returns the best.
func (s *solver) plan(lambda [][]float64, best *Plan) *Plan {
	orders := s.orders()
	if len(s.jobs) == 1 {
		orders = orders[:1]
	}
	for k, order := range orders {
		if s.p.Quick && k > 0 && best.Late+best.Unplaced == 0 {
			break
		}
		s.reset(lambda)
		plan := s.construct(order)
		s.improve(plan)
		s.finish(plan)
		if best == nil || plan.before(best) {
			best = plan
		}
	}
	return best
}

// before compares plans: promises first, then cost.
func (p *Plan) before(q *Plan) bool {
	return cmp.Or(cmp.Compare(p.Unplaced, q.Unplaced), cmp.Compare(p.Late, q.Late), cmp.Compare(p.all, q.all)) < 0
}

// reset frees everything and sets prices; nil means none.
func (s *solver) reset(lambda [][]float64) {
	for i, site := range s.p.Sites {
		copy(s.free[i], site.Capacity)
	}
	s.lambda = clone(s.lambda)
	for i := range s.lambda {
		if lambda == nil {
			clear(s.lambda[i])
		} else {
			copy(s.lambda[i], lambda[i])
		}
		s.priced[i].add(s.lambda[i])
	}
}

// orders returns the orders in which jobs are placed: by what a job loses if it does not get its first choice, and by deadline with
// the largest first, which finds room where anything does.
func (s *solver) orders() [][]int {
	n := len(s.jobs)
	regret, work := make([]float64, n), make([]float64, n)
	for i := range s.jobs {
		j := &s.jobs[i]
		_, _, _, v := s.cheapest(i)
		regret[i] = s.atOnce(j) - v
		work[i] = j.Size * j.Slots()
	}
	index := func(compare func(a, b int) int) []int {
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, compare)
		return order
	}
	jobs := s.jobs
	return [][]int{
		index(func(a, b int) int { return -cmp.Compare(regret[a]/work[a], regret[b]/work[b]) }),
		index(func(a, b int) int {
			return cmp.Or(cmp.Compare(jobs[a].Latest-jobs[a].Earliest, jobs[b].Latest-jobs[b].Earliest), -cmp.Compare(work[a], work[b]))
		}),
		index(func(a, b int) int {
			return cmp.Or(cmp.Compare(jobs[a].Latest+jobs[a].Length, jobs[b].Latest+jobs[b].Length), -cmp.Compare(work[a], work[b]))
		}),
		index(func(a, b int) int { return -cmp.Compare(work[a], work[b]) }),
	}
}

// atOnce is what a job costs where it can start first.
func (s *solver) atOnce(j *Job) float64 {
	v := math.Inf(1)
	for site, e := range j.Energy {
		if from, until := s.window(j, site); runs(e) && from < until {
			v = min(v, e*s.sum[site].span(from, j.Length, j.last()))
		}
	}
	if math.IsInf(v, 0) {
		return 0
	}
	return v
}

func (s *solver) construct(order []int) *Plan {
	plan := &Plan{Placements: make([]Placement, len(s.jobs))}
	var left []int
	for _, i := range order {
		j := &s.jobs[i]
		pl := s.feasible(i)
		plan.Placements[i] = pl
		if pl.Site < 0 {
			if i < s.real {
				left = append(left, i)
			}
			continue
		}
		s.take(j, &pl, -1)
	}
	s.repair(plan, left)
	return plan
}

// take reserves (sign −1) or frees (+1) what a placement uses.
func (s *solver) take(j *Job, pl *Placement, sign float64) {
	if pl.Site < 0 {
		return
	}
	j.add(s.free[pl.Site], pl.Start, pl.Slots, sign*j.Size)
}

// feasible returns the cheapest placement of job k, prices included, for which there is room in time; Site is -1 if there is none.
func (s *solver) feasible(k int) Placement {
	best, value := Placement{Site: -1}, math.Inf(1)
	j := &s.jobs[k]
	for _, site := range s.search[k] {
		if s.dearer(k, site, value) {
			break
		}
		if j.Suspend {
			if slots, v := s.cheapestSlots(j, site, true); slots != nil && v < value {
				value, best = v, Placement{Site: site, Start: slots[0], Slots: slots}
			}
			continue
		}
		if start, v := s.cheapestFree(j, site, value); start >= 0 {
			value, best = v, Placement{Site: site, Start: start}
		}
	}
	return best
}

// cheapestFree returns the start of least cost plus price at which there is room for all of a job, if it costs less than a value, and what it costs; the start
// is -1 where none does.
func (s *solver) cheapestFree(j *Job, site int, value float64) (int, float64) {
	best, run := -1, 0 // slots before t, one after the other, with room for all of it
	c, l, free, e, f := &s.sum[site], &s.priced[site], s.free[site], j.Energy[site], j.last()
	whole, least := j.Size-tiny(j.Size), j.Size*f-tiny(j.Size)
	from, until := s.window(j, site)
	for t := from; t < min(until-1+j.Length, len(free)); t++ {
		if start := t + 1 - j.Length; run >= j.Length-1 && free[t] >= least {
			v := e*c.span(start, j.Length, f) + j.Size*l.span(start, j.Length, f)
			if v < value && v < value-1e-12*math.Abs(v) {
				best, value = start, v
			}
		}
		if run++; free[t] < whole {
			run = 0
		}
	}
	return best, value
}

// starts calls yield for each start from–until at which there is room for all of a job.
func (s *solver) starts(j *Job, site, from, until int, yield func(t int) bool) {
	free, run := s.free[site], 0 // slots before t, one after the other, with room for all of it
	least := j.Size*j.last() - tiny(j.Size)
	for t := from; t < min(until-1+j.Length, len(free)); t++ {
		if run >= j.Length-1 && free[t] >= least && !yield(t+1-j.Length) {
			return
		}
		if run++; free[t] < j.Size-tiny(j.Size) {
			run = 0
		}
	}
}

// late returns the earliest placement after a job's window, or at any time where the window is empty.
func (s *solver) late(j *Job) Placement {
	best := Placement{Site: -1}
	for site, e := range j.Energy {
		if !runs(e) {
			continue
		}
		s.starts(j, site, j.Earliest, len(s.cost[site])-j.Length+1, func(t int) bool {
			if best.Site < 0 || t < best.Start {
				best = Placement{Site: site, Start: t}
				if j.Suspend {
					for k := range j.Length {
						best.Slots = append(best.Slots, t+k)
					}
				}
			}
			return false
		})
	}
	return best
}

const (
	passes      = 8 // of moves; most plans settle after three
	quickPasses = 4
)

// improve moves single jobs to cheaper places while that helps, first at prices, which keeps room for those that need it most, and
// then by cost alone.
func (s *solver) improve(plan *Plan) {
	n := passes
	if s.p.Quick {
		n = quickPasses
	}
	for pass := range n {
		if pass > 0 {
			for i := range s.lambda {
				clear(s.lambda[i])
				s.priced[i].add(s.lambda[i])
			}
		}
		moved := false
		for i := range plan.Placements {
			j, old := &s.jobs[i], plan.Placements[i]
			if old.Site < 0 {
				continue
			}
			s.take(j, &old, 1)
			pl := s.feasible(i)
			if pl.Site < 0 || s.value(j, &pl) >= s.value(j, &old)-1e-12 && j.inTime(&old) {
				pl = old
			} else {
				moved = true
			}
			s.take(j, &pl, -1)
			plan.Placements[i] = pl
		}
		if !moved && pass > 0 {
			return
		}
	}
}

func (j *Job) inTime(p *Placement) bool {
	if p.Slots != nil {
		return p.Slots[len(p.Slots)-1] < j.Latest+j.Length
	}
	return p.Start <= j.Latest
}

// value is a placement's cost at the present prices.
func (s *solver) value(j *Job, p *Placement) float64 {
	v := 0.0
	p.Each(j, func(t int, share float64) {
		v += share * (j.Energy[p.Site]*s.cost[p.Site][t] + j.Size*s.lambda[p.Site][t])
	})
	return v
}

// finish adds up what a plan costs, without prices.
func (s *solver) finish(plan *Plan) {
	for i := range plan.Placements {
		j, p := &s.jobs[i], &plan.Placements[i]
		switch {
		case p.Site < 0 && i < s.real:
			plan.Unplaced++
			continue
		case p.Site < 0:
			plan.all += s.out[i-s.real]
			continue
		}
		p.Cost = 0
		p.Each(j, func(t int, share float64) { p.Cost += share * j.Energy[p.Site] * s.cost[p.Site][t] })
		plan.all += p.Cost
		if i >= s.real {
			continue
		}
		if p.Late = !j.inTime(p); p.Late {
			plan.Late++
		}
		plan.Cost += p.Cost
	}
}
