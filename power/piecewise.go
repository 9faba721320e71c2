package power

import (
	"context"
	"fmt"
	"sync/atomic"
)

// MaxKnots bounds the knots of a [Piecewise], so that a foreign file cannot ask for unbounded memory.
const MaxKnots = 4096

// A Knot is one measured point of a power curve.
type Knot struct {
	Utilization float64 // 0 to 1
	Watts       Watts
}

// Piecewise is a power curve of straight lines between knots, the shape of SPECpower's eleven points. It
// depends on utilization alone and is immutable. Outside its knots it clamps: a load above the last
// knot draws what the last knot draws, because a server cannot be busier than busy. Scorers ask it
// directly, without going through the interface; every other model can be brought to this form by
// [Tabulate].
//
// The zero value is not valid: use [NewPiecewise].
type Piecewise struct {
	segs   []segment // one a knot: the last is a point
	cell   []uint16  // cell[k] is the first segment that can hold utilization k/cells
	cells  float64
	lo, hi float64

	on  atomic.Pointer[Piecewise] // the envelopes, made when first asked for
	off atomic.Pointer[envelope]
}

// A segment is the line watts = a + b·(utilization − start) up to the start of the next. Kept relative to its start,
// a steep segment loses no digits.
type segment struct{ start, a, b float64 }

// Foreign knots beyond these would make slopes that float64 cannot hold; no server is near either.
const (
	minSpacing = 1e-9 // of utilizations
	maxWatts   = 1e15
)

// NewPiecewise returns the curve through the knots, which need at least two, strictly increasing
// utilizations within 0–1 that lie at least 1e-9 apart, and finite, non-negative watts. The knots are copied.
func NewPiecewise(knots []Knot) (*Piecewise, error) {
	if len(knots) < 2 {
		return nil, fmt.Errorf("power curve has %d knots: it needs at least 2", len(knots))
	}
	if len(knots) > MaxKnots {
		return nil, fmt.Errorf("power curve has %d knots: at most %d are allowed", len(knots), MaxKnots)
	}
	for i, k := range knots {
		if !(k.Utilization >= 0 && k.Utilization <= 1) {
			return nil, fmt.Errorf("power curve, knot %d: utilization %v is not within 0 and 1", i, k.Utilization)
		}
		if _, err := Check(float64(k.Watts)); err != nil {
			return nil, fmt.Errorf("power curve, knot %d at utilization %v: %w", i, k.Utilization, err)
		}
		if k.Watts > maxWatts {
			return nil, fmt.Errorf("power curve, knot %d at utilization %v: no server draws %v", i, k.Utilization, k.Watts)
		}
		if i == 0 && k.Utilization > 0 && k.Utilization < minSpacing {
			return nil, fmt.Errorf("power curve, knot 0: utilization %v is too close to 0", k.Utilization)
		}
		if i > 0 && !(k.Utilization-knots[i-1].Utilization >= minSpacing) {
			return nil, fmt.Errorf("power curve, knot %d: utilization %v does not follow %v by at least 1e-9", i, k.Utilization, knots[i-1].Utilization)
		}
	}
	return build(knots), nil
}

// EvenPiecewise returns the curve through watts at evenly spaced utilizations from 0 to 1, as SPECpower
// reports them: active idle first, then each load level.
func EvenPiecewise(watts ...Watts) (*Piecewise, error) {
	knots := make([]Knot, len(watts))
	for i, w := range watts {
		knots[i] = Knot{Utilization: float64(i) / float64(max(len(watts)-1, 1)), Watts: w}
	}
	return NewPiecewise(knots)
}

