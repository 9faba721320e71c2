package scoring

import (
	"context"
	"fmt"
	"time"
)

// Waking adds to another scorer's watts what it takes to start a server: its energy of waking, spread over the
// time that the demand is expected to run. It counts for servers that are off and, where SwitchOff says that
// those without work are switched off, for empty ones: placing work there keeps them from it.
type Waking struct {
	// Power scores in watts.
	Power Scorer

	// Horizon is how long work runs whose lifetime is not known; more than 0.
	Horizon time.Duration

	// SwitchOff says that servers without work are switched off or suspended.
	SwitchOff bool
}

// Score implements [Scorer].
func (w Waking) Score(ctx context.Context, d Demand, nodes []Node) ([]Cost, error) {
	return w.AppendScore(ctx, make([]Cost, 0, len(nodes)), d, nodes)
}

// AppendScore implements [AppendScorer].
func (w Waking) AppendScore(ctx context.Context, costs []Cost, d Demand, nodes []Node) ([]Cost, error) {
	if w.Horizon <= 0 {
		return costs, fmt.Errorf("waking: horizon is %v: want more than 0", w.Horizon)
	}
	first := len(costs)
	costs, err := AppendScore(ctx, w.Power, costs, d, nodes)
	if err != nil {
		return costs, err
	}
	horizon := w.Horizon
	if d.Lifetime > 0 {
		horizon = d.Lifetime
	}
	for i := range nodes {
		if n := &nodes[i]; n.Wake != 0 && (n.Off || w.SwitchOff && n.Empty) {
			costs[first+i].Value += float64(n.Wake) / horizon.Seconds()
		}
	}
	return costs, nil
}

// ScoresSeparately implements [SeparateScorer] where the scorer of watts does.
func (w Waking) ScoresSeparately() bool {
	s, ok := w.Power.(SeparateScorer)
	return ok && s.ScoresSeparately()
}
