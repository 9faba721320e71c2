package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
)

// prices are what one demand costs on the servers of a view.
type prices struct {
	demand scoring.Demand // has no inputs and no lifetime
	since  time.Time      // when the oldest of them was found
	used   uint32         // the last round in which they were asked for; 0 is never
	stale  bool           // none of them holds any more

	of    []price // in the order of the view
	tags  []tag   // beside of
	known int     // how many of them are a cost
	unit  scoring.Unit
	late  []late
}

// A price is what is kept of a cost.
type price struct {
	value   float64 // NaN is unknown, +Inf over capacity
	tie     float32
	version uint32 // of the mark when the price was found; 0 is not found yet
	reason  reason // why it is unknown
	assumed bool   // by what pods request
}

// A tag is all that Score reads of a server: the raw score, and for which generation of its NodeInfo it holds. That tells the server too:
// kube-scheduler gives each change of any NodeInfo a generation of its own, from 1 (nextGeneration in pkg/scheduler/framework/types.go).
type tag struct {
	generation int64 // uncounted where the score holds for none
	raw        int64
}

// late is a price that was found while Score read the others, to become one of them when it no longer does.
type late struct {
	i int
	price
	tag
}

const (
	// demands is how many sizes of pods have their prices kept.
	demands = 4

	// uncounted is no generation of a NodeInfo.
	uncounted = -1

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
		p.of, p.tags = make([]price, len(w.nodes)), make([]tag, len(w.nodes))
	}
	if p.used == 0 || !p.are(d) || now.Sub(p.since) >= lasting {
		p.demand, p.since = d, now
		p.forget()
	}
	p.used, p.late = w.round, p.late[:0]
	return p
}

func (p *prices) are(of scoring.Demand) bool {
	return p.demand.CPU == of.CPU && p.demand.GPUs == of.GPUs
}

func (p *prices) forget() {
	for i := range p.of {
		p.of[i].version, p.tags[i].generation = 0, uncounted
	}
	p.known, p.stale = 0, true
}

// known tells whether the price was found, and is a cost.
func (p *price) known() bool { return p.version != 0 && math.Abs(p.value) <= math.MaxFloat64 }

// put makes a price that of the i-th server.
func (p *prices) put(i int, x price, t tag) {
	if p.of[i].known() {
		p.known--
	}
	if x.known() {
		p.known++
	}
	p.of[i], p.tags[i] = x, t
}

// raw returns a price as a raw score.
func (p *prices) raw(x *price) int64 { return raw(x.value, rawPer(p.unit)) }

// tagged returns what Score reads of the i-th server. Where its pods are not counted no generation fits.
func (w *prepared) tagged(i int, raw int64) tag {
	return tag{w.marks[i].generation, raw}
}

// settle puts the late prices among the others.
func (p *prices) settle() {
	for i := range p.late {
		x := &p.late[i]
		p.put(x.i, x.price, x.tag)
	}
	p.late = p.late[:0]
}

// separate tells whether the scorer judges each server by itself. It is asked about those that have changed then; others about all
// candidates, in one call.
func (p *Plugin) separate() bool {
	s, ok := p.scorer.(scoring.SeparateScorer)
	return ok && s.ScoresSeparately()
}

// priceAll finds the prices of all servers of the view, where there are none yet.
func (p *Plugin) priceAll(ctx context.Context, all *prices) error {
	if !all.stale {
		return nil
	}
	w := &p.work
	for i := 0; i < len(w.nodes); {
		j := i
		for end := min(i+piece, len(w.nodes)); j < end && all.of[j].version != w.marks[j].version; {
			j++
		}
		if j == i {
			i++
			continue
		}
		if err := p.ask(ctx, all.demand, w.nodes[i:j]); err != nil {
			return err
		}
		for k := range w.costs {
			x := w.priced(all, i+k, &w.costs[k])
			all.put(i+k, x, w.tagged(i+k, all.raw(&x)))
		}
		i = j
	}
	all.stale = false
	return nil
}

// priceOne returns the price of the i-th server.
func (p *Plugin) priceOne(ctx context.Context, all *prices, i int) (price, error) {
	w := &p.work
	if x := all.of[i]; x.version == w.marks[i].version {
		return x, nil
	}
	if err := p.ask(ctx, all.demand, w.nodes[i:i+1]); err != nil {
		return price{}, err
	}
	return w.priced(all, i, &w.costs[0]), nil
}

// priceTogether finds the prices of some servers in one call, and forgets all others.
func (p *Plugin) priceTogether(ctx context.Context, all *prices, places []int) error {
	w := &p.work
	all.forget()
	slices.Sort(places)
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
		x := w.priced(all, i, &w.costs[k])
		all.put(i, x, w.tagged(i, all.raw(&x)))
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

// priced returns a cost as the price of the i-th server. One in another unit than those of the others cannot be compared with them, so it is
// unknown.
func (w *prepared) priced(all *prices, i int, c *scoring.Cost) price {
	x := price{value: c.Value, tie: c.Tie, version: w.marks[i].version, assumed: w.nodes[i].Assumed != ""}
	known := c.Err == nil && c.Known()
	if known && all.known == 0 {
		all.unit = c.Unit
	}
	switch {
	case known && c.Unit == all.unit:
	case errors.Is(c.Err, scoring.ErrOverCapacity):
		x.value = math.Inf(1)
	default:
		x.value = math.NaN()
		if x.reason = w.seats[i].reason; w.nodes[i].Err == nil {
			x.reason = reasonOf(c.Err) // the scorer's own
		}
	}
	return x
}
