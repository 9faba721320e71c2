package model

import (
	"fmt"

	"github.com/leastwatt/leastwatt/power"
)

// A formKind reads one kind of form. What it reads is checked after it: an error of the decoder goes first.
type formKind struct {
	name  string
	wraps bool // has a base
	read  func(o *object, base power.Predictor) (power.Predictor, error)
}

// kinds are the forms that a file may hold; encodeForm is their other direction.
var kinds = []formKind{
	{"linear", false, readLinear},
	{"fan", false, readFan},
	{"exponential", false, readExponential},
	{"polynomial", false, readPolynomial},
	{"piecewise", false, readPiecewise},
	{"mlp", false, readMLP},
	{"trees", false, readTrees},
	{"inlet", true, readInlet},
	{"pressure", true, readPressure},
	{"gpu", true, readGPU},
	{"bounded", true, readBounded},
}

func readLinear(o *object, _ power.Predictor) (power.Predictor, error) {
	l := power.Linear{Idle: power.Watts(o.number("idle")), Peak: power.Watts(o.number("peak"))}
	return l, notNegatives(o, "idle", float64(l.Idle), "peak", float64(l.Peak))
}

func readFan(o *object, _ power.Predictor) (power.Predictor, error) {
	f := power.Fan{Idle: power.Watts(o.number("idle")), Peak: power.Watts(o.number("peak")), Exponent: o.number("exponent")}
	if !(f.Exponent > 0 && f.Exponent <= 100) {
		return nil, fmt.Errorf("exponent is %v: want over 0 and at most 100", f.Exponent)
	}
	return f, notNegatives(o, "idle", float64(f.Idle), "peak", float64(f.Peak))
}

func notNegatives(_ *object, a string, x float64, b string, y float64) error {
	if x < 0 {
		return fmt.Errorf("%s is %v W: want 0 or more", a, x)
	}
	if y < 0 {
		return fmt.Errorf("%s is %v W: want 0 or more", b, y)
	}
	return nil
}

func readExponential(o *object, _ power.Predictor) (power.Predictor, error) {
	return power.Exponential{K0: o.number("k0"), K1: o.number("k1"), K2: o.number("k2")}, nil
}

func readPolynomial(o *object, _ power.Predictor) (power.Predictor, error) {
	var terms []power.Term
	for _, t := range o.list("terms", power.MaxTerms) {
		term := power.Term{Coefficient: t.number("coefficient")}
		if t.has("factors") {
			for _, f := range t.list("factors", power.MaxFactors) {
				term.Factors = append(term.Factors, power.Factor{Input: power.Input(f.text("input")), Exponent: f.number("exponent")})
				f.done()
			}
		}
		t.done()
		terms = append(terms, term)
	}
	return checked(power.NewPolynomial(terms))
}

func readPiecewise(o *object, _ power.Predictor) (power.Predictor, error) {
	u, w := o.numbers("utilization"), o.numbers("watts")
	if len(u) != len(w) {
		return nil, fmt.Errorf("%d utilizations but %d watts", len(u), len(w))
	}
	knots := make([]power.Knot, len(u))
	for i := range u {
		knots[i] = power.Knot{Utilization: u[i], Watts: power.Watts(w[i])}
	}
	return checked(power.NewPiecewise(knots))
}

// checked returns no predictor, rather than one that holds a nil pointer, with an error.
func checked[T power.Predictor](p T, err error) (power.Predictor, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// needBase keeps the constructors from reporting a base that the decoder has already refused.
func needBase(base power.Predictor) power.Predictor {
	if base == nil {
		return power.Linear{}
	}
	return base
}

func readInlet(o *object, base power.Predictor) (power.Predictor, error) {
	return checked(power.NewInlet(needBase(base), power.InletResponse{
		Reference: power.Celsius(o.number("reference")),
		PerDegree: o.number("perDegree"),
		Fan:       power.Watts(o.number("fan")),
		FanKnee:   power.Celsius(o.number("fanKnee")),
		FanGain:   o.number("fanGain"),
		FanLimit:  o.number("fanLimit"),
		Low:       power.Celsius(o.number("low")),
		High:      power.Celsius(o.number("high")),
		Outside:   o.outside(),
	}))
}

func readPressure(o *object, base power.Predictor) (power.Predictor, error) {
	return checked(power.NewPressure(needBase(base), power.Pressure{
		PerPascal: power.Watts(o.number("perPascal")),
		Reference: power.Pascals(o.number("reference")),
		Low:       power.Pascals(o.number("low")),
		High:      power.Pascals(o.number("high")),
		Out:       o.outside(),
	}))
}

func readGPU(o *object, base power.Predictor) (power.Predictor, error) {
	return checked(power.NewGPU(needBase(base), power.GPU{
		Input:  power.Input(o.text("input")),
		Count:  o.integer("count"),
		Idle:   power.Watts(o.number("idle")),
		Active: power.Watts(o.number("active")),
		Limit:  power.Watts(o.number("limit")),
		Out:    o.outside(),
	}))
}

func readBounded(o *object, base power.Predictor) (power.Predictor, error) {
	d := make(power.Domain)
	for _, r := range o.list("domain", power.MaxInputs) {
		d[power.Input(r.text("input"))] = power.Range{Low: r.end("low", -1), High: r.end("high", 1)}
		r.done()
	}
	return checked(power.NewBounded(needBase(base), d, o.outside()))
}
