package batch

import (
	"fmt"
	"math"
	"time"
)

// leastwatt scores a node by what the job adds to the energy of the whole cluster over its lifetime, in watts. On servers that
// are switched off when they are empty:
//
//	a·ΔE + (1−a)·(ΔW + idle·min(1, b·cores/work)·extra/life)
//
// ΔE is the rise along the lower convex envelope of the node's curve, through the off power where nodes are switched off: what the
// job adds to a large cluster that is filled well. ΔW is the rise of the curve itself. The last term is for nodes that are
// switched off when they are empty: a job that outlives all others on its node keeps the idle power on for that much longer, of which
// it bears a share that grows with its size.
//
// On servers that stay on it is a·ΔE + (1−a)·ΔW, in which a goes by the price of work, the slope of the envelopes up to which the
// whole cluster would be filled by the present load: a server whose envelope is cheaper will be filled, so its envelope tells what the job costs; one
// that is dearer stays nearly empty, so the difference now does.
//
// Where the job leaves little of the server, less than a half where servers stay on and than a quarter where they are switched off, a shrinks with what
// it leaves, since nothing will fill it much further: what the server draws now is what it will draw, all of its idle power if it must be switched on. In
// the last term of a server that is on already a stays as it is: by how much the job outlives the others is as uncertain as ever.
//
// Jobs that come together are placed together: see Plan.
type leastwatt struct {
	greedy
	w       Weights
	price   price
	coming  float64 // cores that the plan at hand brings
	before  []nodeBefore
	shuffle shuffle
	last    int // node
	bounds  boundTree
}

func newLeastwatt(w Weights) *leastwatt {
	l := &leastwatt{w: w}
	l.greedy = greedy{name: "leastwatt", rule: l}
	return l
}

func (l *leastwatt) usesEnds(c *Cluster) bool { return c.switchOff }

// priceSteepness is by how much a changes where the envelope is dearer or cheaper than the price by all of the price.
const priceSteepness = 2

// leastPrice in watts is what a job must be worth for the price to count: one over less may not be finite.
const leastPrice = 1e-300

// fillableOn and fillableOff are one over the share of a server that a job must leave for others, for its envelope to count in full: where
// servers stay on, and where they are switched off.
const (
	fillableOn  = 2
	fillableOff = 4
)

// Weights are the weights of leastwatt's terms: a and b of its formula.
type Weights struct {
	On, Off float64 // a, for clusters that stay on (at the price of work) and for those that are switched off: 0 to 1
	Idle    float64 // b: how large a share of a server's cores bears all of its idle power
}

// DefaultWeights are what [New] takes.
func DefaultWeights() Weights { return Weights{On: 0.5, Off: 0.7, Idle: 4} }

// Validate returns an error that names the weight which is out of range.
func (w Weights) Validate() error {
	for _, f := range []struct {
		name    string
		v, most float64
	}{{"on", w.On, 1}, {"off", w.Off, 1}, {"idle", w.Idle, 1e6}} {
		if !(f.v >= 0 && f.v <= f.most) {
			return fmt.Errorf("weight %s is %v: want 0 to %v", f.name, f.v, f.most)
		}
	}
	return nil
}

