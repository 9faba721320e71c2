package power

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// A Range is the values from Low to High, both included.
type Range struct{ Low, High float64 }

// A Domain is the part of the input space in which a model was fitted, as a range of each input that
// matters. An input without a range is free.
type Domain map[Input]Range

// Validate returns an error that names the input whose range is empty or not a number. An end may be
// infinite, which leaves that side open.
func (d Domain) Validate() error {
	for _, b := range d.bounds() {
		if math.IsNaN(b.Low) || math.IsNaN(b.High) || b.Low > b.High {
			return fmt.Errorf("domain of %q: no number lies within %v and %v", b.in, b.Low, b.High)
		}
	}
	return nil
}

// Check returns an error that wraps [ErrDomain] if a measured input of s lies outside d. An input that s
// lacks is not judged.
func (d Domain) Check(s State) error { return checkBounds(d.bounds(), &s) }

type bound struct {
	in Input
	Range
}

// bounds returns the ranges ordered by input.
func (d Domain) bounds() []bound {
	b := make([]bound, 0, len(d))
	for in, r := range d {
		b = append(b, bound{in, r})
	}
	slices.SortFunc(b, func(x, y bound) int { return strings.Compare(string(x.in), string(y.in)) })
	return b
}

func checkBounds(bounds []bound, s *State) error {
	for _, b := range bounds {
		if v, ok := s.lookup(b.in); ok && (v < b.Low || v > b.High) {
			return fmt.Errorf("node %q: input %q is %v, outside %v to %v: %w", s.Node, b.in, v, b.Low, b.High, ErrDomain)
		}
	}
	return nil
}

// clamp returns s with every measured input moved to the nearest end of its range. What the caller's
// pointers and map hold is left alone.
func clamp(bounds []bound, s State) State {
	copied := false
	for _, b := range bounds {
		v, ok := s.lookup(b.in)
		if !ok || v >= b.Low && v <= b.High || v != v {
			continue
		}
		v = min(max(v, b.Low), b.High)
		switch b.in {
		case InputUtilization:
			s.Utilization = v
		case InputInletTemp:
			s.InletTemp = new(Celsius(v))
		case InputPressureDelta:
			s.PressureDelta = new(Pascals(v))
		default:
			if !copied {
				s.Inputs, copied = maps.Clone(s.Inputs), true
			}
			s.Inputs[string(b.in)] = v
		}
	}
	return s
}

// unit is the domain of a model of utilization alone.
func unit() Domain { return Domain{InputUtilization: {0, 1}} }

// A Domained is a [Predictor] that knows where it is valid.
type Domained interface {
	Predictor
	Domain() Domain
}

// DomainOf returns the domain of p, which the caller may keep, and whether p knows one.
func DomainOf(p Predictor) (Domain, bool) {
	if d, ok := p.(Domained); ok {
		return d.Domain(), true
	}
	return nil, false
}

// Outside says what a model does with a state outside its domain.
type Outside int

const (
	// Clamp answers with the watts at the nearest point of the domain.
	Clamp Outside = iota

	// Reject answers with an error that wraps [ErrDomain]. A model that rejects some utilizations has no
	// whole curve: [Tabulate] fails, and to scorers its server is unknown.
	Reject
)

// Bounded is a model that is only asked within a domain.
type Bounded struct {
	base    Predictor
	bounds  []bound
	outside Outside
}

// NewBounded returns base restricted to a domain, and what to do outside it. The domain is copied; it may
// be narrower than the one base knows, and replaces it.
func NewBounded(base Predictor, d Domain, outside Outside) (*Bounded, error) {
	if base == nil {
		return nil, fmt.Errorf("bounded model: %w", ErrNoModel)
	}
	if outside != Clamp && outside != Reject {
		return nil, fmt.Errorf("bounded model: Outside is %d: want Clamp or Reject", outside)
	}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	return &Bounded{base: base, bounds: d.bounds(), outside: outside}, nil
}

// Predict implements [Predictor].
func (b *Bounded) Predict(ctx context.Context, s State) (Watts, error) {
	if b.outside == Reject {
		if err := checkBounds(b.bounds, &s); err != nil {
			return 0, err
		}
		return b.base.Predict(ctx, s)
	}
	return b.base.Predict(ctx, clamp(b.bounds, s))
}

// PredictBatch implements [BatchPredictor].
func (b *Bounded) PredictBatch(ctx context.Context, states []State, out []Estimate) {
	in := make([]State, len(states))
	for i, s := range states {
		in[i] = clamp(b.bounds, s)
	}
	PredictAll(ctx, b.base, in, out)
	if b.outside == Reject {
		for i := range states {
			if err := checkBounds(b.bounds, &states[i]); err != nil {
				out[i] = Estimate{Err: err}
			}
		}
	}
}

// Inputs implements [InputLister]: what the base needs.
func (b *Bounded) Inputs() []Input { return with(b.base) }

// Domain implements [Domained].
func (b *Bounded) Domain() Domain {
	d := make(Domain, len(b.bounds))
	for _, r := range b.bounds {
		d[r.in] = r.Range
	}
	return d
}

// Outside returns what the model does outside its domain.
func (b *Bounded) Outside() Outside { return b.outside }

// Base returns the model that is asked within the domain.
func (b *Bounded) Base() Predictor { return b.base }

// PredictInterval implements [IntervalPredictor] where the base does.
func (b *Bounded) PredictInterval(ctx context.Context, s State, level float64) (Interval, error) {
	if b.outside == Reject {
		if err := checkBounds(b.bounds, &s); err != nil {
			return Interval{}, err
		}
		return PredictInterval(ctx, b.base, s, level)
	}
	return PredictInterval(ctx, b.base, clamp(b.bounds, s), level)
}

// within returns the domain of base with one range more; where both know the input, what they share.
func within(base Predictor, in Input, r Range) Domain {
	known, _ := DomainOf(base)
	d := Domain{in: r}
	for k, v := range known {
		if k == in {
			v = Range{max(v.Low, r.Low), min(v.High, r.High)}
		}
		d[k] = v
	}
	return d
}
