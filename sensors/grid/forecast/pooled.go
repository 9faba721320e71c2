package forecast

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// pooled is a regression of each hour ahead on a few numbers, whatever hour of the day it is issued at: 24 times the examples of [ridge], and few
// coefficients to learn from them. So it knows early how fast a signal returns to its usual day, and two forecasts that are made one after the other
// agree: who plans anew every hour does not wait for hours that only the newest forecast calls good.
type pooled struct {
	gram   [day]*mat.SymDense // regressors × regressors, by the hour ahead within a day
	target [day]*mat.Dense    // regressors × blocks
	spread float64            // decayed mean square of the last deviation, to scale the penalty
	weight float64
	coef   [day]*mat.Dense
	stale  int // examples since coef was solved
}

const (
	regressors = 9
	usualDays  = 14 // the mean age of what makes the usual day
	leastDays  = 7  // of a usual day

	pooledForget  = 1 - 1.0/(120*day) // an hour; the regression remembers about 120 days
	pooledPenalty = day               // in examples that tell nothing
)

// usual is the mean day before hour t, the hour of t first; what is older counts less.
func usual(y []float64, t int) (p [day]float64) {
	forget, total := math.Exp(-1.0/usualDays), 0.0
	w := 1.0
	for d := 1; d <= memory/day && t >= d*day; d++ {
		for h := range p {
			p[h] += w * y[t-d*day+h]
		}
		total += w
		w *= forget
	}
	for h := range p {
		p[h] /= total
	}
	return p
}

// regress describes the past of hour t by how its last hours, days and week deviate from the usual day. The last number is the caller's: how the hour
// ahead deviated on the last day.
func regress(y []float64, t int, p *[day]float64) (x [regressors]float64) {
	deviation := func(ago int) float64 { return y[t-1-ago] - p[day-1-ago%day] }
	mean := func(from, until int) float64 {
		s := 0.0
		for ago := from; ago < until; ago++ {
			s += deviation(ago)
		}
		return s / float64(until-from)
	}
	return [...]float64{1, deviation(0), deviation(1), mean(0, 3), mean(0, 12), mean(0, day), mean(day, 2*day), mean(0, leastDays*day), 0}
}

// learn takes in the path that followed hour t.
func (r *pooled) learn(y []float64, t int) {
	if r.gram[0] == nil {
		for h := range day {
			r.gram[h], r.target[h] = mat.NewSymDense(regressors, nil), mat.NewDense(regressors, blocks, nil)
		}
	}
	p := usual(y, t)
	x := regress(y, t, &p)
	r.spread = pooledForget*r.spread + x[1]*x[1]
	r.weight = pooledForget*r.weight + 1
	r.stale++
	v, d := mat.NewVecDense(regressors, x[:]), mat.NewVecDense(blocks, nil)
	for h := range day {
		x[regressors-1] = y[t-day+h] - p[h]
		r.gram[h].ScaleSym(pooledForget, r.gram[h])
		r.gram[h].SymRankOne(r.gram[h], 1, v)
		for b := range blocks {
			d.SetVec(b, y[t+b*day+h]-p[h])
		}
		r.target[h].Scale(pooledForget, r.target[h])
		r.target[h].RankOne(r.target[h], 1, v, d)
	}
}

// forecast returns the path from hour t on; false while too little is learned.
func (r *pooled) forecast(y []float64, t int) (path, bool) {
	var out path
	if r.weight < leastDays*day || r.coef[0] == nil && !r.solve() || r.stale >= day && !r.solve() {
		return out, false
	}
	p := usual(y, t)
	x := regress(y, t, &p)
	for h := range day {
		x[regressors-1] = y[t-day+h] - p[h]
		for b := range blocks {
			v := p[h]
			for k, f := range x {
				v += f * r.coef[h].At(k, b)
			}
			out[b*day+h] = v
		}
	}
	return out, true
}

// solve finds the coefficients; where there are none it is false.
func (r *pooled) solve() bool {
	for h := range day {
		a := mat.NewSymDense(regressors, nil)
		a.CopySym(r.gram[h])
		a.SetSym(0, 0, a.At(0, 0)+pooledPenalty)
		for i := 1; i < regressors; i++ {
			a.SetSym(i, i, a.At(i, i)+pooledPenalty*max(r.spread/r.weight, 1e-9))
		}
		var c mat.Cholesky
		coef := mat.NewDense(regressors, blocks, nil)
		if !c.Factorize(a) || c.SolveTo(coef, r.target[h]) != nil {
			return false
		}
		r.coef[h] = coef
	}
	r.stale = 0
	return true
}
