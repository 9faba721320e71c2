package balancing

import (
	"fmt"

	"github.com/leastwatt/leastwatt/power"
)

// A Draw is what the servers of a division are predicted to draw.
type Draw struct {
	// Total is the sum over all known servers.
	Total power.Watts

	// Busiest is the highest utilization of a known server; above 1 the division cannot be served.
	Busiest float64

	// Nodes holds each known server's watts by name.
	Nodes map[string]power.Watts

	// Utilization holds each known server's utilization by name, background included.
	Utilization map[string]float64
}

// Predict returns what the servers of the Services draw when the requests are divided by the shares. Servers
// that are unknown or whose model is not a local curve are left out. It panics if the shares do not have the
// Services' shape.
func Predict(services []Service, shares [][]Share) Draw {
	if len(services) != len(shares) {
		panic(fmt.Sprintf("balancing.Predict: %d services but %d rows of shares", len(services), len(shares)))
	}
	type load struct {
		curve       *power.Piecewise
		use, moving float64
		added, work float64
	}
	loads := make(map[string]*load)
	for i := range services {
		s := &services[i]
		if len(s.Endpoints) != len(shares[i]) {
			panic(fmt.Sprintf("balancing.Predict: service %q: %d endpoints but %d shares", s.Name, len(s.Endpoints), len(shares[i])))
		}
		for j := range s.Endpoints {
			e := &s.Endpoints[j]
			if known(e) != nil {
				continue
			}
			curve, ok := e.Node.Predictor.(*power.Piecewise)
			if !ok {
				continue
			}
			l := loads[e.Node.Name]
			if l == nil {
				work := e.Node.Capacity.Work()
				l = &load{curve: curve, work: work, use: e.Node.State.Utilization * work}
				loads[e.Node.Name] = l
			}
			l.moving += e.Load
			l.added += s.Demand() * shares[i][j].Value
		}
	}
	d := Draw{Nodes: make(map[string]power.Watts, len(loads)), Utilization: make(map[string]float64, len(loads))}
	for name, l := range loads {
		u := (max(l.use-l.moving, 0) + l.added) / l.work
		d.Busiest = max(d.Busiest, u)
		d.Nodes[name], d.Utilization[name] = l.curve.At(u), u
		d.Total += d.Nodes[name]
	}
	return d
}

// Added returns the watts that the requests of one endpoint add to its server in this draw, the rest staying as it is;
// false where the server is not in it.
func (d *Draw) Added(s *Service, e *Endpoint, share float64) (power.Watts, bool) {
	if known(e) != nil {
		return 0, false
	}
	curve, ok := e.Node.Predictor.(*power.Piecewise)
	u, drawn := d.Utilization[e.Node.Name]
	if !ok || !drawn {
		return 0, false
	}
	return d.Nodes[e.Node.Name] - curve.At(max(u-s.Demand()*share/e.Node.Capacity.Work(), 0)), true
}
