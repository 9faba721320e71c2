package scheduler

import (
	"context"
	"sync/atomic"

	"github.com/leastwatt/leastwatt/scoring"
)

// alone is an objective as a scorer that judges each server by itself, where that makes no difference. The unit of an objective's costs depends on whether
// a tariff is known of any server that it is asked about; while the tariffs of all servers are known, it is the same whichever those are.
type alone struct {
	scoring.Objective
	sure    scoring.Objective // the same, in its unit whatever is known
	view    func() *scoring.View
	meters  atomic.Pointer[meters]
	settled atomic.Bool // all tariffs were known when they were looked at last
}

// separately returns a scorer as one that judges each server of a view by itself, where it can be that.
func separately(s scoring.Scorer, view func() *scoring.View) scoring.Scorer {
	o, ok := s.(scoring.Objective)
	if !ok || o.Tariff != nil || !o.Settled().ScoresSeparately() {
		return s
	}
	return &alone{Objective: o, sure: o.Settled(), view: view}
}

// meters are those of the servers of a view: one of the servers for each.
type meters struct {
	of    *scoring.View
	nodes []scoring.Node
	all   bool // nodes has every meter, and no server is without one
}

// mostMeters is of how many places the tariffs are looked at for each pod, which takes less time than pricing a few servers.
const mostMeters = 64

func metersOf(v *scoring.View) *meters {
	m := &meters{of: v, all: true}
	var last *scoring.Meter
	seen := make(map[*scoring.Meter]bool)
	for n := range v.All {
		switch {
		case n.Meter == nil && n.Predictor == nil: // costs nothing that anybody could know
		case n.Meter == nil, len(seen) > mostMeters:
			m.all = false
			return m
		case n.Meter != last && !seen[n.Meter]:
			seen[n.Meter] = true
			m.nodes = append(m.nodes, *n)
		}
		last = n.Meter
	}
	return m
}

// ScoresSeparately implements [scoring.SeparateScorer].
func (a *alone) ScoresSeparately() bool {
	v := a.view()
	m := a.meters.Load()
	if m == nil || m.of != v {
		m = metersOf(v)
		a.meters.Store(m)
	}
	known := m.all
	for i := 0; known && i < len(m.nodes); i++ {
		_, err := a.PerWatt(&m.nodes[i])
		known = err == nil
	}
	a.settled.Store(known)
	return known
}

// AppendScore implements [scoring.AppendScorer].
func (a *alone) AppendScore(ctx context.Context, costs []scoring.Cost, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	if a.settled.Load() {
		return a.sure.AppendScore(ctx, costs, d, nodes)
	}
	return a.Objective.AppendScore(ctx, costs, d, nodes)
}
