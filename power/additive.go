package power

import (
	"context"
	"fmt"
)

// An Additive is a model that adds watts to another's: what a GPU draws, or what the aisles' pressure takes
// off the fans. [NewGPU] and [NewPressure] make one.
type Additive struct {
	base Predictor
	term AdditiveTerm
}

// AdditiveTerm is a part of a server's power that one input decides: [GPU] or [Pressure].
type AdditiveTerm interface {
	// Validate returns an error that names the field that makes no sense.
	Validate() error

	input() Input
	domain() Range
	outside() Outside
	watts(v float64) float64
}

// GPU is the power of equal accelerators on top of the rest of the server: each draws
// min(Idle + Active·a, Limit) at activity a.
type GPU struct {
	Input  Input   // their mean activity, 0 to 1, a key of State.Inputs
	Count  int     // how many there are
	Idle   Watts   // of one without work
	Active Watts   // what one adds at activity 1
	Limit  Watts   // the power limit of one; 0 means none
	Out    Outside // what to do with an activity outside 0–1
}

// Validate implements [AdditiveTerm].
func (g GPU) Validate() error {
	if g.Input == "" {
		return fmt.Errorf("GPU term: Input has no name")
	}
	if g.Count < 1 || g.Count > 1024 {
		return fmt.Errorf("GPU term: Count is %d: want 1 to 1024", g.Count)
	}
	for _, f := range []struct {
		name  string
		value Watts
	}{{"Idle", g.Idle}, {"Active", g.Active}, {"Limit", g.Limit}} {
		if !(f.value >= 0 && f.value <= 1e6) {
			return fmt.Errorf("GPU term: %s is %v: want 0 to 1e6 W", f.name, f.value)
		}
	}
	return validOutside("GPU term", g.Out)
}

func (g GPU) input() Input     { return g.Input }
func (g GPU) domain() Range    { return Range{0, 1} }
func (g GPU) outside() Outside { return g.Out }

// Watts returns what all of them draw at an activity, which is taken as 0 below 0 and as 1 above 1.
func (g GPU) Watts(activity float64) Watts { return Watts(g.watts(min(max(activity, 0), 1))) }

func (g GPU) watts(a float64) float64 {
	w := g.Idle + g.Active*Watts(a)
	if g.Limit > 0 {
		w = min(w, g.Limit)
	}
	return float64(g.Count) * float64(w)
}

// Pressure is what the static pressure between the aisles adds to, or takes off, a server's fans:
// PerPascal·(Δp − Reference). No general coefficient is published: fit it on the servers at hand.
type Pressure struct {
	PerPascal Watts   // watts per pascal; negative where pressure helps the fans
	Reference Pascals // the pressure at which the base model was fitted
	Low, High Pascals // where the coefficient was fitted
	Out       Outside // what to do elsewhere
}

// Validate implements [AdditiveTerm].
func (p Pressure) Validate() error {
	for _, f := range []struct {
		name      string
		value     float64
		low, high float64
	}{
		{"PerPascal", float64(p.PerPascal), -1e6, 1e6},
		{"Reference", float64(p.Reference), -1e6, 1e6},
		{"Low", float64(p.Low), -1e6, 1e6},
		{"High", float64(p.High), float64(p.Low), 1e6},
	} {
		if !(f.value >= f.low && f.value <= f.high) {
			return fmt.Errorf("pressure term: %s is %v: want %v to %v", f.name, f.value, f.low, f.high)
		}
	}
	return validOutside("pressure term", p.Out)
}

func (p Pressure) input() Input     { return InputPressureDelta }
func (p Pressure) domain() Range    { return Range{float64(p.Low), float64(p.High)} }
func (p Pressure) outside() Outside { return p.Out }

func (p Pressure) watts(v float64) float64 { return float64(p.PerPascal) * (v - float64(p.Reference)) }

func validOutside(what string, o Outside) error {
	if o != Clamp && o != Reject {
		return fmt.Errorf("%s: Out is %d: want Clamp or Reject", what, o)
	}
	return nil
}

// NewGPU returns base with the power of accelerators added.
func NewGPU(base Predictor, g GPU) (*Additive, error) { return newAdditive(base, g) }

// NewPressure returns base with the effect of static pressure added.
func NewPressure(base Predictor, p Pressure) (*Additive, error) { return newAdditive(base, p) }

func newAdditive(base Predictor, t AdditiveTerm) (*Additive, error) {
	if base == nil {
		return nil, fmt.Errorf("additive term: %w", ErrNoModel)
	}
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return &Additive{base: base, term: t}, nil
}

// extra returns the watts that the term adds in a state.
func (m *Additive) extra(s *State) (float64, error) {
	v, err := s.Value(m.term.input())
	if err != nil {
		return 0, err
	}
	if r := m.term.domain(); v < r.Low || v > r.High {
		if m.term.outside() == Reject {
			return 0, fmt.Errorf("node %q: input %q is %v, outside %v to %v: %w", s.Node, m.term.input(), v, r.Low, r.High, ErrDomain)
		}
		v = min(max(v, r.Low), r.High)
	}
	return m.term.watts(v), nil
}

// Predict implements [Predictor]. It needs the term's input beside what the base needs.
func (m *Additive) Predict(ctx context.Context, s State) (Watts, error) {
	x, err := m.extra(&s)
	if err != nil {
		return 0, err
	}
	w, err := m.base.Predict(ctx, s)
	if err != nil {
		return 0, err
	}
	return check(&s, float64(w)+x)
}

// PredictBatch implements [BatchPredictor].
func (m *Additive) PredictBatch(ctx context.Context, states []State, out []Estimate) {
	PredictAll(ctx, m.base, states, out)
	for i := range states {
		x, err := m.extra(&states[i])
		if err == nil && out[i].Err == nil {
			out[i].Watts, err = check(&states[i], float64(out[i].Watts)+x)
		}
		if err != nil {
			out[i] = Estimate{Err: err}
		}
	}
}

// PredictInterval implements [IntervalPredictor] where the base does; the term adds no width.
func (m *Additive) PredictInterval(ctx context.Context, s State, level float64) (Interval, error) {
	x, err := m.extra(&s)
	if err != nil {
		return Interval{}, err
	}
	in, err := PredictInterval(ctx, m.base, s, level)
	if err != nil {
		return Interval{}, err
	}
	return mapped(in, func(w float64) float64 { return w + x }), nil
}

// Base returns the model of the rest of the server.
func (m *Additive) Base() Predictor { return m.base }

// Term returns what is added: a [GPU] or a [Pressure].
func (m *Additive) Term() AdditiveTerm { return m.term }

// Inputs implements [InputLister]: the term's input and what the base needs.
func (m *Additive) Inputs() []Input { return with(m.base, m.term.input()) }

// Domain implements [Domained].
func (m *Additive) Domain() Domain { return within(m.base, m.term.input(), m.term.domain()) }
