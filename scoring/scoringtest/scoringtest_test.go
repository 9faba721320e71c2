package scoringtest

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// scoreFunc is a scorer that cannot append.
type scoreFunc func(context.Context, scoring.Demand, []scoring.Node) ([]scoring.Cost, error)

func (f scoreFunc) Score(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	return f(ctx, d, nodes)
}

// forgetful is a scorer that appends to nothing.
type forgetful struct{ scoring.MarginalPower }

func (f forgetful) AppendScore(ctx context.Context, _ []scoring.Cost, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	return f.MarginalPower.AppendScore(ctx, nil, d, nodes)
}

// surplus is a scorer that tells of a node too many.
type surplus struct{ scoring.MarginalPower }

func (s surplus) Score(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	costs, err := s.MarginalPower.Score(ctx, d, nodes)
	if len(costs) > 1 {
		costs = append(costs, scoring.Cost{Node: "more", Err: power.ErrNoModel})
	}
	return costs, err
}

// spoil is a sound scorer, but for what a function makes of its costs.
func spoil(f func(d scoring.Demand, nodes []scoring.Node, costs []scoring.Cost)) scoring.Scorer {
	return scoreFunc(func(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
		costs, err := scoring.MarginalPower{}.Score(ctx, d, nodes)
		if err == nil {
			f(d, nodes, costs)
		}
		return costs, err
	})
}

// broken are scorers each of which breaks one law alone, by that law.
func broken() map[string]map[string]scoring.Scorer {
	sound := scoring.MarginalPower{}
	var mu sync.Mutex
	calls := 0.0
	return map[string]map[string]scoring.Scorer{
		"one cost a node, in order": {
			"swaps two nodes": spoil(func(_ scoring.Demand, _ []scoring.Node, costs []scoring.Cost) {
				if n := len(costs); n > 1 {
					costs[n-1], costs[n-2] = costs[n-2], costs[n-1]
				}
			}),
			"has one too many": surplus{},
			"refuses an empty cluster": scoreFunc(func(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
				if len(nodes) == 0 {
					return nil, errors.New("no nodes")
				}
				return sound.Score(ctx, d, nodes)
			}),
		},
		"unknown never wins": {
			"calls a dead sensor dear": spoil(func(_ scoring.Demand, _ []scoring.Node, costs []scoring.Cost) {
				for i := range costs {
					if costs[i].Node == "broken" {
						costs[i].Value, costs[i].Err = 1000, nil
					}
				}
			}),
			"gives up a server that is known": spoil(func(_ scoring.Demand, _ []scoring.Node, costs []scoring.Cost) {
				if len(costs) > 1 {
					costs[0].Err = power.ErrNoModel
				}
			}),
			"gives NaN and no reason": spoil(func(_ scoring.Demand, _ []scoring.Node, costs []scoring.Cost) {
				for i := range costs {
					if costs[i].Node == "failing" {
						costs[i].Value, costs[i].Err = math.NaN(), nil
					}
				}
			}),
		},
		"over capacity is said": {"overfills": spoil(func(_ scoring.Demand, _ []scoring.Node, costs []scoring.Cost) {
			for i := range costs {
				if errors.Is(costs[i].Err, scoring.ErrOverCapacity) {
					costs[i].Value, costs[i].Err = 1000, nil
				}
			}
		})},
		"nothing costs nothing": {"has a fee": spoil(func(_ scoring.Demand, _ []scoring.Node, costs []scoring.Cost) {
			for i := range costs {
				costs[i].Value++
			}
		})},
		"invalid demand is refused": {"takes any demand": scoreFunc(func(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
			if d.Validate() != nil {
				d = scoring.Demand{}
			}
			return sound.Score(ctx, d, nodes)
		})},
		"the cheap server wins": {"prefers the dear": spoil(func(_ scoring.Demand, _ []scoring.Node, costs []scoring.Cost) {
			for i := range costs {
				costs[i].Value = -costs[i].Value
			}
		})},
		"interface and curve agree": {"knows curves alone": spoil(func(_ scoring.Demand, nodes []scoring.Node, costs []scoring.Cost) {
			for i := range costs {
				if _, ok := nodes[i].Predictor.(*power.Piecewise); !ok {
					costs[i].Value++
				}
			}
		})},
		"concurrent use, nodes not changed": {
			"counts its calls": spoil(func(_ scoring.Demand, _ []scoring.Node, costs []scoring.Cost) {
				mu.Lock()
				defer mu.Unlock()
				calls++
				if len(costs) > 1 {
					costs[0].Value += 1e-6 * calls
				}
			}),
			"sets what it was given": scoreFunc(func(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
				mu.Lock() // the race detector is not to fail this test
				defer mu.Unlock()
				costs, err := sound.Score(ctx, d, nodes)
				if n := len(nodes); n > 1 {
					nodes[n-1].State.Utilization = 0.25
				}
				return costs, err
			}),
		},
		"ended context is an error": {"does not ask": scoreFunc(func(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
			return sound.Score(context.WithoutCancel(ctx), d, nodes)
		})},
		"append keeps what was there": {"forgets": forgetful{}},
	}
}

// Each law finds who breaks it, and nobody else.
func TestEachLaw(t *testing.T) {
	for _, s := range []scoring.Scorer{scoring.MarginalPower{}, scoring.EnvelopePower{}, scoring.EnvelopePower{SwitchOff: true}} {
		if err := Check(t.Context(), s); err != nil {
			t.Errorf("%T%+v keeps every law, yet: %v", s, s, err)
		}
	}
	table := broken()
	for name := range laws {
		if len(table[name]) == 0 {
			t.Errorf("%s: no scorer breaks it", name)
		}
	}
	for name, scorers := range table {
		for how, s := range scorers {
			err := Check(t.Context(), s)
			if err == nil {
				t.Errorf("a scorer that %s passes: want it to break %q", how, name)
				continue
			}
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				if !strings.HasPrefix(e.Error(), name+": ") {
					t.Errorf("a scorer that %s is said to break %v: want %q alone", how, e, name)
				}
			}
		}
	}
}
