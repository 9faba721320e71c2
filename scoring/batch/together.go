package batch

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Plan places one job by its score. Jobs that come together are placed from the largest to the smallest if there is room for all, and
// then moved and exchanged among each other while that lowers the sum of the envelopes: what all of them add to the cluster. Who gets a node and who
// waits is decided in the order given.
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
	before := l.remember(c)
	p, err := l.greedy.Plan(ctx, now, jobs, c)
	if err == nil && len(p.Waiting) == 0 {
		before.undo(&p, jobs, c)
		if p, err = l.largestFirst(ctx, now, jobs, c); err == nil && len(p.Waiting) > 0 {
			before.undo(&p, jobs, c)
			p, err = l.greedy.Plan(ctx, now, jobs, c)
		}
	}
	l.coming = 0
	if err == nil && len(p.Assigned) > 1 {
		s := newShuffle(c, jobs, &p)
		if s.improve(ctx) {
			before.undo(&p, jobs, c)
			for a := range p.Assigned {
				p.Assigned[a].Node = s.at[a]
				c.Reserve(s.at[a], &jobs[p.Assigned[a].Job], now)
			}
		}
	}
	l.placed(&p, jobs)
	return p, err
}

// placed counts what was placed until the cluster is summed up again.
func (l *leastwatt) placed(p *Plan, jobs []Job) {
	for _, a := range p.Assigned {
		l.price.total += jobs[a.Job].Demand.CPU
	}
}

// largestFirst plans jobs in the order of their cores within one priority.
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
	p, err := l.greedy.Plan(ctx, now, sorted, c)
	for n := range p.Assigned {
		p.Assigned[n].Job = order[p.Assigned[n].Job]
	}
	for n := range p.Waiting {
		p.Waiting[n].Job = order[p.Waiting[n].Job]
	}
	return p, err
}

// A memory is what releasing a job does not give back.
type memory struct {
	use   []float64
	until []time.Duration
	off   []bool
}

func (l *leastwatt) remember(c *Cluster) *memory {
	m := &l.before
	m.use, m.until = append(m.use[:0], c.use...), append(m.until[:0], c.until...)
	m.off = m.off[:0]
	for i := range c.nodes {
		m.off = append(m.off, c.nodes[i].Off)
	}
	return m
}

// undo takes a plan back.
func (m *memory) undo(p *Plan, jobs []Job, c *Cluster) {
	for _, a := range p.Assigned {
		c.Release(a.Node, &jobs[a.Job])
	}
	for _, a := range p.Assigned {
		i := a.Node
		c.use[i], c.until[i], c.nodes[i].Off = m.use[i], m.until[i], m.off[i]
		c.locate(i)
	}
}

// A shuffle moves and exchanges the jobs of one plan.
type shuffle struct {
	c                       *Cluster
	at                      []int // node of each assignment
	cpu, mem, demand        []float64
	use, freeCPU, freeMem   []float64
	watts                   []float64 // of each node, along its envelope
	movable                 []int     // assignments
	rnd                     *rand.Rand
	evaluations, exchanging int
}

const (
	shufflePasses = 3
	// shuffleWork bounds how many nodes one plan looks at: about a second's work.
	shuffleWork = 1 << 26
	// exchanges is how many pairs are tried for each job in a pass.
	exchanges = 40
	// leastGain in watts is worth a change.
	leastGain = 1e-6
)

func newShuffle(c *Cluster, jobs []Job, p *Plan) *shuffle {
	n := len(p.Assigned)
	s := &shuffle{c: c, at: make([]int, n), cpu: make([]float64, n), mem: make([]float64, n), demand: make([]float64, n),
		use: slices.Clone(c.use), freeCPU: slices.Clone(c.fitCPU), freeMem: slices.Clone(c.freeMem), watts: make([]float64, c.Len()),
		rnd: rand.New(rand.NewPCG(uint64(n), 0x73687566))}
	for i := range s.watts {
		if c.env[i] != nil {
			s.watts[i] = s.wattsAt(i, s.use[i])
		}
	}
	for a := range p.Assigned {
		j := &jobs[p.Assigned[a].Job]
		s.at[a] = p.Assigned[a].Node
		s.cpu[a], s.mem[a], s.demand[a] = j.Requests.CPU, j.Requests.Memory, j.Demand.CPU
		if r := &j.Requests; c.env[s.at[a]] != nil && j.Node == "" && r.GPU == 0 && len(r.Other) == 0 && j.Demand.CPU > 0 {
			s.movable = append(s.movable, a)
		}
	}
	return s
}

func (s *shuffle) wattsAt(i int, use float64) float64 {
	return float64(s.c.env[i].At(max(0, use) * s.c.perWork[i]))
}

// shift books job a out of or into node i.
func (s *shuffle) shift(a, i int, sign float64) {
	s.use[i] += sign * s.demand[a]
	s.freeCPU[i] -= sign * s.cpu[a]
	s.freeMem[i] -= sign * s.mem[a]
	s.watts[i] = s.wattsAt(i, s.use[i])
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
		for n := range exchanges * len(s.movable) {
			if s.exchanging++; s.exchanging > shuffleWork/8 || n&0xfff == 0xfff && ctx.Err() != nil {
				break
			}
			changed = s.exchange(s.movable[s.rnd.IntN(len(s.movable))], s.movable[s.rnd.IntN(len(s.movable))]) || changed
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
	from := s.at[a]
	here := s.watts[from]
	s.shift(a, from, -1)
	best, least := from, here-s.watts[from]-leastGain
	for i, free := range s.freeCPU {
		if s.cpu[a] > free || s.mem[a] > s.freeMem[i] || s.c.env[i] == nil || i == from {
			continue
		}
		if w := s.wattsAt(i, s.use[i]+s.demand[a]) - s.watts[i]; w < least {
			best, least = i, w
		}
	}
	s.at[a] = best
	s.shift(a, best, 1)
	return best != from
}

// exchange lets jobs a and b change places, if that saves and both fit.
func (s *shuffle) exchange(a, b int) bool {
	i, k := s.at[a], s.at[b]
	d, cpu, mem := s.demand[b]-s.demand[a], s.cpu[b]-s.cpu[a], s.mem[b]-s.mem[a]
	if i == k || d == 0 || cpu > s.freeCPU[i] || -cpu > s.freeCPU[k] || mem > s.freeMem[i] || -mem > s.freeMem[k] {
		return false
	}
	if s.wattsAt(i, s.use[i]+d)+s.wattsAt(k, s.use[k]-d) >= s.watts[i]+s.watts[k]-leastGain {
		return false
	}
	s.shift(a, i, -1)
	s.shift(b, k, -1)
	s.at[a], s.at[b] = k, i
	s.shift(a, k, 1)
	s.shift(b, i, 1)
	return true
}
