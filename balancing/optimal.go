package balancing

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// Optimal divides requests so that all servers together draw the least: it fills the servers in order of
// marginal power along the convex envelopes of what is left of their curves, and closes the gap to the true
// curves by branch and bound, until the division is proven to be within 0.02 % of the least possible. The
// search has a budget: it sufficed on every mix tried for one Service, and on small clusters for Services that
// share servers; with hundreds of servers the envelopes alone come that near. The division is never above
// Uniform where Uniform keeps within the limit.
//
// Where servers are equally cheap they get equal utilization. A Service whose demand does not fit within
// the limit of its servers loads them beyond it evenly, so that nothing is refused. An unknown endpoint
// gets the neutral share, 1/n, or what the least known endpoint of its Service gets, if that is less.
//
// The zero value is ready to use. An Optimal must not be copied after its first use.
type Optimal struct {
	// Limit is the utilization up to which a server is filled, background included, which guards latency;
	// 0 means DefaultLimit.
	Limit float64

	// Floor is the least share of an endpoint as a part of the neutral share 1/n, so that no endpoint
	// starves and each is measured; 0 means DefaultFloor, a negative value none. The rest is divided at
	// the optimum given the floor.
	Floor float64

	// PerWatt returns what one watt costs at a node: the carbon intensity of its grid for grams, the price
	// for money, times its PUE where that is known: [scoring.Objective.PerWatt]. An error makes the node
	// unknown; if it is an error of every node, watts count, because energy still does. Nil means 1, the
	// objective is watts.
	PerWatt func(n *scoring.Node) (float64, error)

	pool sync.Pool // of *solver
}

// The defaults of Optimal.
const (
	DefaultLimit = 0.8
	DefaultFloor = 0.05
)

// tabulation is how finely a model without a local curve is sampled, as in package scoring.
const tabulation = 20

// Weigh implements [Weigher].
func (o *Optimal) Weigh(ctx context.Context, services []Service) ([][]Share, error) {
	limit, floor := o.Limit, o.Floor
	if limit == 0 {
		limit = DefaultLimit
	}
	if floor == 0 {
		floor = DefaultFloor
	}
	floor = max(floor, 0)
	if !(limit > 0 && limit <= 1) {
		return nil, fmt.Errorf("optimal weigher: limit is %v: want a utilization above 0, at most 1", o.Limit)
	}
	if !(floor <= 1) {
		return nil, fmt.Errorf("optimal weigher: floor is %v: want a part of the neutral share, at most 1", o.Floor)
	}
	if err := validate(services); err != nil {
		return nil, err
	}
	s, _ := o.pool.Get().(*solver)
	if s == nil {
		s = &solver{index: make(map[string]int32)}
	}
	defer o.pool.Put(s)
	out := allocate(services)
	s.reset(limit)
	s.perWatt = o.PerWatt
	if o.PerWatt != nil && !o.priced(services) {
		s.perWatt = nil
	}
	o.load(ctx, s, services, out, floor)
	if err := s.solve(ctx); err != nil {
		return nil, err
	}
	s.shares(services, out, floor)
	return out, nil
}

// priced tells whether the cost of a watt is known of any node that is known.
func (o *Optimal) priced(services []Service) bool {
	for i := range services {
		for j := range services[i].Endpoints {
			e := &services[i].Endpoints[j]
			if known(e) != nil {
				continue
			}
			if _, err := o.PerWatt(e.Node); err == nil {
				return true
			}
		}
	}
	return false
}

// load fills the solver with the known servers, their background and the arcs from Services to servers.
func (o *Optimal) load(ctx context.Context, s *solver, services []Service, out [][]Share, floor float64) {
	for i := range services {
		svc := &services[i]
		d := max(svc.Demand(), 1e-9)
		first := len(s.arcs)
		for j := range svc.Endpoints {
			e := &svc.Endpoints[j]
			at, err := s.server(ctx, e)
			out[i][j].Err = err
			if err != nil {
				s.arcOf = append(s.arcOf, -1)
				continue
			}
			v := &s.servers[at]
			v.moving += e.Load
			v.floor += d * floor / float64(len(svc.Endpoints))
			if v.seen != int32(i+1) {
				v.seen, v.arc = int32(i+1), int32(len(s.arcs))
				v.degree++
				s.arcs = append(s.arcs, arc{server: at, service: int32(i)})
			}
			s.arcs[v.arc].count++
			s.arcOf = append(s.arcOf, v.arc)
		}
		s.demands = append(s.demands, demand{total: d, free: d * (1 - floor), from: int32(first), to: int32(len(s.arcs))})
	}
	for i := range s.servers {
		s.servers[i].close(s.limit)
	}
}

// server returns the index of an endpoint's server, or why it is not known.
func (s *solver) server(ctx context.Context, e *Endpoint) (int32, error) {
	if e.Node == nil {
		return 0, known(e)
	}
	name := e.Node.Name
	if at, ok := s.index[name]; ok && name != "" {
		return at, s.servers[at].err
	}
	at := int32(len(s.servers))
	s.servers = append(s.servers, server{})
	v := &s.servers[at]
	if v.err = known(e); v.err == nil {
		v.err = open(ctx, v, e.Node, s.perWatt)
	}
	s.index[name] = at
	return at, v.err
}

// open reads what the solver needs of a node.
func open(ctx context.Context, v *server, n *scoring.Node, perWatt func(*scoring.Node) (float64, error)) error {
	v.price, v.work, v.use = 1, n.Capacity.Work(), n.State.Utilization
	if perWatt != nil {
		p, err := perWatt(n)
		if err != nil {
			return fmt.Errorf("node %q: cost of a watt: %w", n.Name, err)
		}
		if math.IsNaN(p) || math.Abs(p) > maxAmount {
			return fmt.Errorf("node %q: cost of a watt is %v: want a finite number", n.Name, p)
		}
		v.price = p
	}
	curve, ok := n.Predictor.(*power.Piecewise)
	if !ok {
		c, err := power.Tabulate(ctx, n.Predictor, n.State, tabulation)
		if err != nil {
			return fmt.Errorf("node %q: %w", n.Name, err)
		}
		curve = c
	}
	v.curve, v.knots = curve, curve.Knots()
	return nil
}
