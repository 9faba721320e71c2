package batch

import (
	"math"
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
	share := 1.0
	if j.Requests.CPU > 0 {
		share = b.room(j) / j.Requests.CPU
	}
	out := make([]float64, len(b.cells))
	for x := range b.cells {
		v := b.cells[x].slope
		if v != v {
			v = dearest
		}
		if out[x] = math.NaN(); can[x] {
			out[x] = max(0, v) * j.Demand.CPU * b.grid.Slot().Hours() * share
		}
	}
	return out
}

// alone plans one job beside what is booked: the cell and start of least cost, the earliest of equals; Site is -1 where there is no room in
// time. Slots whose cost is unknown are neutral, as in [spacetime.Problem].
func (b *overTime) alone(now time.Duration, j *Job, c *Cluster) spacetime.Placement {
	n := 1
	for s := range b.sites {
		n = max(n, len(b.ahead[s]))
	}
	length := min(b.slots(j.Demand.Lifetime), 10_000)
	last := max(0, min(int(int64(b.latest(j, now)/b.grid.Slot())-b.at), n-1))
	best, value := spacetime.Placement{Site: -1}, math.Inf(1)
	sum := make([]float64, last+length+1)
	site := -1
	for x, e := range b.energies(c, j) {
		if e != e {
			continue
		}
		if s := b.cells[x].site; s != site {
			site = s
			neutral := b.expected(s, n)
			for t := range last + length {
				v := neutral
				if a := b.ahead[s]; t < len(a) && a[t] == a[t] {
					v = a[t]
				}
				sum[t+1] = sum[t] + v
			}
		}
		run := 0
		for t := range last + length {
			if run++; b.cells[x].capacity-b.booked[x].at(b.at+int64(t)) < b.room(j)*(1-1e-9) {
				run = 0
				continue
			}
			if start := t + 1 - length; run >= length {
				if v := e * (sum[t+1] - sum[start]); v < value-1e-12*math.Abs(v) {
					best, value = spacetime.Placement{Site: x, Start: start}, v
				}
			}
		}
	}
	return best
}

// bestNodes finds the node of each site where the job adds the fewest watts now, and fills b.cost with the kilowatts: of that node, else the mean
// of all that could take the job once they are free, else +Inf. A site whose models are unknown costs as much as the dearest that is known.
func (b *overTime) bestNodes(j *Job, now time.Duration, c *Cluster) {
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
		if n.Down || j.Node != "" && j.Node != n.Name || !j.Requests.Fits(&n.Allocatable) {
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
