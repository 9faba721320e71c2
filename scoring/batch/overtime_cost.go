package batch

import (
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// energies are the kilowatt-hours that a job needs in a slot, by cell: NaN where no server could take it. Where the models are unknown it is
// that of the dearest cell.
func (b *overTime) energies(c *Cluster, j *Job) []float64 {
	can := make([]bool, len(b.cells))
	for i := range c.nodes {
		n := &c.nodes[i]
		if x := b.cellOf[i]; !can[x] && !n.Down && (j.Node == "" || j.Node == n.Name) && j.Requests.Fits(&n.Allocatable) {
			can[x] = true
		}
	}
	dearest := 0.0
	for x := range b.cells {
		if v := b.cells[x].slope; v > dearest {
			dearest = v
		}
	}
	if dearest == 0 {
		dearest = 1 // nothing is known of power: the grid alone decides
	}
	out := make([]float64, len(b.cells))
	for x := range b.cells {
		v := b.cells[x].slope
		if v != v {
			v = dearest
		}
		if out[x] = math.NaN(); can[x] {
			out[x] = max(0, v) * j.Demand.CPU * b.grid.Slot().Hours()
		}
	}
	return out
}

// alone plans one job beside what is booked: the cell and start of least cost, the earliest of equals, and the energy of a slot there; Site is -1 where
// there is no room in time. Slots whose cost is unknown are neutral, as in [spacetime.Problem].
func (b *overTime) alone(now time.Duration, j *Job, c *Cluster) (spacetime.Placement, float64) {
	n := 1
	for s := range b.sites {
		n = max(n, len(b.ahead[s]))
	}
	b.sumUp()
	if !b.whole {
		b.bestNodes(j, now, c)
	}
	length, share := min(b.slots(j.Demand.Lifetime), 10_000), b.last(j.Demand.Lifetime)
	last := max(0, min(int(int64((b.latest(j, now)-b.early(c, j))/b.grid.Slot())-b.at), n-1))
	best, value, energy := spacetime.Placement{Site: -1}, math.Inf(1), 0.0
	for x, e := range b.energies(c, j) {
		if e != e {
			continue
		}
		s := b.cells[x].site
		run := 0 // slots before t, one after the other, with room for all of it
		for t := range last + length {
			free := b.cells[x].capacity - b.booked[x].at(b.at+int64(t))
			if start := t + 1 - length; start > 0 || start == 0 && b.whole {
				if run >= length-1 && free >= share*j.Requests.CPU*(1-1e-9) {
					sum := b.sums[s]
					v := e * (upTo(sum, float64(t)+share) - upTo(sum, float64(start)))
					if !b.whole {
						v += j.Requests.CPU * (upTo(b.priced[x], float64(t)+share) - upTo(b.priced[x], float64(start)))
					}
					if v < value-1e-12*math.Abs(v) {
						best, value, energy = spacetime.Placement{Site: x, Start: start}, v, e
					}
				}
			}
			if t == 0 && !b.whole && b.best[s] >= 0 && b.roomNow(x, now, j) {
				at := b.inSlots(now) - float64(b.at)
				sum := b.sums[s]
				v := e * (upTo(sum, at+b.inSlots(j.Demand.Lifetime)) - upTo(sum, at))
				if end := at + b.inSlots(j.Demand.Lifetime); end > 1 {
					v += j.Requests.CPU * (upTo(b.priced[x], end) - upTo(b.priced[x], 1))
				}
				if v < value-1e-12*math.Abs(v) {
					best, value, energy = spacetime.Placement{Site: x, Start: 0}, v, e
				}
			}
			if run++; free < j.Requests.CPU*(1-1e-9) {
				run = 0
			}
		}
	}
	return best, energy
}

// roomNow tells whether a job that starts now, on cores that are free, leaves what is booked in the slots that follow.
func (b *overTime) roomNow(x int, now time.Duration, j *Job) bool {
	ok := true
	b.parts(now, j.Demand.Lifetime, func(t int64, share float64) {
		ok = ok && (t == b.at || b.booked[x].at(t)+share*j.Requests.CPU <= b.cells[x].capacity*(1+1e-9))
	})
	return ok
}

// bestNodes finds the node of each site where the job adds the fewest watts now, and fills b.cost with the kilowatts: of that node, else the mean
// of all that could take the job once they are free, else +Inf. A site whose models are unknown costs as much as the dearest that is known.
func (b *overTime) bestNodes(j *Job, now time.Duration, c *Cluster) {
	due := b.due(j)
	type sum struct{ total, n float64 }
	means := make([]sum, len(b.sites))
	for s := range b.sites {
		b.cost[s], b.best[s] = math.Inf(1), -1
	}
	unknown := make([]int, len(b.sites))
	for s := range unknown {
		unknown[s] = -1
	}
	for i := range c.nodes {
		n := &c.nodes[i]
		if n.Down || j.Node != "" && j.Node != n.Name || !j.Requests.Fits(&n.Allocatable) || slices.Contains(b.barred, i) || len(b.keeps[i]) > 0 && c.Fits(i, j) && b.spare(c, i, j, now, due, now) < 0 {
			continue
		}
		s := b.of[i]
		v := b.watts(c, i, j.Demand.CPU)
		if v != v {
			if unknown[s] < 0 || b.best[s] < 0 && c.Fits(i, j) && !c.Fits(unknown[s], j) {
				unknown[s] = i
			}
			continue
		}
		means[s].total, means[s].n = means[s].total+v, means[s].n+1
		if c.Fits(i, j) && v < b.cost[s] {
			b.cost[s], b.best[s] = v, i
		}
	}
	dearest := 0.0
	for s := range b.sites {
		if b.best[s] < 0 && means[s].n > 0 {
			b.cost[s] = means[s].total / means[s].n
		}
		b.cost[s] = max(0, b.cost[s]) / 1000
		if !math.IsInf(b.cost[s], 1) {
			dearest = max(dearest, b.cost[s])
		}
	}
	if dearest == 0 {
		dearest = 1 // nothing is known of power: the grid alone decides
	}
	for s := range b.sites {
		if u := unknown[s]; u >= 0 && means[s].n == 0 {
			b.cost[s] = dearest
			if c.Fits(u, j) {
				b.best[s] = u
			}
		} else if u >= 0 && b.best[s] < 0 && c.Fits(u, j) {
			b.best[s] = u
		}
	}
}

// watts is what a job adds to the energy of the cluster, by leastwatt's weights but without the price of work.
func (b *overTime) watts(c *Cluster, i int, cores float64) float64 {
	e := c.env[i]
	if e == nil {
		return math.NaN()
	}
	weights := DefaultWeights()
	a := weights.On
	if c.switchOff {
		a = weights.Off
	}
	return a*c.riseOf(&c.envAt[i], e, i, cores) + (1-a)*c.riseOf(&c.curveAt[i], c.curve[i], i, cores)
}

// expected is the mean cost of a kilowatt-hour over the next slots at a site, as far as known; where nothing is, that of the dearest other
// site, so that no site wins because its data is missing, else 1.
func (b *overTime) expected(site, length int) float64 {
	if v, ok := meanKnown(b.ahead[site], length); ok {
		return v
	}
	most, known := math.Inf(-1), false
	for s := range b.sites {
		if v, ok := meanKnown(b.ahead[s], length); ok {
			most, known = max(most, v), true
		}
	}
	if !known {
		return 1
	}
	return most + 1e-9*math.Abs(most) // and loses a tie
}

func meanKnown(a []float64, length int) (float64, bool) {
	sum, n := 0.0, 0
	for _, v := range a[:min(length, len(a))] {
		if v == v {
			sum, n = sum+v, n+1
		}
	}
	return sum / float64(max(n, 1)), n > 0
}
