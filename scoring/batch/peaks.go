package batch

import (
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// peaks is PEAKS of the Kubernetes scheduler-plugins: P(x) = K0 + K1·e^(K2·x) over the CPU percent x, fitted to each node's
// curve; what a pod adds is its request, and the lowest difference wins. Its scores 100 − 100·(cost−min)/(max−min) are integers; the earlier name wins a tie.
// Where PEAKS fails it returns cost 0, which then wins; that case is left out here: such a node comes last.
//
// An exponential for each node is what takes the time, so a short series first bounds each difference from both sides, and only the nodes
// that may be the least, the most or the first with the highest score are asked exactly.
type peaks struct {
	repeated
	fitter    exponentialFit
	cluster   *Cluster
	at        uint64   // how many of its changes are in steps
	fits      []fitted // of each node
	steps     []step
	list      []int32 // nodes that fit
	low, high []float64
}

// fitted is the model of a node's curve.
type fitted struct {
	curve *power.Piecewise
	model Exponential
}

// A step is what d more cores cost on a node as it is used now: slope·d·(e^y − 1)/y with y = bend·d.
type step struct {
	slope, bend float64
	slack       float64 // watts that the rounding of the exact difference may reach
	reach       float64 // cores up to which the series holds
}

// The series of (e^y − 1)/y up to y² is right within seriesSlack·|y|³ for |y| ≤ seriesEnd, and the exact difference is rounded within levelSlack
// of K1·e^(K2·x).
const (
	seriesEnd   = 0.5
	seriesSlack = 0.05
	levelSlack  = 1e-12
)

func newPEAKS() *peaks {
	p := &peaks{repeated: repeated{high: true, more: true}}
	p.cost = func(c *Cluster, j *Job, i int) float64 {
		f := &p.fits[i]
		if f.curve != c.curve[i] {
			p.fit(f, c, i)
		}
		if f.curve == nil {
			return math.NaN()
		}
		if v := p.rise(c, i, j.Requests.CPU); v >= -math.MaxFloat64 {
			return v
		}
		return math.NaN()
	}
	return p
}

// peaksBest tells whether added watts score 100 where they are from lo to hi.
func peaksBest(v, lo, hi float64) bool {
	return !(hi > lo) || math.Trunc(100*(v-lo)/(hi-lo)) == 0
}

func (p *peaks) choose(j *Job, _ time.Duration, c *Cluster) int {
	if len(p.fits) != c.Len() {
		p.fits = make([]fitted, c.Len())
	}
	if t := p.ranking(j, c); t != nil {
		i, lo := t.best()
		if hi := t.high[1]; lo < unknownCost && hi > lo {
			return t.first(func(v float64) bool { return v <= hi && peaksBest(v, lo, hi) })
		}
		return i
	}
	p.follow(c)
	s := c.scan(j)
	p.list = c.fitting(&s, j, p.list)
	n := len(p.list)
	p.low, p.high = slices.Grow(p.low[:0], n)[:n], slices.Grow(p.high[:0], n)[:n]
	steps, low, high := p.steps, p.low, p.high[:len(p.low)]
	leastHigh, mostLow, unknown := math.Inf(1), math.Inf(-1), -1
	for k, i := range p.list[:len(low)] {
		f := &steps[i]
		est, y := f.slope*s.cpu, f.bend*s.cpu
		v := est * (1 + y*(1./2+y*(1./6)))
		slack := seriesSlack*math.Abs(est*y*y*y) + f.slack
		if !(s.cpu <= f.reach) {
			if p.fits[i].curve == nil {
				v = math.NaN()
			} else {
				v = p.rise(c, int(i), s.cpu)
			}
			slack = 0
			if unranked(v) || v < -math.MaxFloat64 { // not known, or an exponential far beyond its fit
				if unknown < 0 {
					unknown = int(i)
				}
				low[k], high[k] = math.Inf(1), math.Inf(-1) // no candidate
				continue
			}
		}
		l, h := v-slack, v+slack
		low[k], high[k] = l, h
		if h < leastHigh {
			leastHigh = h
		}
		if l > mostLow {
			mostLow = l
		}
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for k, l := range low {
		if h := high[k]; h >= l && (l <= leastHigh || h >= mostLow) {
			v := p.rise(c, int(p.list[k]), s.cpu)
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	limit := lo + (hi-lo)*0.0101 // a little more than what scores 100
	for k, l := range low {
		if l > limit || high[k] < l {
			continue
		}
		i := int(p.list[k])
		v := p.rise(c, i, s.cpu)
		if v == v && peaksBest(v, lo, hi) {
			return i
		}
	}
	return unknown
}

// follow brings what is kept of the nodes up to date with the cluster.
func (p *peaks) follow(c *Cluster) {
	if p.cluster != c || len(p.steps) != c.Len() || c.touched.n-p.at > uint64(len(c.touched.last)) {
		p.cluster, p.at = c, c.touched.n
		p.steps = slices.Grow(p.steps[:0], c.Len())[:c.Len()]
		for i := range p.steps {
			p.look(c, i)
		}
		return
	}
	for ; p.at < c.touched.n; p.at++ {
		p.look(c, int(c.touched.last[p.at%uint64(len(c.touched.last))]))
	}
}

// look brings what is kept of a node up to date with its curve, size and use.
func (p *peaks) look(c *Cluster, i int) {
	f, t := &p.fits[i], &p.steps[i]
	if f.curve != c.curve[i] {
		p.fit(f, c, i)
	}
	*t = step{reach: -1} // its difference is never read off a series
	if f.curve == nil {
		return
	}
	level := f.model.K1 * math.Exp(f.model.K2*(100*c.use[i]/c.work[i]))
	bend := f.model.K2 * 100 / c.work[i] * c.speed[i]
	if slope := level * bend; !unranked(slope) && slope > -math.MaxFloat64 {
		*t = step{slope, bend, levelSlack * math.Abs(level), seriesEnd / math.Abs(bend)}
	}
}

// fit takes over a node's curve.
func (p *peaks) fit(f *fitted, c *Cluster, i int) {
	if f.curve = c.curve[i]; f.curve != nil {
		f.model = p.fitter.fit(f.curve)
	}
}

// rise is what a request adds to node i by its model.
func (p *peaks) rise(c *Cluster, i int, cores float64) float64 {
	x := 100 * c.use[i] / c.work[i]
	return p.fits[i].model.Rise(x, x+100*(cores*c.speed[i])/c.work[i])
}

// Exponential is PEAKS' power model over the CPU percent x: P(x) = K0 + K1·e^(K2·x) watts.
type Exponential struct{ K0, K1, K2 float64 }

// At returns the watts at a CPU percent.
func (e Exponential) At(x float64) float64 { return e.K0 + e.K1*math.Exp(e.K2*x) }

// Rise returns the watts added between two CPU percents.
func (e Exponential) Rise(from, to float64) float64 {
	return e.K1 * (math.Exp(e.K2*to) - math.Exp(e.K2*from))
}

// FitExponential fits PEAKS' model to a curve by least squares over 0, 10 … 100 %: K0 and K1 in closed form for
// each K2, and K2 by search between -0.2 and 0.2 per percent.
func FitExponential(c *power.Piecewise) Exponential {
	var f exponentialFit
	return f.fit(c)
}

const (
	fitPoints = 11
	fitGrid   = 200 // values of K2 on each side of 0
)

// exponentialFit fits many curves: what it searches first is the same for all. The zero value is ready.
type exponentialFit struct {
	// shapes holds for each K2 of the grid e^(K2·x) at the points, less its mean and of length 1. The best K2 is
	// the one whose shape has the largest part in the curve.
	shapes [][fitPoints]float64
}

func (f *exponentialFit) prepare() {
	f.shapes = make([][fitPoints]float64, 0, 2*fitGrid+1)
	for k := -fitGrid; k <= fitGrid; k++ {
		var z [fitPoints]float64
		var mean, square float64
		for x := range z {
			z[x] = math.Exp(float64(k) / 1000 * float64(10*x))
			mean += z[x] / fitPoints
		}
		for x := range z {
			z[x] -= mean
			square += z[x] * z[x]
		}
		for x := range z {
			if square > 0 { // at K2 = 0 there is no shape
				z[x] /= math.Sqrt(square)
			}
		}
		f.shapes = append(f.shapes, z)
	}
}

func (f *exponentialFit) fit(c *power.Piecewise) Exponential {
	if f.shapes == nil {
		f.prepare()
	}
	var w [fitPoints]float64
	for x := range w {
		w[x] = float64(c.At(float64(x) / 10))
	}
	most, at := -1.0, 0
	look := func(from, to, step int) {
		for k := max(from, 0); k <= min(to, 2*fitGrid); k += step {
			var part float64
			for x, z := range &f.shapes[k] {
				part += z * w[x]
			}
			if part *= part; part > most && k != fitGrid {
				most, at = part, k
			}
		}
	}
	look(1, 2*fitGrid, 4) // shapes change little over so small a step
	look(at-3, at+3, 1)
	best, least := fitAt(&w, float64(at-fitGrid)/1000)
	step := 0.0005
	for range 20 {
		for _, k2 := range []float64{best.K2 - step, best.K2 + step} {
			if e, s := fitAt(&w, k2); s < least && k2 != 0 {
				best, least = e, s
			}
		}
		step /= 2
	}
	return best
}

// fitAt returns the best model with a given K2 and its squared error.
func fitAt(w *[fitPoints]float64, k2 float64) (Exponential, float64) {
	const n = fitPoints
	var z [n]float64
	var sz, sw, szz, szw float64
	z[0] = 1
	for x, step := 0, math.Exp(10*k2); x < n; x++ { // one exponential for all
		if x > 0 {
			z[x] = z[x-1] * step
		}
		sz += z[x]
		sw += w[x]
		szz += z[x] * z[x]
		szw += z[x] * w[x]
	}
	d := n*szz - sz*sz
	if d == 0 {
		return Exponential{}, math.Inf(1)
	}
	e := Exponential{K1: (n*szw - sz*sw) / d, K2: k2}
	e.K0 = (sw - e.K1*sz) / n
	var sum float64
	for x := range z {
		r := e.K0 + e.K1*z[x] - w[x]
		sum += r * r
	}
	return e, sum
}
