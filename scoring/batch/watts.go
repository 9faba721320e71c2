package batch

import (
	"context"
	"math"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// added returns the watts that a job adds to node i now: with a node that is off, from its off power. It
// is NaN where the node's model is not known.
func (c *Cluster) added(i int, cores float64) float64 {
	p := c.curve[i]
	if p == nil {
		return math.NaN()
	}
	if c.switchOff && c.jobs[i] == 0 {
		return float64(p.At((c.use[i]+cores)/c.work[i]) - c.nodes[i].OffPower)
	}
	return c.riseOf(&c.curveAt[i], p, i, cores)
}

// rise is added without the watts of switching on: what the published formulas see, which compare the
// curve at two utilizations.
func (c *Cluster) rise(i int, cores float64) float64 {
	p := c.curve[i]
	if p == nil {
		return math.NaN()
	}
	return c.riseOf(&c.curveAt[i], p, i, cores)
}

// energyAware takes the node where the job adds the fewest watts now, the watts of an idle server that must be
// switched on included.
type energyAware struct{}

func (energyAware) choose(j *Job, _ time.Duration, c *Cluster) int {
	return least(c, j, func(i int) float64 { return c.added(i, j.Demand.CPU) })
}

// wao is MinimizePower of WAO-Scheduler v2 as published: the difference of watts is cut to an integer; the lowest
// scores 100, the highest 20, linear in integers; all equal score 20; a utilization above capacity scores 1 and a model that
// fails 0. The highest score wins. A switched-off server counts as an idle one: WAO does not know of it.
type wao struct{ score []int64 }

func (w *wao) choose(j *Job, _ time.Duration, c *Cluster) int {
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	w.score = w.score[:0]
	for i := range c.nodes {
		s := int64(math.MinInt64) // does not fit
		if c.Fits(i, j) {
			s = waoFailed
			if p := c.curve[i]; p != nil {
				s = waoOver
				if c.use[i]+j.Demand.CPU <= c.work[i]*(1+1e-9) {
					s = int64(c.rise(i, j.Demand.CPU))
					lo, hi = min(lo, s), max(hi, s)
				}
			}
		}
		w.score = append(w.score, s)
	}
	best, at := int64(-1), -1
	for i, s := range w.score {
		if s == math.MinInt64 {
			continue
		}
		if n := waoNormalize(s, lo, hi); n > best {
			best, at = n, i
		}
	}
	return at
}

const (
	waoFailed = math.MinInt64 + 1 + iota
	waoOver
)

// waoNormalize maps integer watts to WAO's scores: [0, 50, 100] gives [100, 60, 20].
func waoNormalize(watts, lo, hi int64) int64 {
	switch {
	case watts == waoFailed:
		return 0
	case watts == waoOver:
		return 1
	case lo == hi:
		return 20
	}
	return 100 - 80*(watts-lo)/(hi-lo)
}

// peaks is PEAKS of the Kubernetes scheduler-plugins: P(x) = K0 + K1·e^(K2·x) over the CPU percent x, fitted to each node's
// curve, and the lowest difference wins. Its scores 100 − 100·(cost−min)/(max−min) are integers; the earlier name wins a tie.
// Where PEAKS fails it returns cost 0, which then wins; that case is left out here: such a node comes last.
type peaks struct {
	fits []fitted // of each node
	cost []float64
}

type fitted struct {
	curve *power.Piecewise
	model Exponential
}

func (p *peaks) choose(j *Job, _ time.Duration, c *Cluster) int {
	if len(p.fits) != c.Len() {
		p.fits = make([]fitted, c.Len())
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	p.cost = p.cost[:0]
	unknown := -1
	for i := range c.nodes {
		v := math.NaN()
		if c.Fits(i, j) {
			if curve := c.curve[i]; curve == nil {
				unknown = i
			} else {
				if p.fits[i].curve != curve {
					p.fits[i] = fitted{curve, FitExponential(curve)}
				}
				e := &p.fits[i].model
				x := 100 * c.use[i] / c.work[i]
				v = e.Rise(x, x+100*j.Demand.CPU/c.work[i])
				lo, hi = min(lo, v), max(hi, v)
			}
		}
		p.cost = append(p.cost, v)
	}
	best, at := math.Inf(-1), unknown
	for i, v := range p.cost {
		if v != v {
			continue
		}
		s := 100.0
		if hi > lo {
			s = 100 - math.Trunc(100*(v-lo)/(hi-lo))
		}
		if s > best {
			best, at = s, i
		}
	}
	return at
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
	fit := func(k2 float64) (Exponential, float64) {
		const n = 11
		var sz, sw, szz, szw float64
		for x := range n {
			z, w := math.Exp(k2*float64(10*x)), float64(c.At(float64(x)/10))
			sz += z
			sw += w
			szz += z * z
			szw += z * w
		}
		d := n*szz - sz*sz
		if d == 0 {
			return Exponential{}, math.Inf(1)
		}
		e := Exponential{K1: (n*szw - sz*sw) / d, K2: k2}
		e.K0 = (sw - e.K1*sz) / n
		var sum float64
		for x := range n {
			r := e.At(float64(10*x)) - float64(c.At(float64(x)/10))
			sum += r * r
		}
		return e, sum
	}
	best, least := Exponential{}, math.Inf(1)
	for k := -200; k <= 200; k++ {
		if k == 0 {
			continue
		}
		if e, s := fit(float64(k) / 1000); s < least {
			best, least = e, s
		}
	}
	step := 0.0005
	for range 20 {
		for _, k2 := range []float64{best.K2 - step, best.K2 + step} {
			if e, s := fit(k2); s < least && k2 != 0 {
				best, least = e, s
			}
		}
		step /= 2
	}
	return best
}

// FromScorer makes a strategy of any scorer: the jobs one by one, each to the node with the best cost.
func FromScorer(name string, s scoring.Scorer) Strategy {
	return &scored{name: name, scorer: s}
}

type scored struct {
	name   string
	scorer scoring.Scorer
	nodes  []scoring.Node
	at     []int
	costs  []scoring.Cost
}

func (s *scored) Name() string { return s.name }

func (s *scored) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	var p Plan
	for _, k := range queue(jobs, &p) {
		j := &jobs[k]
		s.nodes, s.at = s.nodes[:0], s.at[:0]
		for i := range c.nodes {
			if !c.Fits(i, j) {
				continue
			}
			n := c.nodes[i].Node
			if c.work[i] > 0 {
				n.State.Utilization = c.use[i] / c.work[i]
			}
			if c.curve[i] != nil {
				n.Predictor = c.curve[i]
			}
			n.Off = c.switchOff && c.jobs[i] == 0
			s.nodes, s.at = append(s.nodes, n), append(s.at, i)
		}
		if len(s.nodes) == 0 {
			p.wait(c, jobs, k)
			continue
		}
		var err error
		s.costs, err = scoring.AppendScore(ctx, s.scorer, s.costs[:0], j.Demand, s.nodes)
		if err != nil {
			return p, err
		}
		best := 0 // nothing known: any node that fits
		if b := scoring.Best(s.costs); b >= 0 {
			best = b
		}
		p.place(c, now, jobs, k, s.at[best])
	}
	return p, nil
}
