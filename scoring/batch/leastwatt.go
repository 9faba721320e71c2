package batch

import (
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
type leastwatt struct{}

// Weights of the terms, for nodes that stay on and for nodes that are switched off.
const (
	envelopeOn  = 0.5
	envelopeOff = 0.7
	idleShare   = 4
)

func (leastwatt) choose(j *Job, now time.Duration, c *Cluster) int {
	best, bestCost, bestTie, unknown := -1, math.Inf(1), 0.0, -1
	d := j.Demand.CPU
	life := j.Demand.Lifetime
	a := envelopeOn
	if c.switchOff {
		a = envelopeOff
	}
	perLife := 0.0
	if life > 0 {
		perLife = 1 / float64(life)
	}
	cpu, mem, special := j.Requests.CPU, j.Requests.Memory, c.special(j)
	for i, free := range c.fitCPU {
		if cpu > free || mem > c.freeMem[i] || special && !c.fitsSpecial(i, j) {
			continue
		}
		e := c.env[i]
		if e == nil {
			if unknown < 0 {
				unknown = i
			}
			continue
		}
		cost := a * c.riseOf(&c.envAt[i], e, i, d)
		if cost > bestCost && c.rises[i] {
			continue // the other terms are not negative
		}
		cost += (1 - a) * c.riseOf(&c.curveAt[i], c.curve[i], i, d)
		if c.switchOff && perLife > 0 {
			if extra := now + life - max(c.until[i], now); extra > 0 {
				share := min(1, idleShare*d*c.perWork[i]) * min(1, float64(extra)*perLife)
				cost += (1 - a) * float64(c.curve[i].Idle()-c.nodes[i].OffPower) * share
			}
		}
		tie := -c.use[i] * c.perWork[i]
		if c.jobs[i] == 0 {
			tie = 1
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