func (l *leastwatt) choose(j *Job, now time.Duration, c *Cluster) int {
	q := l.question(j, now, c)
	s := c.scan(j)
	b := best{node: -1, cost: math.Inf(1)}
	d := q.d * (1 - 1e-12) // less by what rounding may do, so that what is equal is seen
	// The node of the last job is often the best again: its cost bounds what is looked at closely.
	if i := l.last; i < c.Len() && c.env[i] != nil && c.Fits(i, j) {
		b.look(&q, i)
	}
	if t := &l.bounds; t.follow(c) && (!s.special || c.other) {
		for k := t.next(0, s.cpu, d, b.cost); k >= 0; k = t.next(k+1, s.cpu, d, b.cost) {
			if i := int(t.node[k]); !(s.mem > s.freeMem[i] || s.special && !c.fitsSpecial(i, j)) && c.env[i] != nil {
				b.look(&q, i)
			}
		}
	} else {
		floor := c.floor[:len(s.fitCPU)]
		for i, fit := range s.fitCPU {
			// Full or too dear, that is along both curves, and the other terms are not negative: mostly it is one of the two, so that one branch
			// for both is a predictable one.
			if max(s.cpu-fit, floor[i]*d-b.cost) > 0 {
				continue
			}
			if s.cpu > fit || s.mem > s.freeMem[i] || s.special && !c.fitsSpecial(i, j) { // CPU again: the difference of two infinities is not a number
				continue
			}
			if c.env[i] != nil {
				b.look(&q, i)
			}
		}
	}
	if b.node < 0 { // no node whose watts are known
		for i := range c.env {
			if c.env[i] == nil && c.Fits(i, j) {
				return i
			}
		}
		return -1
	}
	l.last = b.node
	return b.node
}

// best is the best node so far.
type best struct {
	node      int
	cost, tie float64
}

func (b *best) look(q *question, i int) {
	cost := q.cost(i, q.c.fitCPU[i], b.cost)
	if !(cost <= b.cost) {
		return
	}
	if tie := q.c.tie(i); cost < b.cost || tie < b.tie || tie == b.tie && i < b.node {
		*b = best{i, cost, tie}
	}
}

// tie is the lower the fuller a node is; nodes without jobs come last.
func (c *Cluster) tie(i int) float64 {
	if c.jobs[i] > 0 {
		return -c.use[i] * c.perWork[i]
	}
	return 1
}

// A question is one job and what of its cost is the same on all nodes.
type question struct {
	c                 *Cluster
	now, life         time.Duration
	d, cpu            float64
	a, fill, idle     float64
	perPrice, perLife float64 // one over them
}

func (l *leastwatt) question(j *Job, now time.Duration, c *Cluster) question {
	q := question{c: c, now: now, life: j.Demand.Lifetime, d: j.Demand.CPU, cpu: j.Requests.CPU, a: l.w.On, fill: fillableOn, idle: l.w.Idle}
	if q.life > 0 {
		q.perLife = 1 / float64(q.life)
	}
	if c.switchOff {
		q.a, q.fill = l.w.Off, fillableOff
	} else if p := l.price.of(max(l.coming, q.d)) * q.d; p > leastPrice {
		q.a, q.perPrice = q.a+priceSteepness, priceSteepness/p
	}
	return q
}

// cost is what the job adds on node i, where so much CPU is free; +Inf where that is above a limit for certain.
func (q *question) cost(i int, free, limit float64) float64 {
	c, d := q.c, q.d
	var along, rise float64
	if at := &c.envAt[i]; d <= at.room {
		along = at.slope * d
	} else {
		along = c.riseOf(at, c.env[i], i, d)
	}
	a := q.a
	if q.perPrice > 0 {
		a = min(1, max(0, a-along*q.perPrice))
	}
	b := 1 - a // of the idle power that it keeps on
	a *= min(1, max(0, q.fill*(free-q.cpu)*c.perCPU[i]))
	if a*along > limit && c.rises[i] {
		return math.Inf(1)
	}
	if at := &c.curveAt[i]; d <= at.room {
		rise = at.slope * d
	} else {
		rise = c.riseOf(at, c.curve[i], i, d)
	}
	cost := a*along + (1-a)*rise
	if c.switchOff && q.perLife > 0 {
		if extra := q.now + q.life - max(c.until[i], q.now); extra > 0 {
			share := min(1, q.idle*d*c.perWork[i]) * min(1, float64(extra)*q.perLife)
			if c.jobs[i] == 0 {
				b = 1 - a
			}
			cost += b * float64(c.curve[i].Idle()-c.nodes[i].OffPower) * share
		}
	}
	return cost
}
