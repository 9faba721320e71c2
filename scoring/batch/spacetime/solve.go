package spacetime

import (
	"cmp"
	"math"
	"slices"
)

// A solver holds a problem's costs with unknowns filled in, prices, and what a plan leaves free.
type solver struct {
	p      *Problem
	jobs   []Job       // of the problem, and then those that are expected
	real   int         // how many of them are the problem's
	cost   [][]float64 // by site and slot
	lambda [][]float64 // price of one unit of size, by site and slot
	free   [][]float64
	sum    []sums      // of cost
	priced []sums      // of lambda
	least  [][]float64 // by job and site: what it costs there at least, without prices; +Inf where it cannot run
	search [][]int     // by job: the sites where it can run, the least first
	out    []float64   // by expected job: what it costs if it finds no room
}

func newSolver(p *Problem) *solver {
	s := &solver{p: p, jobs: slices.Concat(p.Jobs, p.Expected), real: len(p.Jobs), cost: fill(p.Sites)}
	for _, site := range p.Sites {
		n := len(site.Capacity)
		s.lambda = append(s.lambda, make([]float64, n))
		s.priced = append(s.priced, newSums(n))
		s.free = append(s.free, slices.Clone(site.Capacity))
		s.sum = append(s.sum, newSums(n))
	}
	for i, c := range s.cost {
		s.sum[i].add(c)
	}
	s.least, s.search = make([][]float64, len(s.jobs)), make([][]int, len(s.jobs))
	for k := range s.jobs {
		j := &s.jobs[k]
		least, search := make([]float64, len(p.Sites)), make([]int, 0, len(p.Sites))
		for site := range p.Sites {
			if _, _, least[site] = s.cheapestAt(j, site, math.Inf(1)); !math.IsInf(least[site], 1) {
				search = append(search, site)
			}
		}
		slices.SortStableFunc(search, func(a, b int) int { return cmp.Compare(least[a], least[b]) })
		s.least[k], s.search[k] = least, search
	}
	s.out = s.leftOut()
	return s
}

// sums are the prefix sums of a number a slot, and the differences between one and the next, which rounding keeps from being these numbers.
type sums struct{ until, step []float64 }

func newSums(n int) sums { return sums{make([]float64, n+1), make([]float64, n)} }

func (s *sums) add(v []float64) {
	sum := 0.0
	until, step := s.until[1:len(v)+1], s.step[:len(v)]
	for t, x := range v {
		next := sum + x
		until[t], step[t] = next, next-sum
		sum = next
	}
}

// span is what the slots from t on come to, where the last one counts by a share.
func (s *sums) span(t, length int, share float64) float64 {
	if share == 1 {
		return s.until[t+length] - s.until[t]
	}
	return s.until[t+length-1] - s.until[t] + share*s.step[t+length-1]
}

// window returns the starts that a job may have at a site, last excluded.
func (s *solver) window(j *Job, site int) (from, until int) {
	return j.Earliest, min(j.Latest, len(s.cost[site])-j.Length) + 1
}

func runs(e float64) bool { return e >= 0 && !math.IsInf(e, 0) }

// cheapest returns the placement of least cost plus price of job k, whatever is free; the earliest of equals, and of the site that costs less without prices,
// else of the first. A site is passed over where the job costs more without prices than elsewhere with them.
func (s *solver) cheapest(k int) (site, start int, slots []int, value float64) {
	site, value = -1, math.Inf(1)
	for _, x := range s.search[k] {
		if s.dearer(k, x, value) {
			break
		}
		if t, own, v := s.cheapestAt(&s.jobs[k], x, value); t >= 0 {
			site, start, slots, value = x, t, own, v
		}
	}
	return site, start, slots, value
}

// dearer tells whether a job costs more than a value at a site, whatever the prices, which are never below 0.
func (s *solver) dearer(k, site int, value float64) bool {
	least := s.least[k][site]
	return least-1e-9*math.Abs(least) > value // sums of the same numbers differ by their order
}

// cheapestAt is the same of one site, if it costs less than a value; the start is -1 where it does not.
func (s *solver) cheapestAt(j *Job, site int, value float64) (start int, slots []int, v float64) {
	e := j.Energy[site]
	if !runs(e) {
		return -1, nil, value
	}
	if j.Suspend {
		if slots, v := s.cheapestSlots(j, site, false); slots != nil && v < value {
			return slots[0], slots, v
		}
		return -1, nil, value
	}
	from, until := s.window(j, site)
	if from >= until {
		return -1, nil, value
	}
	start = -1
	c, l, n, f := &s.sum[site], &s.priced[site], j.Length, j.last()
	first, end := from+n-1, until+n-1 // last slots
	cost, price := c.step[first:end], l.step[first:end]
	if n == 1 {
		for t, c := range cost {
			if v := e*(f*c) + j.Size*(f*price[t]); v < value && v < value-1e-12*math.Abs(v) {
				value, start = v, from+t
			}
		}
		return start, nil, value
	}
	c0, c1, c2 := c.until[from:until], c.until[first:end], c.until[first+1:end+1]
	l0, l1, l2 := l.until[from:until], l.until[first:end], l.until[first+1:end+1]
	for t, c0 := range c0 { // as span has it
		x, y := c1[t]-c0+f*cost[t], l1[t]-l0[t]+f*price[t]
		if f == 1 {
			x, y = c2[t]-c0, l2[t]-l0[t]
		}
		if v := e*x + j.Size*y; v < value && v < value-1e-12*math.Abs(v) {
			value, start = v, from+t
		}
	}
	return start, nil, value
}

