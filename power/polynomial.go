package power

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Bounds on a [Polynomial], so that a foreign file cannot ask for unbounded work.
const (
	MaxTerms   = 4096
	MaxFactors = 8
	MaxInputs  = 256
)

// A Factor is an input raised to an exponent. 0.5 is a square root, under which power often follows a
// hardware counter; a negative input has none, and ends in [ErrNotFinite].
type Factor struct {
	Input    Input
	Exponent float64
}

// A Term is a coefficient times its factors; a term without factors is a constant. The coefficient is in watts
// per unit of what its factors make.
type Term struct {
	Coefficient float64
	Factors     []Factor
}

// Polynomial is a sum of terms over any inputs: a cubic in utilization, a plane over utilization and inlet
// temperature, a ridge regression on counters and their square roots. It does not clamp: see [NewBounded].
type Polynomial struct {
	terms  []Term
	inputs []Input
	flat   []flatTerm
	mono   []Factor // the factors of all terms, their input given by slot
	slot   []int
}

type flatTerm struct {
	coefficient float64
	first, end  int // factors mono[first:end]
}

// NewPolynomial returns the sum of the terms, which are copied. Coefficients and exponents must be finite.
func NewPolynomial(terms []Term) (*Polynomial, error) {
	if len(terms) == 0 || len(terms) > MaxTerms {
		return nil, fmt.Errorf("polynomial has %d terms: want 1 to %d", len(terms), MaxTerms)
	}
	p := &Polynomial{terms: slices.Clone(terms)}
	for i := range p.terms {
		t := &p.terms[i]
		if !finite(t.Coefficient) {
			return nil, fmt.Errorf("polynomial, term %d: coefficient is %v", i, t.Coefficient)
		}
		if len(t.Factors) > MaxFactors {
			return nil, fmt.Errorf("polynomial, term %d: %d factors: at most %d are allowed", i, len(t.Factors), MaxFactors)
		}
		t.Factors = slices.Clone(t.Factors)
		first := len(p.mono)
		for k, f := range t.Factors {
			if f.Input == "" {
				return nil, fmt.Errorf("polynomial, term %d, factor %d: the input has no name", i, k)
			}
			if !finite(f.Exponent) {
				return nil, fmt.Errorf("polynomial, term %d, factor %d: exponent is %v", i, k, f.Exponent)
			}
			s := slices.Index(p.inputs, f.Input)
			if s < 0 {
				if s = len(p.inputs); s == MaxInputs {
					return nil, fmt.Errorf("polynomial has more than %d inputs", MaxInputs)
				}
				p.inputs = append(p.inputs, f.Input)
			}
			p.mono, p.slot = append(p.mono, f), append(p.slot, s)
		}
		p.flat = append(p.flat, flatTerm{t.Coefficient, first, len(p.mono)})
	}
	return p, nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// PolynomialOf returns c[0] + c[1]·x + c[2]·x² … of one input x.
func PolynomialOf(in Input, c ...float64) (*Polynomial, error) {
	terms := make([]Term, len(c))
	for i, v := range c {
		terms[i].Coefficient = v
		if i > 0 {
			terms[i].Factors = []Factor{{Input: in, Exponent: float64(i)}}
		}
	}
	return NewPolynomial(terms)
}

// Predict implements [Predictor].
func (p *Polynomial) Predict(_ context.Context, s State) (Watts, error) {
	var stack [32]float64
	x := stack[:]
	if len(p.inputs) > len(x) {
		x = make([]float64, len(p.inputs))
	}
	for i, in := range p.inputs {
		v, err := s.Value(in)
		if err != nil {
			return 0, err
		}
		x[i] = v
	}
	sum := 0.0
	for _, t := range p.flat {
		v := t.coefficient
		for k := t.first; k < t.end; k++ {
			v *= pow(x[p.slot[k]], p.mono[k].Exponent)
		}
		sum += v
	}
	return check(&s, sum)
}

// pow is math.Pow with the exponents that occur answered at once.
func pow(x, e float64) float64 {
	switch e {
	case 1:
		return x
	case 2:
		return x * x
	case 3:
		return x * x * x
	case 0.5:
		return math.Sqrt(x)
	}
	return math.Pow(x, e)
}

// Terms returns a copy of the terms.
func (p *Polynomial) Terms() []Term {
	t := slices.Clone(p.terms)
	for i := range t {
		t[i].Factors = slices.Clone(t[i].Factors)
	}
	return t
}

// Inputs implements [InputLister].
func (p *Polynomial) Inputs() []Input { return slices.Clone(p.inputs) }