// build precomputes what Predict needs from knots that are known to be valid. It keeps a copy.
func build(knots []Knot) *Piecewise {
	n := len(knots) - 1
	p := &Piecewise{segs: make([]segment, n+1), lo: knots[0].Utilization, hi: knots[n].Utilization}
	for i, l := range knots {
		p.segs[i] = segment{start: l.Utilization, a: float64(l.Watts)}
		if i < n {
			r := knots[i+1]
			p.segs[i].b = float64(r.Watts-l.Watts) / (r.Utilization - l.Utilization)
		}
	}
	// A grid finer than the knots: one look-up, then rarely more than one step.
	cells := 2 * n
	p.cell, p.cells = make([]uint16, cells+1), float64(cells)
	s := 0
	for k := range p.cell {
		for s < n-1 && p.segs[s+1].start <= float64(k)/p.cells {
			s++
		}
		p.cell[k] = uint16(s)
	}
	return p
}

// At returns the watts at a utilization, clamped to the knots. NaN gives NaN.
func (p *Piecewise) At(utilization float64) Watts {
	i, u := p.segment(utilization)
	s := &p.segs[i]
	return Watts(max(s.a+s.b*(u-s.start), 0)) // rounding must not take it below 0
}

// Rise returns At(to) − At(from). Within one segment it is the product of slope and step, which keeps the
// digits that a difference of two large numbers loses.
func (p *Piecewise) Rise(from, to float64) Watts {
	i, u := p.segment(from)
	s := &p.segs[i]
	if u <= to && to < p.segs[i+1].start {
		return Watts(s.b * (to - u))
	}
	k, v := p.segment(to)
	t := &p.segs[k]
	return Watts(t.a + t.b*(v-t.start) - (s.a + s.b*(u-s.start)))
}

// Slope returns the watts per unit of utilization to the right of u: that of the first segment below the
// knots, that of the last at and above their end.
func (p *Piecewise) Slope(u float64) float64 {
	i, _ := p.segment(u)
	return p.segs[i].b
}

// segment returns which segment holds u, and u clamped to the knots.
func (p *Piecewise) segment(u float64) (int, float64) {
	if u < p.lo {
		u = p.lo
	} else if u > p.hi {
		u = p.hi
	} else if u != u {
		return 0, u
	}
	i := int(p.cell[int(u*p.cells)])
	for i+2 < len(p.segs) && u >= p.segs[i+1].start {
		i++
	}
	return i, u
}

// Predict implements [Predictor]: the watts at the state's utilization, clamped to the knots.
func (p *Piecewise) Predict(_ context.Context, s State) (Watts, error) {
	if s.Utilization != s.Utilization {
		return 0, errNaN(s.Node)
	}
	return p.At(s.Utilization), nil
}

// PredictBatch implements [BatchPredictor].
func (p *Piecewise) PredictBatch(_ context.Context, states []State, out []Estimate) {
	for i := range states {
		if u := states[i].Utilization; u == u {
			out[i] = Estimate{Watts: p.At(u)}
		} else {
			out[i] = Estimate{Err: errNaN(states[i].Node)}
		}
	}
}

func errNaN(node string) error {
	return fmt.Errorf("node %q: utilization is not a number: %w", node, ErrMissingInput)
}

// Inputs implements [InputLister].
func (p *Piecewise) Inputs() []Input { return []Input{InputUtilization} }

// Domain implements [Domained]: from the first knot to the last.
func (p *Piecewise) Domain() Domain { return Domain{InputUtilization: {p.lo, p.hi}} }

// Knots returns a copy of the curve's points.
func (p *Piecewise) Knots() []Knot {
	knots := make([]Knot, len(p.segs))
	for i, s := range p.segs {
		knots[i] = Knot{Utilization: s.start, Watts: Watts(s.a)}
	}
	return knots
}

// Idle returns the watts at the first knot.
func (p *Piecewise) Idle() Watts { return Watts(p.segs[0].a) }

// Peak returns the watts at the last knot, which need not be the most.
func (p *Piecewise) Peak() Watts { return Watts(p.segs[len(p.segs)-1].a) }

// Scale returns the curve with every watt multiplied by f, which must be finite and not negative.
func (p *Piecewise) Scale(f float64) (*Piecewise, error) {
	k := p.Knots()
	for i := range k {
		k[i].Watts *= Watts(f)
	}
	return NewPiecewise(k)
}
