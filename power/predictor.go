package power

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// A Predictor estimates the power that a server draws in a state.
//
// Predict is safe for concurrent use and returns when ctx is done. A result is finite and not negative,
// or the error is not nil. An input that the model needs and the state lacks is an error that wraps
// [ErrMissingInput]; a state outside the domain of a model that does not clamp is one that wraps
// [ErrDomain]. Predict does not keep the state's map or pointers.
type Predictor interface {
	Predict(ctx context.Context, s State) (Watts, error)
}

// ErrMissingInput says that a state lacks an input that the model needs.
var ErrMissingInput = errors.New("missing input")

// ErrDomain says that a state lies outside the domain on which a model is valid.
var ErrDomain = errors.New("outside the model's domain")

// ErrNoModel says that no model is known for a node.
var ErrNoModel = errors.New("no model")

// ErrBadModel says that a node has a model that cannot be used: its file is wrong, or it cannot be had.
var ErrBadModel = errors.New("bad model")

// ErrNotFinite says that a prediction came out as NaN, infinite or negative.
var ErrNotFinite = errors.New("prediction is not a finite, non-negative number of watts")

// An Estimate is one answer of PredictAll. Watts means nothing when Err is not nil.
type Estimate struct {
	Watts Watts
	Err   error
}

// A BatchPredictor answers many states in one call. It fills out[i] for states[i], each with its own
// error, and promises the same of each answer as [Predictor]. len(out) equals len(states).
type BatchPredictor interface {
	Predictor
	PredictBatch(ctx context.Context, states []State, out []Estimate)
}

// PredictAll answers every state, in one call where the model can. Each state has its own error; a nil
// predictor is [ErrNoModel] for all. It panics if the slices differ in length, which is a mistake of the
// program and not of its input.
func PredictAll(ctx context.Context, p Predictor, states []State, out []Estimate) {
	if len(states) != len(out) {
		panic(fmt.Sprintf("power.PredictAll: %d states but room for %d estimates", len(states), len(out)))
	}
	switch p := p.(type) {
	case nil:
		for i := range out {
			out[i] = Estimate{Err: fmt.Errorf("node %q: %w", states[i].Node, ErrNoModel)}
		}
	case BatchPredictor:
		p.PredictBatch(ctx, states, out)
	default:
		for i := range states {
			w, err := p.Predict(ctx, states[i])
			out[i] = Estimate{Watts: w, Err: err}
		}
	}
}

// Check returns w, or an error that wraps [ErrNotFinite]. Models that compute with foreign parameters
// end in it, so that no NaN leaves this package.
func Check(w float64) (Watts, error) {
	if w >= 0 && w <= math.MaxFloat64 {
		return Watts(w), nil
	}
	return 0, fmt.Errorf("%w: %v", ErrNotFinite, w)
}

// check is [Check] with the name of the node.
func check(s *State, w float64) (Watts, error) {
	if w >= 0 && w <= math.MaxFloat64 {
		return Watts(w), nil
	}
	return 0, fmt.Errorf("node %q: %w: %v", s.Node, ErrNotFinite, w)
}
