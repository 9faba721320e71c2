package scoring

import (
	"context"
	"fmt"
	"math"
)

// A Tariff is what electricity costs at one place and time.
type Tariff struct {
	// Intensity is in gCO2eq per kWh; average or marginal, direct or life-cycle, but the same for all
	// places that are compared.
	Intensity float64

	// Price is in money per kWh and may be negative.
	Price float64

	// PUE is the power usage effectiveness of the building: its power over that of its servers, at least
	// 1; 0 means 1.
	PUE float64

	// Factor multiplies whatever else: transmission losses, a policy; 0 means 1.
	Factor float64

	// Err says why the tariff is not known at all; IntensityErr and PriceErr why a part of it is not.
	Err, IntensityErr, PriceErr error

	// Source names where the intensity and the price are from, for explanations.
	Source string
}

// kWh returns the kilowatt-hours that the meter counts for one watt of server in an hour.
func (t Tariff) kWh() float64 {
	f := 0.001
	if t.PUE > 0 {
		f *= t.PUE
	}
	if t.Factor > 0 {
		f *= t.Factor
	}
	return f
}

func (t Tariff) validate(node string) error {
	switch {
	case t.Err != nil:
		return fmt.Errorf("node %q: tariff: %w", node, t.Err)
	case !finite(t.Intensity):
		return fmt.Errorf("node %q: tariff: intensity is %v gCO2eq/kWh: want a finite number, 0 or more", node, t.Intensity)
	case math.IsNaN(t.Price) || math.IsInf(t.Price, 0):
		return fmt.Errorf("node %q: tariff: price is %v per kWh: want a finite number", node, t.Price)
	case t.PUE != 0 && !(t.PUE >= 1 && t.PUE <= 100):
		return fmt.Errorf("node %q: tariff: PUE is %v: want 1 or more", node, t.PUE)
	case t.Factor != 0 && !finite(t.Factor):
		return fmt.Errorf("node %q: tariff: factor is %v: want a finite number above 0", node, t.Factor)
	}
	return nil
}

// Objective scores in grams of CO2 equivalent or in money what another scorer scores in watts. Watts, grams and
// money meet in one unit, money per hour, through a price of energy and a price of carbon.
//
// A node whose tariff is not known ranks below all whose tariff is. If none is known of those that are asked about and whose
// watts are known, the costs stay watts: grams that nobody knows decide nothing, and energy still does. Who asks about
// some of the nodes at a time asks the scorer that Among returns.
type Objective struct {
	// Power scores in watts.
	Power Scorer

	// Unit is [GramsPerHour] or [MoneyPerHour]; [Watts] weighs nodes by PUE and Factor alone.
	Unit Unit

	// CarbonPrice is in money per tonne of CO2 equivalent and counts in MoneyPerHour.
	CarbonPrice float64

	// Tariff tells what a node's electricity costs now, from memory. It is safe for concurrent use. Nil asks
	// the node's meter.
	Tariff func(node *Node) Tariff

	sure bool // the costs are in Unit, whatever is known
}

// Settled returns the objective for those who know that some tariff is known: the costs are in its unit, whatever it is asked about.
func (o Objective) Settled() Objective {
	o.sure = true
	return o
}

// ScoresSeparately implements [SeparateScorer] for what Settled returned, and Among where some tariff is known, if the scorer of watts does. The unit of
// another one's costs depends on all nodes that it is asked about.
func (o Objective) ScoresSeparately() bool {
	s, ok := o.Power.(SeparateScorer)
	return o.sure && ok && s.ScoresSeparately()
}

// Among implements [AmongScorer].
func (o Objective) Among(nodes []Node) Scorer {
	for i := range nodes {
		if n := &nodes[i]; o.sure || n.Err == nil && o.tells(n) {
			return o.Settled()
		}
	}
	return o.Power
}

// Score implements [Scorer].
func (o Objective) Score(ctx context.Context, d Demand, nodes []Node) ([]Cost, error) {
	return o.AppendScore(ctx, make([]Cost, 0, len(nodes)), d, nodes)
}

