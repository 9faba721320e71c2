package forecast

import (
	"math"
	"time"

	"gonum.org/v1/gonum/mat"
)

// The members of the blend.
const (
	naiveMember = iota
	smoothMember
	ridgeMember
	pooledMember
	members
)

type path [Horizon]float64

// naive repeats the last day.
func (m *Model) naive(n int) (p path) {
	for h := range p {
		p[h] = m.y[n-day+h%day]
	}
	return p
}

// holtWinters is additive Holt–Winters smoothing with a daily season and no trend (Winters 1960), which over four days
// only does harm, and with the autocorrelation of its errors taken into account (Taylor 2003).
type holtWinters struct {
	n      int // hours seen
	level  float64
	season [day]float64
	last   float64 // the last error
}

// The smoothing constants are ordinary ones for hourly load; the blend makes up for what they lack.
const (
	smoothLevel  = 0.02
	smoothSeason = 0.15
	smoothError  = 0.9
)

func (s *holtWinters) observe(y []float64) {
	t := len(y) - 1
	s.n = len(y)
	if t < day {
		s.level += (y[t] - s.level) / float64(t+1)
		s.season[t%day] = y[t]
		if t == day-1 {
			for i := range s.season {
				s.season[i] -= s.level
			}
		}
		return
	}
	i := (t) % day
	e := y[t] - s.level - s.season[i] - smoothError*s.last
	s.last = y[t] - s.level - s.season[i]
	s.level += smoothLevel * e
	s.season[i] += smoothSeason * e
}

func (s *holtWinters) forecast() (p path) {
	carry := s.last
	for h := range p {
		carry *= smoothError
		p[h] = s.level + s.season[(s.n+h)%day] + carry
	}
	return p
}

const (
	lags     = 48
	nfeature = lags + 3 + 5 + 7 + 4 + 1
)

// features describes the past of hour t: the last two days about their mean, how the last day stands to the week and
// the month, the days before, the day of the week and the season of the year.
func features(y []float64, t int, at time.Time) *[nfeature]float64 {
	f := new([nfeature]float64)
	mean := func(from, until int) float64 {
		s := 0.0
		for _, v := range y[t-from : t-until] {
			s += v
		}
		return s / float64(from-until)
	}
	now := mean(day, 0)
	for i := range lags {
		f[i] = y[t-lags+i] - now
	}
	k := lags
	f[k], f[k+1], f[k+2] = now-mean(7*day, 0), mean(7*day, 0)-mean(memory, 0), now-mean(memory, 0)
	k += 3
	for d := 3; d < 8; d++ {
		f[k] = mean(d*day, (d-1)*day) - now
		k++
	}
	const weight = 0.3 // of what is not a value of the signal itself
	f[k+int(at.Weekday())] = weight
	k += 7
	year := 2 * math.Pi * float64(at.YearDay()) / 365.25
	f[k], f[k+1], f[k+2], f[k+3] = weight*math.Sin(year), weight*math.Cos(year), weight*math.Sin(2*year), weight*math.Cos(2*year)
	f[k+4] = 1
	return f
}

// ridge is a regression of all hours ahead at once on the features, by its normal equations with forgetting, for
// forecasts made at one hour of the day. It explains the difference from the naive forecast, so that with nothing learned
// it is the naive forecast.
type ridge struct {
	gram   *mat.SymDense // features × features
	target *mat.Dense    // features × Horizon
	spread float64       // decayed mean square of the features, to scale the penalty
	weight float64
	coef   *mat.Dense
	stale  int // observations since coef was solved
}

const (
	forget  = 1 - 1.0/400 // a day; the regression remembers about 400 days
	penalty = 5.0         // in units of the mean square of the lag features
)

func newRidge() *ridge {
	return &ridge{gram: mat.NewSymDense(nfeature, nil), target: mat.NewDense(nfeature, Horizon, nil)}
}

func (r *ridge) learn(f *[nfeature]float64, y, before []float64) {
	x := mat.NewVecDense(nfeature, f[:])
	r.gram.ScaleSym(forget, r.gram)
	r.gram.SymRankOne(r.gram, 1, x)
	r.target.Scale(forget, r.target)
	d := mat.NewVecDense(Horizon, nil)
	for h := range Horizon {
		d.SetVec(h, y[h]-before[h%day])
	}
	r.target.RankOne(r.target, 1, x, d)
	s := 0.0
	for _, v := range f[:lags] {
		s += v * v
	}
	r.spread = forget*r.spread + s/lags
	r.weight = forget*r.weight + 1
	r.stale++
}

// forecast returns the path for features f, given the naive path.
func (r *ridge) forecast(f *[nfeature]float64, naive path) (path, bool) {
	if r == nil || r.weight < 14 {
		return naive, false
	}
	if r.coef == nil || r.stale >= 7 { // a week's new rows hardly change it
		a := mat.NewSymDense(nfeature, nil)
		a.CopySym(r.gram)
		p := penalty * max(r.spread/r.weight, 1e-9)
		for i := range nfeature - 1 {
			a.SetSym(i, i, a.At(i, i)+p)
		}
		a.SetSym(nfeature-1, nfeature-1, a.At(nfeature-1, nfeature-1)+1e-6)
		var c mat.Cholesky
		coef := mat.NewDense(nfeature, Horizon, nil)
		if !c.Factorize(a) || c.SolveTo(coef, r.target) != nil {
			return naive, false
		}
		r.coef, r.stale = coef, 0
	}
	var out mat.VecDense
	out.MulVec(r.coef.T(), mat.NewVecDense(nfeature, f[:]))
	p := naive
	for h := range p {
		p[h] += out.AtVec(h)
	}
	return p, true
}
