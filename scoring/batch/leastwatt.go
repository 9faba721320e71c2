package batch

import (
	"fmt"
	"math"
	"time"
)

// leastwatt scores a node by what the job adds to the energy of the whole cluster over its lifetime, in watts:
//
//	a·ΔE + (1−a)·(ΔW + idle·min(1, b·cores/work)·extra/life)
//
// ΔE is the rise along the lower convex envelope of the node's curve, through the off power where nodes are switched off: what the
// job adds to a large cluster that is filled well. ΔW is the rise of the curve itself. The last term is for nodes that are
// switched off when they are empty: a job that outlives all others on its node keeps the idle power on for that much longer, of which
// it bears a share that grows with its size. The weights come from simulations of four traces on mixed and on identical servers;
// the energy is flat around them.
type leastwatt struct{ w Weights }

// Weights are the weights of leastwatt's terms: a and b of its formula.
type Weights struct {
	On, Off float64 // a, for clusters that stay on and for those that are switched off: 0 to 1
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
	a := l.w.On
	if c.switchOff {
		a = l.w.Off
	}
	perLife := 0.0
	if life > 0 {
		perLife = 1 / float64(life)
	}
	cpu, mem, special := j.Requests.CPU, j.Requests.Memory, c.special(j)
	for i, free := range c.fitCPU {
		if cpu > free || a*c.floor[i]*d > bestCost || mem > c.freeMem[i] || special && !c.fitsSpecial(i, j) {
			continue // the envelope is convex and the other terms are not negative
		}
		e := c.env[i]
		if e == nil {
			if unknown < 0 {
				unknown = i
			}
			continue
		}
		var cost float64
		if at := &c.envAt[i]; d <= at.room {
			cost = a * (at.slope * d)
		} else {
			cost = a * c.riseOf(at, e, i, d)
		}
		if cost > bestCost && c.rises[i] {
			continue
		}
		if at := &c.curveAt[i]; d <= at.room {
			cost += (1 - a) * (at.slope * d)
		} else {
			cost += (1 - a) * c.riseOf(at, c.curve[i], i, d)
		}
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