// AppendScore implements [AppendScorer].
func (o Objective) AppendScore(ctx context.Context, costs []Cost, d Demand, nodes []Node) ([]Cost, error) {
	if math.IsNaN(o.CarbonPrice) || math.IsInf(o.CarbonPrice, 0) {
		return costs, fmt.Errorf("objective: carbon price is %v per tonne: want a finite number", o.CarbonPrice)
	}
	first := len(costs)
	costs, err := AppendScore(ctx, o.Power, costs, d, nodes)
	if err != nil || !o.sure && !o.anyKnown(nodes, costs[first:]) {
		return costs, err
	}
	var seen rates
	for i := range nodes {
		c := &costs[first+i]
		c.Unit = o.Unit
		if c.Err != nil {
			continue
		}
		rate, err := seen.of(&o, &nodes[i])
		if c.Err = err; err == nil {
			c.Value *= rate
		}
	}
	return costs, nil
}

// rates remembers what a watt costs at the meters that were looked at last: machines of one place share one, and a
// tariff is large to copy and to check for each of thousands.
type rates struct {
	last [16]struct {
		meter *Meter
		rate  float64
	}
	next int
}

// of returns what a watt of a node costs in the objective's unit, or why that is not known.
func (r *rates) of(o *Objective, n *Node) (float64, error) {
	own := o.Tariff == nil && n.Meter != nil
	if own {
		for i := range r.last {
			if r.last[i].meter == n.Meter {
				return r.last[i].rate, nil
			}
		}
	}
	t := o.tariff(n)
	if err := o.lacks(&t, n.Name); err != nil {
		return 0, err
	}
	rate := o.rate(t)
	if own {
		x := &r.last[r.next]
		x.meter, x.rate = n.Meter, rate
		r.next = (r.next + 1) % len(r.last)
	}
	return rate, nil
}

func (o *Objective) tariff(n *Node) Tariff {
	if o.Tariff == nil {
		return n.Meter.Tariff()
	}
	return o.Tariff(n)
}

// anyKnown tells whether the tariff is known of any node whose watts are.
func (o *Objective) anyKnown(nodes []Node, costs []Cost) bool {
	for i := range nodes {
		if costs[i].Err == nil && o.tells(&nodes[i]) {
			return true
		}
	}
	return false
}

// tells reports whether the tariff of a node is known.
func (o *Objective) tells(n *Node) bool {
	t := o.tariff(n)
	return o.lacks(&t, n.Name) == nil
}

// lacks returns why the tariff does not tell what the objective needs, or nil.
func (o *Objective) lacks(t *Tariff, node string) error {
	if err := t.validate(node); err != nil {
		return err
	}
	switch carbon := o.Unit == GramsPerHour || o.Unit == MoneyPerHour && o.CarbonPrice != 0; {
	case carbon && t.IntensityErr != nil:
		return fmt.Errorf("node %q: carbon intensity: %w", node, t.IntensityErr)
	case o.Unit == MoneyPerHour && t.PriceErr != nil:
		return fmt.Errorf("node %q: price: %w", node, t.PriceErr)
	}
	return nil
}

// PerWatt returns what one watt of a node costs in the objective's unit, for those who divide power themselves:
// package balancing's Optimal takes it as it is. The error says why the node's tariff is not known.
func (o Objective) PerWatt(n *Node) (float64, error) {
	t := o.tariff(n)
	if err := o.lacks(&t, n.Name); err != nil {
		return 0, err
	}
	return o.rate(t), nil
}

// rate returns the objective's unit per watt of server.
func (o Objective) rate(t Tariff) float64 {
	const gramsPerTonne = 1e6
	switch o.Unit {
	case GramsPerHour:
		return t.kWh() * t.Intensity
	case MoneyPerHour:
		return t.kWh() * (t.Price + o.CarbonPrice*t.Intensity/gramsPerTonne)
	}
	return 1000 * t.kWh()
}