// unconstrained is the cost of all jobs at their cheapest places, whatever is free and without prices: a lower bound.
func (s *solver) unconstrained() float64 {
	total := 0.0
	for k, search := range s.search {
		if len(search) > 0 {
			total += s.least[k][search[0]]
		}
	}
	return total
}

// leftOut is what each expected job costs that finds no room: as much as at the worst time, so that it never makes room dearer than that.
func (s *solver) leftOut() []float64 {
	most := make([]float64, len(s.cost))
	for site, cost := range s.cost {
		if most[site] = math.Inf(-1); len(cost) > 0 {
			most[site] = slices.Max(cost)
		}
	}
	out := make([]float64, len(s.jobs)-s.real)
	for k := range out {
		j := &s.jobs[s.real+k]
		v := 0.0
		for site, e := range j.Energy {
			if runs(e) && len(s.cost[site]) > 0 {
				v = max(v, e*most[site])
			}
		}
		out[k] = v * j.Slots()
	}
	return out
}

// cheapestSlots returns the slots of least cost plus price for a job that may be suspended, in order.
func (s *solver) cheapestSlots(j *Job, site int, fits bool) ([]int, float64) {
	from, until := s.window(j, site)
	end := until - 1 + j.Length
	if until <= from {
		return nil, 0
	}
	var slots []int
	for t := from; t < end; t++ {
		if !fits || s.free[site][t] >= j.Size*j.last()-tiny(j.Size) {
			slots = append(slots, t)
		}
	}
	if len(slots) < j.Length {
		return nil, 0
	}
	at := func(t int) float64 { return j.Energy[site]*s.cost[site][t] + j.Size*s.lambda[site][t] }
	slices.SortStableFunc(slots, func(a, b int) int { return cmp.Compare(at(a), at(b)) })
	slots = slots[:j.Length]
	slices.Sort(slots)
	v := 0.0
	for _, t := range slots {
		v += at(t) * j.last()
	}
	return slots, v
}

// tiny absorbs the rounding of sums of sizes.
func tiny(size float64) float64 { return 1e-9 * size }

const (
	rounds      = 150 // of prices; bounds change little afterwards
	quickRounds = 40
	patience    = 6 // rounds without a better bound before steps are halved
)

// begin takes over prices of an earlier plan.
func (s *solver) begin(prices [][]float64) {
	for i := range s.lambda {
		clear(s.lambda[i])
		if i >= len(prices) {
			continue
		}
		for t, v := range prices[i][:min(len(prices[i]), len(s.lambda[i]))] {
			if v > 0 && !math.IsInf(v, 0) {
				s.lambda[i][t] = v
			}
		}
	}
}

// price finds prices of capacity by subgradient steps, of the length that Polyak (1969) gives for the cost of a known plan, and returns
// the best bound that any of them gives. The best prices stay.
func (s *solver) price(known float64) float64 {
	best, since, theta := math.Inf(-1), 0, 1.0
	var kept [][]float64
	use := make([][]float64, len(s.free))
	for i := range use {
		use[i] = make([]float64, len(s.free[i]))
	}
	n := rounds
	if s.p.Quick {
		n = quickRounds
	}
	for range n {
		for i := range s.lambda {
			s.priced[i].add(s.lambda[i])
			clear(use[i])
		}
		bound := 0.0
		for k := range s.jobs {
			j := &s.jobs[k]
			site, start, slots, v := s.cheapest(k)
			if site < 0 {
				continue
			}
			if k >= s.real {
				if out := s.out[k-s.real]; v > out {
					bound += out
					continue
				}
			}
			bound += v
			j.add(use[site], start, slots, j.Size)
		}
		norm := 0.0
		for i := range s.lambda {
			for t, l := range s.lambda[i] {
				bound -= l * s.p.Sites[i].Capacity[t]
				if g := use[i][t] - s.p.Sites[i].Capacity[t]; g > 0 || l > 0 {
					norm += g * g
				}
			}
		}
		if bound > best {
			best, kept, since = bound, clone(s.lambda), 0
		} else if since++; since == patience {
			theta, since = theta/2, 0
		}
		if norm == 0 || theta < 1e-4 {
			break
		}
		step := theta * max(known-bound, 1e-3*math.Abs(known)) / norm
		for i := range s.lambda {
			for t := range s.lambda[i] {
				s.lambda[i][t] = max(0, s.lambda[i][t]+step*(use[i][t]-s.p.Sites[i].Capacity[t]))
			}
		}
	}
	if kept != nil {
		s.lambda = kept
	}
	for i := range s.lambda {
		s.priced[i].add(s.lambda[i])
	}
	return best
}

func clone(m [][]float64) [][]float64 {
	out := make([][]float64, len(m))
	for i := range m {
		out[i] = slices.Clone(m[i])
	}
	return out
}

// Each calls visit for all slots of a placement of a job, with the share of each that the job takes.
func (p *Placement) Each(j *Job, visit func(t int, share float64)) {
	if p.Slots != nil {
		for _, t := range p.Slots {
			visit(t, j.last())
		}
		return
	}
	end := p.Start + j.Length - 1
	for t := p.Start; t < end; t++ {
		visit(t, 1)
	}
	visit(end, j.last())
}

// add adds x in each slot that the job takes from a start on, or of its own, times the share that it takes.
func (j *Job) add(to []float64, start int, slots []int, x float64) {
	last := x * j.last()
	if slots != nil {
		for _, t := range slots {
			to[t] += last
		}
		return
	}
	end := start + j.Length - 1
	for t := start; t < end; t++ {
		to[t] += x
	}
	to[end] += last
}
