package calibrate

import (
	"context"
	"fmt"
	"math"

	"github.com/leastwatt/leastwatt/power"
)

// Learned is what an [Online] knows at one moment, as a model. It is immutable.
type Learned struct {
	curve     *power.Piecewise
	spread    [points][points]float64 // of the logarithms of the curve's watts
	noise     float64                 // standard deviation of a reading's logarithm
	perDegree float64
	readings  int
	fallback  bool
}

// Model returns the present curve as a model. Where the readings do not say otherwise the curve rises with
// the load; where it fell by more than twice the uncertainty of the difference, it may fall. If the
// prior has been predicting new readings better than the learned curve, the model is the prior.
func (l *Online) Model() (*Learned, error) {
	m := &Learned{noise: math.Sqrt(l.variance), perDegree: l.mean[inlet], readings: l.readings, fallback: l.score.lost()}
	log := l.mean
	for i := range points {
		copy(m.spread[i][:], l.cov[i][:points])
	}
	if m.fallback {
		copy(log[:], l.start.Log[:])
		m.spread, m.perDegree = l.start.Covariance, inletPerDegree
	}
	rising := l.monotone(log, &m.spread)
	w := make([]power.Watts, points)
	for i := range w {
		w[i] = power.Watts(math.Exp(rising[i]))
	}
	var err error
	if m.curve, err = power.EvenPiecewise(w...); err != nil {
		return nil, fmt.Errorf("learned curve: %w", err)
	}
	return m, nil
}

// monotone pools adjacent violators (Ayer et al., Annals of Mathematical Statistics 26, 1955), weighted by
// precision, on each stretch between significant falls.
func (l *Online) monotone(log [states]float64, cov *[points][points]float64) [states]float64 {
	first := 0
	for k := range points {
		if k == points-1 || falls(&log, cov, k) {
			pool(log[first:k+1], func(i int) float64 { return 1 / max(cov[first+i][first+i], 1e-12) })
			first = k + 1
		}
	}
	return log
}

// falls tells whether the curve falls behind point k by more than twice the uncertainty of the difference.
func falls(log *[states]float64, cov *[points][points]float64, k int) bool {
	v := cov[k][k] + cov[k+1][k+1] - 2*cov[k][k+1]
	return log[k]-log[k+1] > 2*math.Sqrt(max(v, 0))
}

// pool makes y nondecreasing by weighted means.
func pool(y []float64, weight func(i int) float64) {
	type block struct {
		mean, weight float64
		n            int
	}
	var stack [points]block
	top := 0
	for i, v := range y {
		b := block{v, weight(i), 1}
		for top > 0 && stack[top-1].mean > b.mean {
			top--
			p := stack[top]
			w := p.weight + b.weight
			b = block{(p.mean*p.weight + b.mean*b.weight) / w, w, p.n + b.n}
		}
		stack[top] = b
		top++
	}
	i := 0
	for _, b := range stack[:top] {
		for range b.n {
			y[i] = b.mean
			i++
		}
	}
}

// Curve returns the watts over utilization at [ReferenceInlet].
func (m *Learned) Curve() *power.Piecewise { return m.curve }

// Readings returns how many readings the model rests on.
func (m *Learned) Readings() int { return m.readings }

// Prior tells whether the model is still the prior, because no reading came or the prior predicts better.
func (m *Learned) Prior() bool { return m.fallback || m.readings == 0 }

// PerDegree returns the share of its watts that one °C more at the inlet costs the server.
func (m *Learned) PerDegree() float64 { return m.perDegree }

// Noise returns the relative standard deviation of readings around the curve.
func (m *Learned) Noise() float64 { return m.noise }

func (m *Learned) factor(s *power.State) float64 { return math.Exp(m.perDegree * degrees(s)) }

// Predict implements [power.Predictor]: the watts at the state's utilization, clamped to 0–1, and at its inlet
// temperature, which is clamped to 5–50 °C and is [ReferenceInlet] where it was not measured.
func (m *Learned) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	w, err := m.curve.Predict(ctx, s)
	if err != nil {
		return 0, err
	}
	return power.Check(float64(w) * m.factor(&s))
}

// PredictBatch implements [power.BatchPredictor].
func (m *Learned) PredictBatch(ctx context.Context, states []power.State, out []power.Estimate) {
	for i := range states {
		w, err := m.Predict(ctx, states[i])
		out[i] = power.Estimate{Watts: w, Err: err}
	}
}

// Inputs implements [power.InputLister]: the utilization. The inlet temperature is used where it is there.
func (m *Learned) Inputs() []power.Input { return []power.Input{power.InputUtilization} }

// Domain implements [power.Domained].
func (m *Learned) Domain() power.Domain {
	return power.Domain{power.InputUtilization: {Low: 0, High: 1}}
}

// PredictInterval implements [power.IntervalPredictor]: the watts between which the next reading lies.
func (m *Learned) PredictInterval(ctx context.Context, s power.State, level float64) (power.Interval, error) {
	if !(level > 0 && level < 1) {
		return power.Interval{}, fmt.Errorf("node %q: level %v is not between 0 and 1: %w", s.Node, level, power.ErrNoInterval)
	}
	w, err := m.Predict(ctx, s)
	if err != nil {
		return power.Interval{}, err
	}
	return m.between(s.Utilization, w, level), nil
}

// between returns the bounds around w watts at a utilization.
func (m *Learned) between(utilization float64, w power.Watts, level float64) power.Interval {
	x := min(max(utilization, 0), 1) * (points - 1)
	k := min(int(x), points-2)
	t := x - float64(k)
	left, right := (1-t)*float64(m.curve.At(float64(k)/(points-1))), t*float64(m.curve.At(float64(k+1)/(points-1)))
	left, right = left/(left+right), right/(left+right)
	v := left*left*m.spread[k][k] + 2*left*right*m.spread[k][k+1] + right*right*m.spread[k+1][k+1]
	z := math.Sqrt2 * math.Erfinv(level) * math.Sqrt(max(v, 0)+m.noise*m.noise)
	return power.Interval{Low: w * power.Watts(math.Exp(-z)), High: w * power.Watts(math.Exp(z))}
}
