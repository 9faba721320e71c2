package power

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"
)

// ByNode asks each server's own model. It is immutable: to change a model, make a new one and swap it.
type ByNode struct {
	models   map[string]Predictor
	fallback Predictor

	// order is the nodes of the last large batch with their models: whoever asks for thousands of servers asks
	// for the same ones again, mostly in the same order, and then no name need be looked up.
	order atomic.Pointer[[]resolved]
}

// resolved is a node and what answers for it.
type resolved struct {
	node  string
	curve *Piecewise // nil where the model is of another type
	model Predictor
}

// Batches of fewer states are not worth remembering; those of more would hold too much.
const minOrder, maxOrder = 64, 1 << 20

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
	order := b.resolve(states)
	for i := range states {
		s := &states[i]
		var p Predictor
		if order != nil {
			r := &order[i]
			if r.curve != nil && s.Utilization == s.Utilization {
				out[i] = Estimate{Watts: r.curve.At(s.Utilization)}
				continue
			}
			p = r.model
		} else {
			p = b.Model(s.Node)
		}
		switch p := p.(type) {
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

// resolve returns what answers for each state; nil for a batch that is not worth it.
func (b *ByNode) resolve(states []State) []resolved {
	if len(states) < minOrder || len(states) > maxOrder {
		return nil
	}
	if last := b.order.Load(); last != nil && len(*last) == len(states) && same(*last, states) {
		return *last
	}
	order := make([]resolved, len(states))
	for i := range states {
		r := &order[i]
		r.node, r.model = states[i].Node, b.Model(states[i].Node)
		r.curve, _ = r.model.(*Piecewise)
	}
	b.order.Store(&order)
	return order
}

func same(order []resolved, states []State) bool {
	for i := range order {
		if order[i].node != states[i].Node { // mostly one string, which compares by its address
			return false
		}
	}
	return true
}

// PredictInterval implements [IntervalPredictor] for the nodes whose model does.
func (b *ByNode) PredictInterval(ctx context.Context, s State, level float64) (Interval, error) {
	if p := b.Model(s.Node); p != nil {
		return PredictInterval(ctx, p, s, level)
	}
	return Interval{}, noModel(&s)
}

func noModel(s *State) error { return fmt.Errorf("node %q: %w", s.Node, ErrNoModel) }
