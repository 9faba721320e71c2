package batch

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Plan places one job by its score. Jobs that come together are placed from the largest to the smallest if that leaves none waiting, and
// then moved and exchanged among each other while that lowers the sum of the envelopes: what all of them add to the cluster. Where not all fit, who gets
// a node and who waits is decided in the order given.
func (l *leastwatt) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	if !c.switchOff {
		l.price.look(c, now)
	}
	if len(jobs) < 2 {
		p, err := l.greedy.Plan(ctx, now, jobs, c)
		l.placed(&p, jobs)
		return p, err
	}
	var coming float64
	for k := range jobs {
		coming += jobs[k].Demand.CPU
	}
	if coming >= 0 && coming <= math.MaxFloat64 {
		l.coming = coming
	}
	l.before = l.before[:0]
	c.journal = &l.before
	p, err := l.largestFirst(ctx, now, jobs, c)
	if err == nil && len(p.Waiting) > 0 {
		c.undo(&p, jobs)
		p, err = l.greedy.Plan(ctx, now, jobs, c)
	}
	l.coming = 0
	if s := &l.shuffle; err == nil && len(p.Assigned) > 1 && s.start(c, jobs, &p) && s.improve(ctx) {
		c.undo(&p, jobs)
		for a := range p.Assigned {
			p.Assigned[a].Node = s.at[a]
			c.Reserve(s.at[a], &jobs[p.Assigned[a].Job], now)
		}
	}
	c.journal = nil
	l.placed(&p, jobs)
	return p, err
}

// placed counts what was placed until the cluster is summed up again.
func (l *leastwatt) placed(p *Plan, jobs []Job) {
	for _, a := range p.Assigned {
		l.price.total += jobs[a.Job].Demand.CPU
	}
}

// largestFirst plans jobs in the order of their cores within one priority, up to the first that finds no room.
func (l *leastwatt) largestFirst(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	order := make([]int, len(jobs))
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(jobs[b].Priority, jobs[a].Priority), cmp.Compare(jobs[b].Requests.CPU, jobs[a].Requests.CPU))
	})
	sorted := make([]Job, len(jobs))
	for n, k := range order {
		sorted[n] = jobs[k]
	}
	p, err := l.greedy.plan(ctx, now, sorted, c, true)
	for n := range p.Assigned {
		p.Assigned[n].Job = order[p.Assigned[n].Job]
	}
	for n := range p.Waiting {
		p.Waiting[n].Job = order[p.Waiting[n].Job]
	}
	return p, err
}

// A shuffle moves and exchanges the jobs of one plan. Its slices are kept from one plan to the next.
type shuffle struct {
	c                       *Cluster
	at                      []int // node of each assignment
	cpu, mem, demand        []float64
	use, freeCPU, freeMem   []float64
	env                     []slopeAt
	movable                 []int // assignments
	rnd                     *rand.Rand
	evaluations, exchanging int
}

const (
	shufflePasses = 3
	// shuffleWork bounds how many nodes one plan looks at: a fraction of a second's work.
	shuffleWork = 1 << 26
	// exchanges is how many pairs are tried for each job in a pass.
	exchanges = 40
	// patience is how many pairs for each job may bring nothing before a pass ends.
	patience = 8
	// leastGain in watts is worth a change.
	leastGain = 1e-6
)

// start takes a plan over and reports whether any of its jobs may be moved.
func (s *shuffle) start(c *Cluster, jobs []Job, p *Plan) bool {
	s.c, s.evaluations, s.exchanging = c, 0, 0
	s.at, s.cpu, s.mem, s.demand, s.movable = s.at[:0], s.cpu[:0], s.mem[:0], s.demand[:0], s.movable[:0]
	for a := range p.Assigned {
		j := &jobs[p.Assigned[a].Job]
		at := p.Assigned[a].Node
		s.at, s.cpu, s.mem, s.demand = append(s.at, at), append(s.cpu, j.Requests.CPU), append(s.mem, j.Requests.Memory), append(s.demand, j.Demand.CPU)
		if r := &j.Requests; c.env[at] != nil && j.Node == "" && r.GPU == 0 && len(r.Other) == 0 && j.Demand.CPU > 0 {
			s.movable = append(s.movable, a)
		}
	}
	if len(s.movable) < 2 {
		return false // one by itself is where it belongs
	}
	s.use, s.freeCPU, s.freeMem = append(s.use[:0], c.use...), append(s.freeCPU[:0], c.fitCPU...), append(s.freeMem[:0], c.freeMem...)
	s.env = append(s.env[:0], c.envAt...)
	s.rnd = rand.New(rand.NewPCG(uint64(len(s.at)), 0x73687566))
	return true
}

