// Package scoringtest checks that a Scorer keeps the promises of package scoring. Run it in a test of every
// scorer of your own.
package scoringtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// TestScorer runs the suite against a scorer of watts: one cost a node in order; unknown never wins; a
// node over capacity is an error; a demand of nothing costs nothing; an invalid demand is refused; a cheap
// server beats a dear one; a model behind its interface costs what its curve does; concurrent use is safe;
// the nodes stay as they were.
func TestScorer(t *testing.T, s scoring.Scorer) {
	t.Helper()
	for name, law := range laws {
		t.Run(name, func(t *testing.T) {
			if err := law(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
}

// Check runs the laws of the suite without a test and returns what was broken, joined; nil if nothing
// was.
func Check(ctx context.Context, s scoring.Scorer) error {
	var errs []error
	for name, law := range laws {
		if err := law(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

var laws = map[string]func(context.Context, scoring.Scorer) error{
	"one cost a node, in order":         inOrder,
	"unknown never wins":                unknownLoses,
	"over capacity is said":             overCapacity,
	"nothing costs nothing":             nothingIsFree,
	"invalid demand is refused":         invalidDemand,
	"the cheap server wins":             cheapWins,
	"interface and curve agree":         interfaceAgrees,
	"concurrent use, nodes not changed": concurrent,
	"ended context is an error":         endedContext,
	"append keeps what was there":       appendKeeps,
}

// nodes returns a dear and a cheap server, both half busy, and three of which too little is known.
func nodes() []scoring.Node {
	node := func(name string, p power.Predictor) scoring.Node {
		return scoring.Node{Name: name, Capacity: power.Capacity{Cores: 10}, State: power.State{Node: name, Utilization: 0.5}, Predictor: p}
	}
	broken := node("broken", hidden{line(100, 200)})
	broken.Err = errors.New("sensor is gone")
	nan := node("nan", line(1, 2))
	nan.State.Utilization = math.NaN()
	return []scoring.Node{node("dear", line(100, 300)), broken, node("no-model", nil), node("cheap", line(100, 150)), nan,
		node("failing", failing{})}
}

func line(idle, peak power.Watts) *power.Piecewise {
	p, err := power.EvenPiecewise(idle, peak)
	if err != nil {
		panic(err) // constants of this file
	}
	return p
}

// hidden is a curve that can only be asked through the interface.
type hidden struct{ p power.Predictor }

func (h hidden) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	return h.p.Predict(ctx, s)
}

type failing struct{}

func (failing) Predict(context.Context, power.State) (power.Watts, error) {
	return 0, power.ErrMissingInput
}

var one = scoring.Demand{CPU: 1}

func inOrder(ctx context.Context, s scoring.Scorer) error {
	ns := nodes()
	costs, err := s.Score(ctx, one, ns)
	if err != nil {
		return err
	}
	if len(costs) != len(ns) {
		return fmt.Errorf("%d costs for %d nodes", len(costs), len(ns))
	}
	for i := range ns {
		if costs[i].Node != ns[i].Name {
			return fmt.Errorf("cost %d is of node %q, want %q", i, costs[i].Node, ns[i].Name)
		}
	}
	if costs, err = s.Score(ctx, one, nil); err != nil || len(costs) != 0 {
		return fmt.Errorf("no nodes gave %d costs and error %v", len(costs), err)
	}
	return nil
}

func unknownLoses(ctx context.Context, s scoring.Scorer) error {
	costs, err := s.Score(ctx, one, nodes())
	if err != nil {
		return err
	}
	for rank, i := range scoring.Rank(costs) {
		c := costs[i]
		known := c.Node == "dear" || c.Node == "cheap"
		if known != (rank < 2) || known != c.Known() {
			return fmt.Errorf("node %q: rank %d, known %v, error %v", c.Node, rank+1, c.Known(), c.Err)
		}
		if !known && c.Err == nil {
			return fmt.Errorf("node %q: unknown, but no error says why", c.Node)
		}
	}
	return nil
}

func overCapacity(ctx context.Context, s scoring.Scorer) error {
	costs, err := s.Score(ctx, scoring.Demand{CPU: 6}, nodes()[:1])
	if err != nil {
		return err
	}
	if !errors.Is(costs[0].Err, scoring.ErrOverCapacity) {
		return fmt.Errorf("6 cores on 5 free ones: error is %v, want ErrOverCapacity", costs[0].Err)
	}
	return nil
}

func nothingIsFree(ctx context.Context, s scoring.Scorer) error {
	costs, err := s.Score(ctx, scoring.Demand{}, nodes()[:1])
	if err != nil {
		return err
	}
	if costs[0].Err != nil || math.Abs(costs[0].Value) > 1e-9 {
		return fmt.Errorf("a demand of nothing costs %v, error %v", costs[0].Value, costs[0].Err)
	}
	return nil
}

func invalidDemand(ctx context.Context, s scoring.Scorer) error {
	for _, cpu := range []float64{-1, math.NaN(), math.Inf(1)} {
		if _, err := s.Score(ctx, scoring.Demand{CPU: cpu}, nodes()); err == nil {
			return fmt.Errorf("a demand of %v cores was accepted", cpu)
		}
	}
	return nil
}

func cheapWins(ctx context.Context, s scoring.Scorer) error {
	costs, err := s.Score(ctx, one, nodes())
	if err != nil {
		return err
	}
	best := scoring.Best(costs)
	if best < 0 || costs[best].Node != "cheap" {
		return fmt.Errorf("index %d is best: want the server that adds 5 W, not the one that adds 20 W", best)
	}
	return nil
}

func interfaceAgrees(ctx context.Context, s scoring.Scorer) error {
	fast := nodes()[:1]
	slow := slices.Clone(fast)
	slow[0].Predictor = hidden{slow[0].Predictor}
	a, err := s.Score(ctx, one, fast)
	if err != nil {
		return err
	}
	b, err := s.Score(ctx, one, slow)
	if err != nil {
		return err
	}
	if a[0].Err != nil || b[0].Err != nil || math.Abs(a[0].Value-b[0].Value) > 1e-9 {
		return fmt.Errorf("curve costs %v (%v), the same behind the interface %v (%v)", a[0].Value, a[0].Err, b[0].Value, b[0].Err)
	}
	return nil
}

func concurrent(ctx context.Context, s scoring.Scorer) error {
	ns := nodes()
	want, err := s.Score(ctx, one, ns)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			got, err := s.Score(ctx, one, ns)
			if err != nil || len(got) != len(want) || got[0].Value != want[0].Value {
				errs[i] = fmt.Errorf("concurrent call differs: %v, error %v", got, err)
			}
		})
	}
	wg.Wait()
	for i, n := range nodes() {
		if ns[i].Name != n.Name || ns[i].State.Utilization != n.State.Utilization && n.State.Utilization == n.State.Utilization {
			errs = append(errs, fmt.Errorf("node %d was changed", i))
		}
	}
	return errors.Join(errs...)
}

func endedContext(ctx context.Context, s scoring.Scorer) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Score(ctx, one, nodes()); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("error is %v, want context.Canceled", err)
	}
	return nil
}

func appendKeeps(ctx context.Context, s scoring.Scorer) error {
	first := scoring.Cost{Node: "first", Value: 42}
	costs, err := scoring.AppendScore(ctx, s, []scoring.Cost{first}, one, nodes())
	if err != nil {
		return err
	}
	if len(costs) != 7 || costs[0] != first || costs[1].Node != "dear" {
		return fmt.Errorf("appending to one cost gave %d, first %+v", len(costs), costs[0])
	}
	return nil
}
