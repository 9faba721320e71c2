package batch

import (
	"math"
	"time"
)

// Weights tune Leastwatt; the zero value is the default.
type Weights struct{}

// leastwatt scores a node by what the job adds to the energy of the whole cluster.
type leastwatt struct {
	A, B float64
}

func (l *leastwatt) choose(j *Job, now time.Duration, c *Cluster) int {
	best, bestCost, bestTie, unknown := -1, math.Inf(1), 0.0, -1
	d := j.Demand.CPU
	life := j.Demand.Lifetime.Seconds()
	for i := range c.nodes {
		if !c.Fits(i, j) {
			continue
		}
		e := c.env[i]
		if e == nil {
			if unknown < 0 {
				unknown = i
			}
			continue
		}
		u, v := c.use[i]/c.work[i], (c.use[i]+d)/c.work[i]
		cost := float64(e.Rise(u, v))
		if life > 0 && l.A < 1 {
			p := c.curve[i]
			extra := (now + j.Demand.Lifetime - max(c.until[i], now)).Seconds()
			term := float64(p.Rise(u, v))
			if c.switchOff && extra > 0 {
				idle := float64(p.Idle() - c.nodes[i].OffPower)
				term += idle * min(1, l.B*d/c.work[i]) * min(extra, life) / life
			}
			cost = l.A*cost + (1-l.A)*term
		}
		tie := -u
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
