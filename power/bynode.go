package power

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// ByNode asks each server's own model. It is immutable: to change a model, make a new one and swap it.
type ByNode struct {
	models   map[string]Predictor
	fallback Predictor
}

// NewByNode returns a predictor that answers a state with the model of its node, and where there is none
// with fallback, which may be nil: then such a state ends in [ErrNoModel]. The map is copied. Nodes may share
// a model; a batch then asks it once for all of them.
func NewByNode(models map[string]Predictor, fallback Predictor) *ByNode {
	return &ByNode{models: maps.Clone(models), fallback: fallback}
}

// Model returns the model that answers for a node, or nil.
func (b *ByNode) Model(node string) Predictor {
	if p := b.models[node]; p != nil {
		return p
	}
	return b.fallback
}

// Nodes returns the names of the nodes that have a model of their own, sorted.
func (b *ByNode) Nodes() []string { return slices.Sorted(maps.Keys(b.models)) }

// Predict implements [Predictor].
func (b *ByNode) Predict(ctx context.Context, s State) (Watts, error) {
	if p := b.Model(s.Node); p != nil {
		return p.Predict(ctx, s)
	}
	return 0, noModel(&s)
}

// PredictBatch implements [BatchPredictor]: every model that can answer a batch is asked once, for all
// states of its nodes.
func (b *ByNode) PredictBatch(ctx context.Context, states []State, out []Estimate) {
	var groups map[BatchPredictor][]int
	for i := range states {
		s := &states[i]
		switch p := b.Model(s.Node).(type) {
		case nil:
			out[i] = Estimate{Err: noModel(s)}
		case *Piecewise:
			w, err := p.Predict(ctx, *s)
			out[i] = Estimate{Watts: w, Err: err}
		case BatchPredictor:
			if !reflect.ValueOf(p).Comparable() {
				p.PredictBatch(ctx, states[i:i+1], out[i:i+1])
				continue
			}
			if groups == nil {
				groups = make(map[BatchPredictor][]int)
			}
			groups[p] = append(groups[p], i)
		default:
			w, err := p.Predict(ctx, *s)
			out[i] = Estimate{Watts: w, Err: err}
		}
	}
	for p, members := range groups {
		in, es := make([]State, len(members)), make([]Estimate, len(members))
		for k, i := range members {
			in[k] = states[i]
		}
		p.PredictBatch(ctx, in, es)
		for k, i := range members {
			out[i] = es[k]
		}
	}
}

// PredictInterval implements [IntervalPredictor] for the nodes whose model does.
func (b *ByNode) PredictInterval(ctx context.Context, s State, level float64) (Interval, error) {
	if p := b.Model(s.Node); p != nil {
		return PredictInterval(ctx, p, s, level)
	}
	return Interval{}, noModel(&s)
}

func noModel(s *State) error { return fmt.Errorf("node %q: %w", s.Node, ErrNoModel) }
