package balancing

import (
	"context"
	"math"
)

// improve re-divides single Services on the true curves, the others held, while that helps and low, which no
// division can go below, says that there is something to gain.
func (f *flow) improve(ctx context.Context, s *solver, low float64) {
	truth := 0.0
	for i, id := range f.ids {
		truth += f.d.truth(int32(i), f.load[id])
	}
	for budget := maxJoint; budget > 0 && truth-low > gap*math.Abs(truth); {
		before := truth
		for _, i := range f.services {
			d := &s.demands[i]
			if budget < 0 || ctx.Err() != nil {
				return
			}
			if !f.above(s, d) {
				continue
			}
			gain, visits := f.redivide(s, d)
			truth -= gain
			budget -= visits
		}
		if before-truth <= gap/10*math.Abs(truth) {
			return
		}
	}
}

// above tells whether a Service has a server whose load stands above the envelope.
func (f *flow) above(s *solver, d *demand) bool {
	for _, a := range s.arcs[d.from:d.to] {
		v := &s.servers[a.server]
		load := f.load[a.server]
		if load <= 0 || load >= v.room {
			continue
		}
		if !atKnot(v, v.base+load) {
			return true
		}
	}
	return false
}

// atKnot tells whether a load is at a knot of the curve.
func atKnot(v *server, load float64) bool {
	for _, k := range v.knots {
		if math.Abs(k.Utilization*v.work-load) <= 1e-9*v.work {
			return true
		}
	}
	return false
}

// redivide divides one Service anew and returns what that gained.
func (f *flow) redivide(s *solver, d *demand) (gain float64, visits int) {
	v := &s.single
	v.start()
	arcs := s.arcs[d.from:d.to]
	before := 0.0
	for _, a := range arcs {
		sv := &s.servers[a.server]
		v.add(sv, sv.base+f.load[a.server]-a.flow, s.limit)
		before += sv.cost(sv.base + f.load[a.server])
	}
	visits = len(v.keys)
	if !v.divide(d.free) {
		return 0, visits
	}
	visits *= len(v.nodes)
	if before-v.best <= 1e-9*math.Abs(before) {
		return 0, visits
	}
	for i := range arcs {
		f.load[arcs[i].server] += v.x[i] - arcs[i].flow
		arcs[i].flow = v.x[i]
	}
	return before - v.best, visits
}

// tryEven takes the uniform division, improved, where it is cheaper than what is there.
func (f *flow) tryEven(ctx context.Context, s *solver, low float64) {
	even := make([]float64, len(s.servers))
	for _, i := range f.services {
		d := &s.demands[i]
		n := d.endpoints(s)
		for _, a := range s.arcs[d.from:d.to] {
			even[a.server] += d.free * float64(a.count) / n
		}
	}
	diff := 0.0
	for i, id := range f.ids {
		if even[id] > f.d.lots[i].room {
			return
		}
		diff += f.d.truth(int32(i), even[id]) - f.d.truth(int32(i), f.load[id])
	}
	if diff >= 0 {
		return
	}
	for _, i := range f.services {
		d := &s.demands[i]
		n := d.endpoints(s)
		for k := d.from; k < d.to; k++ {
			s.arcs[k].flow = d.free * float64(s.arcs[k].count) / n
		}
	}
	copy(f.load, even)
	f.improve(ctx, s, low)
}

// endpoints is how many known endpoints a Service has.
func (d *demand) endpoints(s *solver) float64 {
	n := 0.0
	for _, a := range s.arcs[d.from:d.to] {
		n += float64(a.count)
	}
	return n
}
