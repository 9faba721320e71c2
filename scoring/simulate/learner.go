package simulate

import "github.com/leastwatt/leastwatt/power"

// learner corrects a believed curve by what is measured: a mean factor over all, and a factor for each tenth of
// utilization that has enough samples of its own.
type learner struct {
	prior *power.Piecewise
	ratio [learnBins]float64
	n     [learnBins]float64
	count int
}

const (
	learnBins  = 11
	learnPrior = 5  // samples that the mean factor is worth in a bin
	learnEvery = 16 // samples between two refits, at first
)

func newLearner(prior *power.Piecewise) *learner { return &learner{prior: prior} }

// add counts a sample and returns a new curve now and then, otherwise nil.
func (l *learner) add(u, watts float64) *power.Piecewise {
	if l.prior == nil {
		// Nothing is believed yet: the first sample gives a flat curve to correct.
		p, err := power.EvenPiecewise(power.Watts(watts), power.Watts(watts))
		if err != nil {
			return nil
		}
		l.prior = p
	}
	base := float64(l.prior.At(u))
	if !(base > 0) {
		return nil
	}
	// A sample between two knots counts for both.
	x := min(max(u, 0), 1) * (learnBins - 1)
	k := min(int(x), learnBins-2)
	f := x - float64(k)
	r := watts / base
	for _, w := range [...]struct {
		k int
		f float64
	}{{k, 1 - f}, {k + 1, f}} {
		l.ratio[w.k] += w.f * r
		l.n[w.k] += w.f
	}
	if l.count++; l.count%max(learnEvery, l.count/8) != 0 {
		return nil
	}
	return l.curve()
}

func (l *learner) curve() *power.Piecewise {
	var sum, n float64
	for k := range l.ratio {
		sum += l.ratio[k]
		n += l.n[k]
	}
	if n == 0 {
		return nil
	}
	mean := sum / n
	watts := make([]power.Watts, learnBins)
	for k := range watts {
		f := (l.ratio[k] + learnPrior*mean) / (l.n[k] + learnPrior)
		watts[k] = power.Watts(max(0, f*float64(l.prior.At(float64(k)/(learnBins-1)))))
	}
	p, err := power.EvenPiecewise(watts...)
	if err != nil {
		return nil
	}
	return p
}
