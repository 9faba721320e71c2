package power

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrNoInterval says that a model cannot give an interval at the level asked for.
var ErrNoInterval = errors.New("no prediction interval")

// An Interval is meant to hold the true watts with some probability. 0 ≤ Low ≤ High.
type Interval struct{ Low, High Watts }

// An IntervalPredictor is a [Predictor] that knows how far it may be off. Level is the probability, over 0
// and under 1, with which the interval is to hold the true watts; the interval at a higher level holds the
// one at a lower level. A level that the model does not know is an error that wraps [ErrNoInterval].
type IntervalPredictor interface {
	Predictor
	PredictInterval(ctx context.Context, s State, level float64) (Interval, error)
}

// PredictInterval returns the interval of p at a level, or an error that wraps [ErrNoInterval] if p cannot
// tell.
func PredictInterval(ctx context.Context, p Predictor, s State, level float64) (Interval, error) {
	if ip, ok := p.(IntervalPredictor); ok {
		return ip.PredictInterval(ctx, s, level)
	}
	return Interval{}, fmt.Errorf("node %q: %w", s.Node, ErrNoInterval)
}

// A Band says how far the truth lies from a prediction of w watts: with probability Level between
// w − Below − BelowShare·w and w + Above + AboveShare·w. A fixed part suits errors of a sensor, a share those
// of a scale; either may be 0.
type Band struct {
	Level                  float64 // over 0 and under 1
	Below, Above           Watts   // not negative
	BelowShare, AboveShare float64 // not negative
}

// Validate returns an error that names the field that makes no sense.
func (b Band) Validate() error {
	if !(b.Level > 0 && b.Level < 1) {
		return fmt.Errorf("interval level %v is not between 0 and 1", b.Level)
	}
	for _, f := range []struct {
		name  string
		value float64
	}{{"below", float64(b.Below)}, {"above", float64(b.Above)}, {"belowShare", b.BelowShare}, {"aboveShare", b.AboveShare}} {
		if !(f.value >= 0 && f.value <= math.MaxFloat64) {
			return fmt.Errorf("interval at level %v: %s is %v: want a finite number, not negative", b.Level, f.name, f.value)
		}
	}
	return nil
}

func (b Band) around(w Watts) Interval {
	return Interval{
		Low:  max(w-b.Below-Watts(b.BelowShare)*w, 0),
		High: min(w+b.Above+Watts(b.AboveShare)*w, math.MaxFloat64),
	}
}

// Banded is a model with intervals of its own, usually measured on held-out readings.
type Banded struct {
	base  Predictor
	bands []Band // by level
}

// NewBanded returns base with intervals. Each level may come once, and a higher level must not be narrower
// than a lower one. The bands are copied.
func NewBanded(base Predictor, bands []Band) (*Banded, error) {
	if base == nil {
		return nil, fmt.Errorf("banded model: %w", ErrNoModel)
	}
	b := slices.Clone(bands)
	slices.SortFunc(b, func(x, y Band) int {
		if x.Level < y.Level {
			return -1
		}
		return 1
	})
	for i := range b {
		if err := b[i].Validate(); err != nil {
			return nil, err
		}
		if i == 0 {
			continue
		}
		l, h := b[i-1], b[i]
		if l.Level == h.Level {
			return nil, fmt.Errorf("interval level %v is given twice", l.Level)
		}
		if l.Below > h.Below || l.Above > h.Above || l.BelowShare > h.BelowShare || l.AboveShare > h.AboveShare {
			return nil, fmt.Errorf("interval at level %v is narrower than that at %v", h.Level, l.Level)
		}
	}
	return &Banded{base: base, bands: b}, nil
}

// Predict implements [Predictor].
func (b *Banded) Predict(ctx context.Context, s State) (Watts, error) { return b.base.Predict(ctx, s) }

// PredictBatch implements [BatchPredictor].
func (b *Banded) PredictBatch(ctx context.Context, states []State, out []Estimate) {
	PredictAll(ctx, b.base, states, out)
}

// PredictInterval implements [IntervalPredictor]. A level between two known ones gets the wider, so that
// the interval holds at least what was asked for.
func (b *Banded) PredictInterval(ctx context.Context, s State, level float64) (Interval, error) {
	for _, band := range b.bands {
		if band.Level >= level && level > 0 {
			w, err := b.base.Predict(ctx, s)
			if err != nil {
				return Interval{}, err
			}
			return band.around(w), nil
		}
	}
	return Interval{}, fmt.Errorf("node %q: level %v is not known: %w", s.Node, level, ErrNoInterval)
}

// Bands returns a copy of the intervals, by level.
func (b *Banded) Bands() []Band { return slices.Clone(b.bands) }

// Base returns the model that predicts the watts.
func (b *Banded) Base() Predictor { return b.base }

// Inputs implements [InputLister].
func (b *Banded) Inputs() []Input { return with(b.base) }

// Domain implements [Domained]: that of the base.
func (b *Banded) Domain() Domain { d, _ := DomainOf(b.base); return d }
