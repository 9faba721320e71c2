package batch

import (
	"math"

	"github.com/leastwatt/leastwatt/power"
)

// slopeAt is where a node stands on a curve: the watts of a further core, for how many cores that holds, what one costs beyond, and up to where that holds, at
// most full use.
// Loops over all nodes then need no search, and touch few cache lines.
type slopeAt struct {
	slope, room float64 // watts a core; cores
	next, reach float64 // the same; reach, too, counts from where the node stands
}

// locate brings both curves' places up to date with the node's use.
func (c *Cluster) locate(i int) {
	if c.env[i] == nil {
		return
	}
	u := c.use[i] * c.perWork[i]
	c.envAt[i].find(c.envKnots[i], c.envSlopes[i], u, c.work[i])
	n := c.curveAt[i].find(c.curveKnots[i], c.curveSlopes[i], u, c.work[i])
	c.floor[i] = math.Inf(-1)
	if c.least[i] = c.floor[i]; c.bounded[i] {
		c.least[i] = c.flattest[i][n]
	}
	if c.rises[i] && c.envAt[i].room > 0 {
		c.floor[i] = min(c.envAt[i].slope, c.flattest[i][n])
	}
}

// slopes returns the slope before each knot, in watts a core; there is none before the first.
func slopes(k []power.Knot, perWork float64) []float64 {
	out := make([]float64, len(k))
	for n := 1; n < len(k); n++ {
		out[n] = float64(k[n].Watts-k[n-1].Watts) / (k[n].Utilization - k[n-1].Utilization) * perWork
	}
	return out
}

// flattestFrom returns the least slope from each knot on.
func flattestFrom(slopes []float64) []float64 {
	out := make([]float64, len(slopes))
	least := math.Inf(1)
	for n := len(slopes) - 1; n > 0; n-- {
		least = min(least, slopes[n])
		out[n-1] = least
	}
	out[len(out)-1] = 0
	return out
}

// find returns the knot from which the segment begins that u lies in.
func (s *slopeAt) find(k []power.Knot, slopes []float64, u, work float64) int {
	*s = slopeAt{room: -1, reach: -1} // outside the knots: ask the curve
	if u < k[0].Utilization {
		return len(k) - 1
	}
	for n := 1; n < len(k); n++ {
		if u < k[n].Utilization {
			s.slope = slopes[n]
			s.room = (k[n].Utilization - u) * work
			s.reach = s.room
			if n+1 < len(k) {
				s.next, s.reach = slopes[n+1], (k[n+1].Utilization-u)*work
			}
			s.reach = min(s.reach, (1-u)*work)
			return n - 1
		}
	}
	return len(k) - 1
}

// riseOf is what d more cores add along a curve.
func (c *Cluster) riseOf(s *slopeAt, p *power.Piecewise, i int, d float64) float64 {
	if d <= s.room {
		return s.slope * d
	}
	return float64(p.Rise(c.use[i]*c.perWork[i], (c.use[i]+d)*c.perWork[i])) + c.beyond(i, c.use[i], c.booked(i), d)
}

// beyond is what d more cores count on a server that others have filled, where so many cores are in use and so many are
// booked, as far as they are more than it can do: it draws no more, but all of its power for longer. Though its requests
// leave room, it would else be the cheapest of all. Where little more is in use than what was asked for, that is how well use is
// measured, and what is asked for finds room.
func (c *Cluster) beyond(i int, use, booked, d float64) float64 {
	work := c.work[i]
	if use <= work && use+d <= work || use-booked <= othersFrom*work {
		return 0
	}
	return (max(0, use+d-work) - max(0, use-work)) * float64(c.curve[i].Peak()) * c.perWork[i]
}

// othersFrom is from which part of a server on use beyond what is booked is that of others.
const othersFrom = 0.1

// booked is the CPU that the jobs of a node have asked for.
func (c *Cluster) booked(i int) float64 { return c.nodes[i].Allocatable.CPU - c.freeCPU[i] }