// rise is what d more cores on node i add along its envelope; fewer take away.
func (s *shuffle) rise(i int, d float64) float64 {
	if at := &s.env[i]; d >= 0 && d <= at.room {
		return at.slope * d
	}
	u, per := s.use[i], s.c.perWork[i]
	return float64(s.c.env[i].Rise(max(0, u)*per, max(0, u+d)*per)) + s.c.beyond(i, u, s.c.nodes[i].Allocatable.CPU-s.freeCPU[i], d)
}

// shift books job a out of or into node i.
func (s *shuffle) shift(a, i int, sign float64) {
	s.use[i] += sign * s.demand[a]
	s.freeCPU[i] -= sign * s.cpu[a]
	s.freeMem[i] -= sign * s.mem[a]
	s.env[i].find(s.c.envKnots[i], s.c.envSlopes[i], max(0, s.use[i])*s.c.perWork[i], s.c.work[i])
}

// improve reports whether any job has another node now.
func (s *shuffle) improve(ctx context.Context) bool {
	better := false
	for range shufflePasses {
		changed := false
		for n, a := range s.movable {
			if s.evaluations += s.c.Len(); s.evaluations > shuffleWork || n&63 == 63 && ctx.Err() != nil {
				break
			}
			changed = s.move(a) || changed
		}
		failed := 0 // in a row
		for n := 0; n < exchanges*len(s.movable) && failed < patience*len(s.movable); n++ {
			if s.exchanging++; s.exchanging > shuffleWork/8 || n&0xfff == 0xfff && ctx.Err() != nil {
				break
			}
			failed++
			if s.exchange(s.movable[s.rnd.IntN(len(s.movable))], s.movable[s.rnd.IntN(len(s.movable))]) {
				changed, failed = true, 0
			}
		}
		if !changed {
			break
		}
		better = true
	}
	return better
}

// move takes job a to the node where it adds the fewest watts, if that is another one.
func (s *shuffle) move(a int) bool {
	from, d, cpu, mem := s.at[a], s.demand[a], s.cpu[a], s.mem[a]
	best, least := from, -s.rise(from, -d)-leastGain
	n := len(s.freeCPU)
	env, freeMem := s.env[:n], s.freeMem[:n]
	for i, free := range s.freeCPU {
		at := &env[i]
		if at.slope*d > least || cpu > free || mem > freeMem[i] || i == from || s.c.env[i] == nil {
			continue // an envelope only becomes steeper
		}
		if w := s.rise(i, d); w < least {
			best, least = i, w
		}
	}
	if best == from {
		return false
	}
	s.shift(a, from, -1)
	s.shift(a, best, 1)
	s.at[a] = best
	return true
}

// exchange lets jobs a and b change places, if that saves and both fit.
func (s *shuffle) exchange(a, b int) bool {
	i, k := s.at[a], s.at[b]
	d, cpu, mem := s.demand[b]-s.demand[a], s.cpu[b]-s.cpu[a], s.mem[b]-s.mem[a]
	if i == k || d == 0 || cpu > s.freeCPU[i] || -cpu > s.freeCPU[k] || mem > s.freeMem[i] || -mem > s.freeMem[k] {
		return false
	}
	if s.rise(i, d)+s.rise(k, -d) >= -leastGain {
		return false
	}
	s.shift(a, i, -1)
	s.shift(b, k, -1)
	s.at[a], s.at[b] = k, i
	s.shift(a, k, 1)
	s.shift(b, i, 1)
	return true
}
