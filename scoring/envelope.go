package scoring

import (
	"context"

	"github.com/leastwatt/leastwatt/power"
)

// EnvelopePower scores a node by the watts that the demand adds along the lower convex envelope of the
// node's curve, which is what it adds to a large cluster that is filled well. Unlike the plain difference it
// is not deterred by a steep first step or drawn in by a flat middle. It is the default scorer.
type EnvelopePower struct {
	// SwitchOff says that servers without work are switched off or suspended. The envelope then starts
	// at the off power, which spreads the idle power over the load at which a server is most efficient.
	SwitchOff bool
}

// tabulation is how finely a model without a local curve is sampled for its envelope: every 5 %, half the
// step of SPECpower.
const tabulation = 20

// Score implements [Scorer].
func (e EnvelopePower) Score(ctx context.Context, d Demand, nodes []Node) ([]Cost, error) {
	return e.AppendScore(ctx, make([]Cost, 0, len(nodes)), d, nodes)
}

// ScoresSeparately implements [SeparateScorer].
func (EnvelopePower) ScoresSeparately() bool { return true }

// AppendScore implements [AppendScorer].
func (e EnvelopePower) AppendScore(ctx context.Context, costs []Cost, d Demand, nodes []Node) ([]Cost, error) {
	if err := d.Validate(); err != nil {
		return costs, err
	}
	first := len(costs)
	costs, slow := appendCosts(costs, &d, nodes, func(n *Node, c *power.Piecewise, after float64) float64 {
		return float64(e.of(c, n).Rise(n.State.Utilization, after))
	})
	for _, c := range slow {
		c.Value, c.Err = e.general(ctx, &d, &nodes[c.node], c.after)
	}
	addGPUs(costs[first:], &d, nodes)
	return costs, ctx.Err()
}

func (e EnvelopePower) of(c *power.Piecewise, n *Node) *power.Piecewise {
	if e.SwitchOff || n.Off {
		return c.EnvelopeFromOff(n.OffPower)
	}
	return c.Envelope()
}

// general scores a node whose model is not a local curve yet. What the demand adds to other inputs shifts
// the whole curve.
func (e EnvelopePower) general(ctx context.Context, d *Demand, n *Node, after float64) (float64, error) {
	curve, err := power.Tabulate(ctx, n.Predictor, n.State, tabulation)
	if err != nil {
		return 0, err
	}
	loaded := curve
	if len(d.Inputs) > 0 {
		if loaded, err = power.Tabulate(ctx, n.Predictor, n.add(d, after), tabulation); err != nil {
			return 0, err
		}
	}
	return float64(e.of(loaded, n).At(after) - e.of(curve, n).At(n.State.Utilization)), nil
}
