package power

import (
	"context"
	"fmt"
)

// A Tabulator is a [Predictor] that knows its own power curve in a state, or gets it from a model that it wraps:
// better and sooner than by asking for one point after another. Curve returns the watts over utilization with
// everything else in s held; what s says about utilization does not matter. Each knot is what Predict would
// answer there. Points is how many steps to take where the curve has to be sampled.
type Tabulator interface {
	Predictor
	Curve(ctx context.Context, s State, points int) (*Piecewise, error)
}

// Tabulate returns the power curve of p in s, everything but utilization held: its own where p is a
// [Tabulator] or a [Piecewise], else straight lines through the watts at points+1 evenly spaced utilizations,
// asked for in one batch. Background loops use it to turn a model that is slow or remote into one that a
// decision can ask. The first failed point is the error.
func Tabulate(ctx context.Context, p Predictor, s State, points int) (*Piecewise, error) {
	if points < 1 || points >= MaxKnots {
		return nil, fmt.Errorf("node %q: cannot tabulate at %d points: want 1 to %d", s.Node, points, MaxKnots-1)
	}
	switch p := p.(type) {
	case *Piecewise:
		return p, nil
	case Tabulator:
		return p.Curve(ctx, s, points)
	}
	return sample(ctx, p, s, points)
}

// sample is Tabulate by asking.
func sample(ctx context.Context, p Predictor, s State, points int) (*Piecewise, error) {
	states, out := make([]State, points+1), make([]Estimate, points+1)
	for i := range states {
		states[i] = s.With(float64(i) / float64(points))
	}
	PredictAll(ctx, p, states, out)
	knots := make([]Knot, points+1)
	for i, e := range out {
		if e.Err != nil {
			return nil, fmt.Errorf("tabulate at utilization %v: %w", states[i].Utilization, e.Err)
		}
		knots[i] = Knot{Utilization: states[i].Utilization, Watts: e.Watts}
	}
	return NewPiecewise(knots)
}

// mappedCurve is the curve of a wrapped model with a function over its watts, which must not depend on
// utilization otherwise.
func mappedCurve(ctx context.Context, base Predictor, s State, points int, f func(w float64) float64) (*Piecewise, error) {
	c, err := Tabulate(ctx, base, s, points)
	if err != nil {
		return nil, err
	}
	knots := c.Knots()
	for i := range knots {
		if knots[i].Watts, err = check(&s, f(float64(knots[i].Watts))); err != nil {
			return nil, err
		}
	}
	return NewPiecewise(knots)
}

// Curve implements [Tabulator]: the base's curve at the state's inlet temperature.
func (m *Inlet) Curve(ctx context.Context, s State, points int) (*Piecewise, error) {
	scale, offset, err := m.factors(&s)
	if err != nil {
		return nil, err
	}
	return mappedCurve(ctx, m.base, s, points, func(w float64) float64 { return w*scale + offset })
}

// Curve implements [Tabulator]: the base's curve and the term's watts. A term of utilization is sampled.
func (m *Additive) Curve(ctx context.Context, s State, points int) (*Piecewise, error) {
	if m.term.input() == InputUtilization {
		return sample(ctx, m, s, points)
	}
	x, err := m.extra(&s)
	if err != nil {
		return nil, err
	}
	return mappedCurve(ctx, m.base, s, points, func(w float64) float64 { return w + x })
}

// Curve implements [Tabulator]: the base's curve.
func (b *Banded) Curve(ctx context.Context, s State, points int) (*Piecewise, error) {
	return Tabulate(ctx, b.base, s, points)
}

// Curve implements [Tabulator]: the base's curve where the domain leaves utilization free, else samples.
func (b *Bounded) Curve(ctx context.Context, s State, points int) (*Piecewise, error) {
	for _, r := range b.bounds {
		if r.in == InputUtilization && (r.Low > 0 || r.High < 1) {
			return sample(ctx, b, s, points)
		}
	}
	s = s.With(0)
	if b.outside == Reject {
		if err := checkBounds(b.bounds, &s); err != nil {
			return nil, err
		}
		return Tabulate(ctx, b.base, s, points)
	}
	return Tabulate(ctx, b.base, clamp(b.bounds, s), points)
}

// Curve implements [Tabulator]: that of the node's model.
func (b *ByNode) Curve(ctx context.Context, s State, points int) (*Piecewise, error) {
	if p := b.Model(s.Node); p != nil {
		return Tabulate(ctx, p, s, points)
	}
	return nil, noModel(&s)
}
