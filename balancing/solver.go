package balancing

import (
	"context"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// A solver is the memory of one call of Optimal.Weigh, kept for the next.
type solver struct {
	limit   float64
	perWatt func(*scoring.Node) (float64, error) // nil: watts
	index   map[string]int32
	servers []server
	demands []demand
	arcs    []arc   // grouped by Service
	arcOf   []int32 // by endpoint over all Services; -1 is unknown
	single  divider
	joint   flow
}

// A server as the solver sees it. Loads are in cores of speed 1.
type server struct {
	curve  *power.Piecewise
	knots  []power.Knot
	err    error
	price  float64 // objective per watt
	work   float64 // capacity
	use    float64 // measured utilization
	moving float64 // part of the measured use that moves with the shares
	floor  float64 // load of the floors, which stays
	base   float64 // load that stays: background and floors
	room   float64 // load from base up to the limit
	seen   int32   // the last Service met, counted from 1, and its arc
	arc    int32
	degree int32 // Services on this server
}

// A demand is one Service: its work, the part that is to be divided, and its arcs.
type demand struct {
	total, free float64
	from, to    int32
}

// An arc lets a Service use a server, through count endpoints.
type arc struct {
	server, service int32
	count           int32
	flow            float64 // the divided load that goes here
}

func (s *solver) reset(limit float64) {
	s.limit = limit
	clear(s.index)
	clear(s.servers) // no curve is kept
	s.servers, s.demands, s.arcs, s.arcOf = s.servers[:0], s.demands[:0], s.arcs[:0], s.arcOf[:0]
}

func (v *server) close(limit float64) {
	if v.err != nil {
		return
	}
	v.base = max(v.use*v.work-v.moving, 0) + v.floor
	v.room = max(limit*v.work-v.base, 0)
}

// cost is the objective at a load above nothing.
func (v *server) cost(load float64) float64 { return v.price * float64(v.curve.At(load/v.work)) }

// solve fills in the flow of every arc.
func (s *solver) solve(ctx context.Context) error {
	s.joint.services = s.joint.services[:0]
	for i := range s.demands {
		d := &s.demands[i]
		if d.from == d.to {
			continue
		}
		if i%64 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if !s.alone(d) || !s.divideAlone(d) {
			s.joint.services = append(s.joint.services, int32(i))
		}
	}
	if len(s.joint.services) > 0 {
		s.joint.run(ctx, s)
	}
	return ctx.Err()
}

// alone tells whether a Service shares no server.
func (s *solver) alone(d *demand) bool {
	for _, a := range s.arcs[d.from:d.to] {
		if s.servers[a.server].degree > 1 {
			return false
		}
	}
	return true
}

// divideAlone divides a Service that shares no server. It reports false where the demand does not fit.
func (s *solver) divideAlone(d *demand) bool {
	v := &s.single
	v.start()
	arcs := s.arcs[d.from:d.to]
	for _, a := range arcs {
		sv := &s.servers[a.server]
		v.add(sv, sv.base, s.limit)
	}
	if !v.divide(d.free) {
		return false
	}
	// The same everywhere is one of the divisions to beat.
	n, even, fits := 0.0, 0.0, true
	for _, a := range arcs {
		n += float64(a.count)
	}
	for i, a := range arcs {
		x := d.free * float64(a.count) / n
		fits = fits && x <= v.lots[i].room
		even += v.truth(int32(i), x)
	}
	for i := range arcs {
		if fits && even < v.best {
			arcs[i].flow = d.free * float64(arcs[i].count) / n
		} else {
			arcs[i].flow = v.x[i]
		}
	}
	return true
}

// shares turns flows into shares.
func (s *solver) shares(services []Service, out [][]Share, floor float64) {
	next := 0
	for i := range services {
		row, d := out[i], &s.demands[i]
		arcOf := s.arcOf[next : next+len(row)]
		next += len(row)
		if d.from == d.to {
			uniform(row)
			continue
		}
		least, n := floor/float64(len(row)), 1/float64(len(row))
		unknown, low := 0.0, 1.0
		for j := range row {
			if arcOf[j] < 0 {
				unknown++
				continue
			}
			a := &s.arcs[arcOf[j]]
			row[j].Value = least + a.flow/(d.total*float64(a.count))
			low = min(low, row[j].Value)
		}
		if unknown > 0 {
			// Raise the unknown as far as the least of the known allows, who make room in proportion.
			u := max(least, min(n, low/(1-unknown*least+unknown*low)))
			f := (1 - unknown*u) / (1 - unknown*least)
			for j := range row {
				if arcOf[j] < 0 {
					row[j].Value = u
				} else {
					row[j].Value = max(row[j].Value*f, u)
				}
			}
		}
		normalize(row)
	}
}
