package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
)

// prices are what one demand costs on the servers of a view.
type prices struct {
	demand scoring.Demand // has no inputs and no lifetime
	since  time.Time      // when the oldest of them was found
	used   uint32         // the last round in which they were asked for; 0 is never

	of []price // in the order of the view
}

// A price is what is kept of a cost.
type price struct {
	value   float64 // NaN is unknown, +Inf over capacity
	tie     float32
	version uint32 // of the mark when the price was found; 0 is not found yet
	unit    scoring.Unit
	reason  reason // why it is unknown
	assumed bool   // by what pods request
}

const (
	// demands is how many sizes of pods have their prices kept.
	demands = 4

	// lasting is how long a price of an unchanged server holds, because a scorer may look at what changes
	// in the meantime: the carbon intensity, for example. It is how long kube-scheduler itself uses raw
	// scores again (maxBatchAge in pkg/scheduler/framework/runtime/batch.go).
	lasting = 500 * time.Millisecond

	// piece is how many servers are asked about at once where that makes no difference, so that the
	// answers stay in the processor's nearest memory.
	piece = 128
)

// pricesOf returns what is still true of the prices of a demand.
func (w *prepared) pricesOf(d scoring.Demand, now time.Time) *prices {
	p := &w.prices[0]
	for i := range w.prices {
		q := &w.prices[i]
		if q.used != 0 && q.are(d) {
			p = q
			break
		}
		if q.used < p.used {
			p = q
		}
	}
	if p.of == nil {
		p.of = make([]price, len(w.nodes))
	}
	if p.used == 0 || !p.are(d) || now.Sub(p.since) >= lasting {
		p.demand, p.since = d, now
		p.forget()
	}
	p.used = w.round
	return p
}

func (p *prices) are(of scoring.Demand) bool {
	return p.demand.CPU == of.CPU && p.demand.GPUs == of.GPUs
}

func (p *prices) forget() {
	for i := range p.of {
		p.of[i].version = 0
	}
}

// score returns the prices of this round's candidates, each at the place of its server. A scorer that judges each
// server by itself is asked about those that have changed; others about all candidates, in one call.
func (p *Plugin) score(ctx context.Context, d scoring.Demand, now time.Time) ([]price, error) {
	w := &p.work
	all := w.pricesOf(d, now)
	if s, ok := p.scorer.(scoring.SeparateScorer); !ok || !s.ScoresSeparately() {
		return all.of, p.scoreTogether(ctx, all)
	}
	for _, i := range w.few {
		if w.marks[i].version != all.of[i].version {
			if err := p.ask(ctx, d, w.nodes[i:i+1]); err != nil {
				return nil, err
			}
			w.keep(all, int(i), &w.costs[0])
		}
	}
	if len(w.few) > 0 {
		return all.of, nil
	}
	for i := 0; i < len(w.marks); {
		j := i
		for end := min(i+piece, len(w.marks)); j < end && w.marks[j].round == w.round && w.marks[j].version != all.of[j].version; {
			j++
		}
		if j == i {
			i++
			continue
		}
		if err := p.ask(ctx, d, w.nodes[i:j]); err != nil {
			return nil, err
		}
		for k := range w.costs {
			w.keep(all, i+k, &w.costs[k])
		}
		i = j
	}
	return all.of, nil
}

// scoreTogether asks about all candidates at once.
func (p *Plugin) scoreTogether(ctx context.Context, all *prices) error {
	w := &p.work
	places := make([]int, 0, len(w.marks))
	for i := range w.marks {
		if w.marks[i].round == w.round {
			places = append(places, i)
		}
	}
	nodes := w.nodes
	if len(places) < len(nodes) {
		nodes = make([]scoring.Node, len(places))
		for k, i := range places {
			nodes[k] = w.nodes[i]
		}
	}
	if err := p.ask(ctx, all.demand, nodes); err != nil {
		return err
	}
	for k, i := range places {
		w.keep(all, i, &w.costs[k])
	}
	return nil
}

// ask leaves the costs of nodes in w.costs.
func (p *Plugin) ask(ctx context.Context, d scoring.Demand, nodes []scoring.Node) error {
	costs, err := scoring.AppendScore(ctx, p.scorer, p.work.costs[:0], d, nodes)
	if err != nil {
		return err
	}
	if len(costs) != len(nodes) {
		return fmt.Errorf("scorer %T gave %d costs for %d nodes", p.scorer, len(costs), len(nodes))
	}
	p.work.costs = costs
	return nil
}

// keep makes a cost the price of the i-th server.
func (w *prepared) keep(all *prices, i int, c *scoring.Cost) {
	p := &all.of[i]
	*p = price{value: c.Value, tie: c.Tie, version: w.marks[i].version, unit: c.Unit, assumed: w.nodes[i].Assumed != ""}
	switch {
	case c.Err == nil && c.Known():
	case errors.Is(c.Err, scoring.ErrOverCapacity):
		p.value = math.Inf(1)
	default:
		p.value = math.NaN()
		if p.reason = w.seats[i].reason; w.nodes[i].Err == nil {
			p.reason = reasonOf(c.Err) // the scorer's own
		}
	}
}

// before tells whether the i-th server is preferred to the k-th, both of a known price; they are in the order of
// their names.
func before(all []price, i, k int) bool {
	a, b := &all[i], &all[k]
	switch {
	case a.unit != b.unit:
		return a.unit < b.unit
	case a.value != b.value:
		return a.value < b.value
	case a.tie != b.tie:
		return a.tie < b.tie
	}
	return i < k
}
