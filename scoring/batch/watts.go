package batch

import (
	"math"
	"time"
)

// added returns the watts that a job adds to node i now: with a node that is off, from its off power. It
// is NaN where the node's model is not known.
func (c *Cluster) added(i int, cores float64) float64 {
	p := c.curve[i]
	if p == nil {
		return math.NaN()
	}
	if c.switchOff && c.jobs[i] == 0 {
		return float64(p.At((c.use[i]+cores)/c.work[i]) - c.nodes[i].OffPower)
	}
	return c.riseOf(&c.curveAt[i], p, i, cores)
}

func addedBy(c *Cluster, j *Job, i int) float64 { return c.added(i, j.Demand.CPU) }

// energyAware takes the node where the job adds the fewest watts now, the watts of an idle server that must be
// switched on included.
type energyAware struct{}

func (energyAware) choose(j *Job, _ time.Duration, c *Cluster) int {
	best, least, unknown := -1, math.Inf(1), -1
	s, d := c.scan(j), j.Demand.CPU
	at := c.curveAt[:len(s.fitCPU)]
	for i, fit := range s.fitCPU {
		if s.cpu > fit || s.mem > s.freeMem[i] || s.special && !c.fitsSpecial(i, j) {
			continue
		}
		var v float64
		if a := &at[i]; d <= a.room && !(c.switchOff && c.jobs[i] == 0) {
			v = a.slope * d
		} else {
			v = c.added(i, d)
		}
		if v < least {
			best, least = i, v
		} else if unknown < 0 && unranked(v) {
			unknown = i
		}
	}
	if best < 0 {
		return unknown
	}
	return best
}
