package batch

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/leastwatt/leastwatt/power"
)

// Bound is the least power at which a set of nodes could carry a demand, if work could be cut into any pieces and moved
// at no cost: no placement draws less. With servers always on it fills the segments of the nodes' lower convex
// envelopes in order of slope. With switching off, a node may be on for a fraction of itself, and needs to be on for as much of its
// memory and cores as is reserved; the prices of reserved memory and cores that make the bound
// tightest are searched (Lagrangian duality: any prices give a valid bound). It is immutable.
type Bound struct {
	cuts []cut
}

// A cut is the bound at one pair of prices.
type cut struct {
	perCPU, perByte float64 // watts per core and per byte reserved
	base            float64
	cores           []float64 // cumulated, by slope
	watts           []float64
	slope           []float64
}

// Load is a demand on a whole cluster.
type Load struct {
	Use    float64 // work done, in cores of speed 1
	CPU    float64 // cores reserved
	Memory float64 // bytes reserved
}

// NewBound returns the bound of nodes with their true models, which must all be known.
func NewBound(ctx context.Context, nodes []Node, switchOff bool) (*Bound, error) {
	type server struct {
		knots    []power.Knot
		work     float64
		off      float64
		cpu, mem float64
	}
	servers := make([]server, 0, len(nodes))
	var perCPU, perByte []float64
	for i := range nodes {
		d := &nodes[i]
		if d.Err != nil {
			return nil, fmt.Errorf("node %q: %w", d.Name, d.Err)
		}
		if d.Predictor == nil {
			return nil, fmt.Errorf("node %q: %w", d.Name, power.ErrNoModel)
		}
		p, err := power.Tabulate(ctx, d.Predictor, d.State, 100)
		if err != nil {
			return nil, err
		}
		s := server{knots: p.Knots(), work: d.Capacity.Work(), off: float64(d.OffPower), cpu: d.Allocatable.CPU, mem: d.Allocatable.Memory}
		servers = append(servers, s)
		idle := float64(p.Idle()) - s.off
		if s.cpu > 0 {
			perCPU = append(perCPU, idle/s.cpu)
		}
		if s.mem > 0 {
			perByte = append(perByte, idle/s.mem)
		}
	}
	b := &Bound{}
	grid := func(v []float64) []float64 {
		out := []float64{0}
		if !switchOff || len(v) == 0 {
			return out
		}
		slices.Sort(v)
		for _, f := range []float64{0.25, 0.5, 0.75, 1, 1.5, 2.5, 5} {
			out = append(out, f*v[len(v)/2])
		}
		return out
	}
	for _, pc := range grid(perCPU) {
		for _, pb := range grid(perByte) {
			c := cut{perCPU: pc, perByte: pb}
			type segment struct{ slope, cores float64 }
			var segs []segment
			for _, s := range servers {
				credit := pc*s.cpu + pb*s.mem
				points := make([][2]float64, 0, len(s.knots)+1)
				for _, k := range s.knots {
					points = append(points, [2]float64{k.Utilization * s.work, float64(k.Watts) - credit})
				}
				if points[0][0] > 0 {
					points = append([][2]float64{{0, points[0][1]}}, points...)
				}
				if switchOff {
					points[0][1] = min(points[0][1], s.off)
				}
				hull := hullOf(points)
				c.base += hull[0][1]
				for k := 1; k < len(hull); k++ {
					w := hull[k][0] - hull[k-1][0]
					segs = append(segs, segment{(hull[k][1] - hull[k-1][1]) / w, w})
				}
			}
			slices.SortFunc(segs, func(a, b segment) int { return cmp.Compare(a.slope, b.slope) })
			cores, watts := 0.0, c.base
			for _, g := range segs {
				c.cores, c.watts, c.slope = append(c.cores, cores), append(c.watts, watts), append(c.slope, g.slope)
				cores += g.cores
				watts += g.slope * g.cores
			}
			b.cuts = append(b.cuts, c)
		}
	}
	return b, nil
}

// hullOf is the lower convex hull of points with rising first coordinates (Andrew 1979).
func hullOf(points [][2]float64) [][2]float64 {
	var hull [][2]float64
	for _, p := range points {
		for len(hull) > 1 {
			a, b := hull[len(hull)-2], hull[len(hull)-1]
			if (b[1]-a[1])*(p[0]-a[0]) < (p[1]-a[1])*(b[0]-a[0]) {
				break
			}
			hull = hull[:len(hull)-1]
		}
		hull = append(hull, p)
	}
	return hull
}

// At returns the least power for a load. Beyond the capacity of all nodes the last slope goes on.
func (b *Bound) At(l Load) power.Watts {
	best := math.Inf(-1)
	for i := range b.cuts {
		c := &b.cuts[i]
		v := c.base
		if k, _ := slices.BinarySearch(c.cores, l.Use); k > 0 {
			v = c.watts[k-1] + c.slope[k-1]*(l.Use-c.cores[k-1])
		}
		best = max(best, v+c.perCPU*l.CPU+c.perByte*l.Memory)
	}
	return power.Watts(max(best, 0))
}

// Slope returns the watts that the last core of the load costs at the optimum: the price of work in this
// cluster.
func (b *Bound) Slope(l Load) float64 {
	c := &b.cuts[0]
	k, _ := slices.BinarySearch(c.cores, l.Use)
	if len(c.slope) == 0 {
		return 0
	}
	return c.slope[max(0, min(k, len(c.slope))-1)]
}
