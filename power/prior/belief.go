package prior

import (
	"fmt"
	"math"

	"github.com/leastwatt/leastwatt/power"
)

// ExactNoise is the relative noise to give for figures that count as exact, such as published ones.
const ExactNoise = 1e-3

// A Belief is what is thought of one server's curve: a Gaussian over the logarithms of its watts at
// utilization 0, 0.1 … 1, with straight lines of watts between. It is a value; copying it copies all.
type Belief struct {
	Log        [Points]float64         // means of the logarithms of watts
	Covariance [Points][Points]float64 // of Log

	// Spread widens intervals by a factor that was measured on held-out servers; 0 means 1. A reading
	// ends it, because beliefs with readings were found to be right as they are.
	Spread float64

	// Source tells what the belief rests on, for people.
	Source string
}

// A Reading is the watts a server drew at a utilization.
type Reading struct {
	Utilization float64
	Watts       power.Watts
	Noise       float64 // relative standard deviation; 0 means [ExactNoise]
}

// Validate returns an error that names what is wrong with the reading.
func (r Reading) Validate() error {
	switch {
	case !(r.Utilization >= 0 && r.Utilization <= 1):
		return fmt.Errorf("reading: utilization %v is not within 0 and 1", r.Utilization)
	case !(r.Watts > 0 && r.Watts <= 1e9):
		return fmt.Errorf("reading at utilization %v: %v is not between 0 and 1e9 watts", r.Utilization, float64(r.Watts))
	case !(r.Noise >= 0 && r.Noise <= 10):
		return fmt.Errorf("reading at utilization %v: noise %v is not within 0 and 10", r.Utilization, r.Noise)
	}
	return nil
}

// Around returns the belief that a curve is right in shape and level up to relative standard deviations of
// its scale and, independently at each point, of its shape: for a server whose model is known but not trusted.
func Around(curve *power.Piecewise, scale, shape float64) Belief {
	b := Belief{Source: "a given curve"}
	for i := range b.Log {
		b.Log[i] = math.Log(max(float64(curve.At(float64(i)/(Points-1))), 1e-3))
		for j := range b.Log {
			b.Covariance[i][j] = scale * scale
			// Shape errors of neighbours go together: half a decade of load apart, half of it.
			d := float64(i-j) / 2
			b.Covariance[i][j] += shape * shape * math.Exp(-d*d/2)
		}
		b.Covariance[i][i] += ExactNoise * ExactNoise
	}
	return b
}

// At returns the median of the watts at a utilization, which is clamped to 0–1, and the standard deviation
// of their logarithm.
func (b *Belief) At(utilization float64) (power.Watts, float64) {
	k, l, r, w := b.between(utilization)
	c := &b.Covariance
	v := l*l*c[k][k] + 2*l*r*c[k][k+1] + r*r*c[k+1][k+1]
	return power.Watts(w), math.Sqrt(max(v, 0)) * b.spread()
}

func (b *Belief) spread() float64 {
	if b.Spread > 0 {
		return b.Spread
	}
	return 1
}

// between returns the point k at or below a utilization, the watts there, and how their logarithm
// changes with those of points k and k+1.
func (b *Belief) between(utilization float64) (k int, left, right, watts float64) {
	x := min(max(utilization, 0), 1) * (Points - 1)
	k = min(int(x), Points-2)
	t := x - float64(k)
	left, right = (1-t)*math.Exp(b.Log[k]), t*math.Exp(b.Log[k+1])
	watts = left + right
	return k, left / watts, right / watts, watts
}

// Interval returns the watts between which the server's true watts at a utilization lie with probability
// level, over 0 and under 1, plus a reading's own relative noise (0 for none).
func (b *Belief) Interval(utilization, level, noise float64) power.Interval {
	w, sd := b.At(utilization)
	z := math.Sqrt2 * math.Erfinv(level) * math.Hypot(sd, noise)
	return power.Interval{Low: w * power.Watts(math.Exp(-z)), High: w * power.Watts(math.Exp(z))}
}

// Curve returns the medians as a power curve.
func (b *Belief) Curve() (*power.Piecewise, error) {
	w := make([]power.Watts, Points)
	for i := range w {
		w[i] = power.Watts(math.Exp(b.Log[i]))
	}
	return power.EvenPiecewise(w...)
}

// Given returns the belief after readings. A reading between two points depends on both watts and not on
// their logarithms, so the update is repeated from the start around its own result. The first invalid
// reading is the error.
func (b Belief) Given(readings ...Reading) (Belief, error) {
	for i, r := range readings {
		if err := r.Validate(); err != nil {
			return b, fmt.Errorf("reading %d: %w", i, err)
		}
	}
	if len(readings) == 0 {
		return b, nil
	}
	at := b
	for pass := range 3 {
		next := b
		next.Spread = 1
		for _, r := range readings {
			around := &at
			if pass == 0 {
				around = &next
			}
			next.observe(around, r)
		}
		at = next
	}
	return at, nil
}

// observe conditions b on a reading, linear around the logarithms of another belief.
func (b *Belief) observe(around *Belief, r Reading) {
	k, hl, hr, w := around.between(r.Utilization)
	if r.Noise == 0 {
		r.Noise = ExactNoise
	}
	in := math.Log(float64(r.Watts)/w) - hl*(b.Log[k]-around.Log[k]) - hr*(b.Log[k+1]-around.Log[k+1])
	var ph [Points]float64
	for i := range ph {
		ph[i] = hl*b.Covariance[i][k] + hr*b.Covariance[i][k+1]
	}
	s := hl*ph[k] + hr*ph[k+1] + r.Noise*r.Noise
	for i := range ph {
		gain := ph[i] / s
		b.Log[i] += gain * in
		for j := range i + 1 {
			b.Covariance[i][j] -= gain * ph[j]
			b.Covariance[j][i] = b.Covariance[i][j]
		}
	}
}
