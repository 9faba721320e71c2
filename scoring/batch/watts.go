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
		return float64(p.At((c.use[i]+cores)/c.work[i])-c.nodes[i].OffPower) + c.beyond(i, c.use[i], c.booked(i), cores)
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
	fitCPU, freeMem := s.fitCPU, s.freeMem[:len(s.fitCPU)]
	slope, use, work := c.least[:len(fitCPU)], c.use[:len(fitCPU)], c.work[:len(fitCPU)]
	for i, fit := range fitCPU {
		// Within the curve each core adds no less than its least slope says, from off still more. Few nodes come further, whereas whether a job fits
		// is hard for a processor to foresee.
		if slope[i]*d*(1-1e-6)-boundSlack > least && use[i]+d <= work[i] {
			continue
		}
		if s.cpu > fit || s.mem > freeMem[i] || s.special && !c.fitsSpecial(i, j) {
			continue
		}
		v := c.added(i, d)
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

// boundSlack is more than the rounding of added watts.
const boundSlack = 1e-8
