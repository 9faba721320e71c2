package prior

import (
	"context"
	"fmt"

	"github.com/leastwatt/leastwatt/power"
)

// A Guess is a belief as a model: what a node has of which nothing was measured yet. It is immutable.
type Guess struct {
	belief Belief
	curve  *power.Piecewise
}

// Guess returns the belief as a model.
func (b Belief) Guess() (*Guess, error) {
	c, err := b.Curve()
	if err != nil {
		return nil, fmt.Errorf("prior: %w", err)
	}
	return &Guess{belief: b, curve: c}, nil
}

// Belief returns what the guess rests on.
func (g *Guess) Belief() Belief { return g.belief }

// Curve returns the medians of the watts over utilization.
func (g *Guess) Curve() *power.Piecewise { return g.curve }

// Predict implements [power.Predictor]: the median at the state's utilization, clamped to 0–1.
func (g *Guess) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	return g.curve.Predict(ctx, s)
}

// PredictBatch implements [power.BatchPredictor].
func (g *Guess) PredictBatch(ctx context.Context, states []power.State, out []power.Estimate) {
	g.curve.PredictBatch(ctx, states, out)
}

// PredictInterval implements [power.IntervalPredictor]: the watts between which the server's curve lies.
func (g *Guess) PredictInterval(_ context.Context, s power.State, level float64) (power.Interval, error) {
	if !(level > 0 && level < 1) {
		return power.Interval{}, fmt.Errorf("node %q: level %v is not between 0 and 1: %w", s.Node, level, power.ErrNoInterval)
	}
	if _, err := s.Value(power.InputUtilization); err != nil {
		return power.Interval{}, err
	}
	return g.belief.Interval(s.Utilization, level, 0), nil
}

// Inputs implements [power.InputLister].
func (g *Guess) Inputs() []power.Input { return []power.Input{power.InputUtilization} }

// Domain implements [power.Domained].
func (g *Guess) Domain() power.Domain { return power.Domain{power.InputUtilization: {Low: 0, High: 1}} }
