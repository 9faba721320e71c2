package scoring

import (
	"context"

	"github.com/leastwatt/leastwatt/power"
)

// MarginalPower scores a node by the watts that the demand adds to it now: the prediction with the demand
// minus the prediction without. It is exact for one step and blind to the next: where a curve is steep at
// low load, a server is never opened. [EnvelopePower] is better on every trace we measured.
type MarginalPower struct{}

// Score implements [Scorer].
func (m MarginalPower) Score(ctx context.Context, d Demand, nodes []Node) ([]Cost, error) {
	return m.AppendScore(ctx, make([]Cost, 0, len(nodes)), d, nodes)
}

// ScoresSeparately implements [SeparateScorer].
func (MarginalPower) ScoresSeparately() bool { return true }

// AppendScore implements [AppendScorer].
func (MarginalPower) AppendScore(ctx context.Context, costs []Cost, d Demand, nodes []Node) ([]Cost, error) {
	if err := d.Validate(); err != nil {
		return costs, err
	}
	first := len(costs)
	costs, slow := appendCosts(costs, &d, nodes, func(n *Node, c *power.Piecewise, after float64) float64 {
		if n.Off {
			return float64(c.At(after) - n.OffPower)
		}
		return float64(c.Rise(n.State.Utilization, after))
	})
	before, after := predictAll(ctx, slow, &d, nodes)
	for i, c := range slow {
		if n := &nodes[c.node]; n.Off {
			before[i] = power.Estimate{Watts: n.OffPower}
		}
		if c.Err = firstError(before[i].Err, after[i].Err); c.Err == nil {
			c.Value = float64(after[i].Watts - before[i].Watts)
		}
	}
	addGPUs(costs[first:], &d, nodes)
	return costs, ctx.Err()
}
