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
// Where the job leaves less than a quarter of the server, a shrinks with what it leaves, since nothing will fill it much further.
//
// Jobs that come together are placed together: see Plan.
type leastwatt struct {
	greedy
	w      Weights
	price  price
	coming float64 // cores that the plan at hand brings
	before memory
}

func newLeastwatt(w Weights) *leastwatt {
	l := &leastwatt{w: w}
	l.greedy = greedy{name: "leastwatt", rule: l}
	return l
}

// priceSteepness is by how much a changes where the envelope is dearer or cheaper than the price by all of the price.
const priceSteepness = 2

// leastPrice in watts is what a job must be worth for the price to count: one over less may not be finite.
const leastPrice = 1e-300

// fillable is one over the share of a server that others must be able to fill for its envelope to count in full.
const fillable = 4

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
	best, bestCost, bestTie, unknown := -1, math.Inf(1), 0.0, -1
	d := j.Demand.CPU
	life := j.Demand.Lifetime
	a, least, perPrice, perLife := l.w.On, 1.0, 0.0, 0.0
	if c.switchOff {
		a, least = l.w.Off, l.w.Off
	} else if p := l.price.of(max(l.coming, d)) * d; p > leastPrice {
		a, perPrice = a+priceSteepness, priceSteepness/p
	}
	if life > 0 {
		perLife = 1 / float64(life)
	}
	cpu, mem, special := j.Requests.CPU, j.Requests.Memory, c.special(j)
	for i, free := range c.fitCPU {
		if cpu > free || least*c.floor[i]*d > bestCost || mem > c.freeMem[i] || special && !c.fitsSpecial(i, j) {
			continue // it costs no less along both curves, and the other terms are not negative
		}
		e := c.env[i]
		if e == nil {
			if unknown < 0 {
				unknown = i
			}
			continue
		}
		var along, rise float64
		if at := &c.envAt[i]; d <= at.room {
			along = at.slope * d
		} else {
			along = c.riseOf(at, e, i, d)
		}
		if c.switchOff && a*along > bestCost && c.rises[i] {
			continue
		}
		if at := &c.curveAt[i]; d <= at.room {
			rise = at.slope * d
		} else {
			rise = c.riseOf(at, c.curve[i], i, d)
		}
		a := a
		if perPrice > 0 {
			a = min(1, max(0, a-along*perPrice)) * min(1, fillable*(free-cpu)*c.perCPU[i])
		}
		cost := a*along + (1-a)*rise
		if c.switchOff && perLife > 0 {
			if extra := now + life - max(c.until[i], now); extra > 0 {
				share := min(1, l.w.Idle*d*c.perWork[i]) * min(1, float64(extra)*perLife)
				cost += (1 - a) * float64(c.curve[i].Idle()-c.nodes[i].OffPower) * share
			}
		}
		if cost > bestCost {
			continue
		}
		tie := 1.0
		if c.jobs[i] > 0 {
			tie = -c.use[i] * c.perWork[i]
		}
		if cost < bestCost || cost == bestCost && tie < bestTie {
			best, bestCost, bestTie = i, cost, tie
		}
	}
	if best < 0 {
		return unknown
	}
	return best
}
