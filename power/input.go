package power

import (
	"fmt"
	"math"
	"slices"
)

// An Input names a quantity that a model looks at. Three are fields of a [State]; any other name is a key
// of State.Inputs.
type Input string

// The inputs that every server may have.
const (
	InputUtilization   Input = "utilization" // State.Utilization, 0 to 1
	InputInletTemp     Input = "inlet"       // State.InletTemp, degrees Celsius
	InputPressureDelta Input = "pressure"    // State.PressureDelta, pascals
)

// Value returns the state's value of an input. An input that was not measured, or is not a finite number,
// is an error that names node and input and wraps [ErrMissingInput].
func (s State) Value(in Input) (float64, error) {
	v, ok := s.lookup(in)
	switch {
	case !ok:
		return 0, fmt.Errorf("node %q: input %q: %w", s.Node, in, ErrMissingInput)
	case math.IsNaN(v) || math.IsInf(v, 0):
		return 0, fmt.Errorf("node %q: input %q is %v: %w", s.Node, in, v, ErrMissingInput)
	}
	return v, nil
}

func (s State) lookup(in Input) (float64, bool) {
	switch in {
	case InputUtilization:
		return s.Utilization, true
	case InputInletTemp:
		if s.InletTemp == nil {
			return 0, false
		}
		return float64(*s.InletTemp), true
	case InputPressureDelta:
		if s.PressureDelta == nil {
			return 0, false
		}
		return float64(*s.PressureDelta), true
	}
	v, ok := s.Inputs[string(in)]
	return v, ok
}

// utilization returns the state's utilization clamped to 0–1: a server cannot be busier than busy.
func utilization(s *State) (float64, error) {
	u := s.Utilization
	if u != u {
		return 0, errNaN(s.Node)
	}
	return min(max(u, 0), 1), nil
}

// An InputLister is a [Predictor] that knows which inputs it needs: a state that has them all finite does
// not end in [ErrMissingInput].
type InputLister interface {
	Predictor
	Inputs() []Input
}

// Inputs returns the inputs that p needs, in a fixed order that the caller may keep, and whether p can
// tell.
func Inputs(p Predictor) ([]Input, bool) {
	if l, ok := p.(InputLister); ok {
		return l.Inputs(), true
	}
	return nil, false
}

// join returns a and those of b that a lacks.
func join(a []Input, b ...Input) []Input {
	out := make([]Input, 0, len(a)+len(b))
	for _, l := range [2][]Input{a, b} {
		for _, in := range l {
			if !slices.Contains(out, in) {
				out = append(out, in)
			}
		}
	}
	return out
}

// with returns what base needs and more.
func with(base Predictor, more ...Input) []Input {
	in, _ := Inputs(base)
	return join(in, more...)
}
