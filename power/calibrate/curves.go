package calibrate

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/prior"
)

func sortBy[T any](v []T, key func(T) float64) {
	slices.SortFunc(v, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
}

// A curveFit makes a model of watts over utilization.
type curveFit func(u, y []float64) (power.Predictor, error)

// curve fits the features of a utilization by robust regression.
func curve(u, y []float64, features func(u float64) []float64) ([]float64, error) {
	p := problem{y: y, rows: make([][]float64, len(u))}
	for i, v := range u {
		p.rows[i] = features(v)
	}
	return p.solve()
}

func fitLinear(u, y []float64) (power.Predictor, error) {
	b, err := curve(u, y, func(u float64) []float64 { return []float64{1, u} })
	if err != nil {
		return nil, err
	}
	l := power.Linear{Idle: power.Watts(b[0]), Peak: power.Watts(b[0] + b[1])}
	return l, positive("linear", float64(l.Idle), float64(l.Peak))
}

func positive(form string, watts ...float64) error {
	for _, w := range watts {
		if !(w >= 0 && w < 1e9) {
			return fmt.Errorf("%s: the fit ends in %v W", form, w)
		}
	}
	return nil
}

func fitFan(u, y []float64) (power.Predictor, error) {
	var best power.Fan
	r := golden(1.05, 8, func(r float64) float64 {
		b, err := curve(u, y, func(u float64) []float64 { return []float64{1, 2*u - math.Pow(u, r)} })
		if err != nil {
			return math.Inf(1)
		}
		return loss(u, y, func(u float64) float64 { return b[0] + b[1]*(2*u-math.Pow(u, r)) })
	})
	b, err := curve(u, y, func(u float64) []float64 { return []float64{1, 2*u - math.Pow(u, r)} })
	if err != nil {
		return nil, err
	}
	best = power.Fan{Idle: power.Watts(b[0]), Peak: power.Watts(b[0] + b[1]), Exponent: r}
	return best, positive("fan", b[0], b[0]+b[1])
}

func fitExponential(u, y []float64) (power.Predictor, error) {
	fit := func(k float64) ([]float64, error) {
		return curve(u, y, func(u float64) []float64 { return []float64{1, math.Exp(k * 100 * u)} })
	}
	k := golden(-0.2, 0.1, func(k float64) float64 {
		if math.Abs(k) < 1e-4 {
			k = 1e-4
		}
		b, err := fit(k)
		if err != nil {
			return math.Inf(1)
		}
		return loss(u, y, func(u float64) float64 { return b[0] + b[1]*math.Exp(k*100*u) })
	})
	b, err := fit(k)
	if err != nil {
		return nil, err
	}
	return power.Exponential{K0: b[0], K1: b[1], K2: k}, positive("exponential", b[0]+b[1], b[0]+b[1]*math.Exp(100*k))
}

func fitCubic(u, y []float64) (power.Predictor, error) {
	b, err := curve(u, y, func(u float64) []float64 { return []float64{1, u, u * u, u * u * u} })
	if err != nil {
		return nil, err
	}
	return power.PolynomialOf(power.InputUtilization, b...)
}

// fitPiecewise lets the samples narrow down what published curves look like, so that loads that were hardly
// seen follow from the others. Samples far from a first curve count as if they lay at the edge of the bulk.
func fitPiecewise(u, y []float64) (power.Predictor, error) {
	start, err := prior.Default().Belief(prior.Hardware{})
	if err != nil {
		return nil, err
	}
	first, err := fitCubic(u, y)
	if err != nil {
		return nil, err
	}
	poly := first.(*power.Polynomial)
	rel := make([]float64, len(y))
	at := make([]float64, len(y))
	for i := range y {
		w, err := poly.Predict(context.Background(), power.State{Utilization: u[i]})
		if err != nil {
			at[i] = y[i]
			continue
		}
		at[i] = float64(w)
		rel[i] = math.Abs(y[i]/at[i] - 1)
	}
	noise := max(quantileOf(rel, 0.5)*1.4826, 2*prior.ExactNoise) // of a normal distribution, by its median
	readings := make([]prior.Reading, len(y))
	for i := range y {
		w := min(max(y[i], at[i]*(1-3*noise)), at[i]*(1+3*noise))
		if w <= 0 {
			w = y[i]
		}
		readings[i] = prior.Reading{Utilization: min(u[i], 1), Watts: power.Watts(w), Noise: noise}
	}
	b, err := start.Given(readings...)
	if err != nil {
		return nil, err
	}
	return b.Curve()
}

// loss is the mean of Huber's function of relative errors.
func loss(u, y []float64, f func(u float64) float64) float64 {
	s := 0.0
	for i, v := range u {
		r := math.Abs(f(v)/y[i] - 1)
		if r > tolerance {
			s += tolerance * (2*r - tolerance)
		} else {
			s += r * r
		}
	}
	if s != s {
		return math.Inf(1)
	}
	return s / float64(len(u))
}

// golden returns where f is least between a and b, if it falls and then rises, by a coarse scan and a golden
// section search.
func golden(a, b float64, f func(float64) float64) float64 {
	const steps = 12
	best, at := math.Inf(1), a
	for i := range steps + 1 {
		x := a + (b-a)*float64(i)/steps
		if v := f(x); v < best {
			best, at = v, x
		}
	}
	lo, hi := max(a, at-(b-a)/steps), min(b, at+(b-a)/steps)
	const ratio = 0.6180339887498949
	x1, x2 := hi-ratio*(hi-lo), lo+ratio*(hi-lo)
	f1, f2 := f(x1), f(x2)
	for range 20 {
		if f1 < f2 {
			hi, x2, f2 = x2, x1, f1
			x1 = hi - ratio*(hi-lo)
			f1 = f(x1)
		} else {
			lo, x1, f1 = x1, x2, f2
			x2 = lo + ratio*(hi-lo)
			f2 = f(x2)
		}
	}
	return (lo + hi) / 2
}

func quantileOf(v []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}
