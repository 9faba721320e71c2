package batch

import (
	"math"
	"slices"
	"time"
)

// wao is MinimizePower of WAO-Scheduler v2 as published: the difference of watts is cut to an integer; the lowest
// scores 100, the highest 20, linear in integers; all equal score 20; a utilization above capacity scores 1 and a model that
// fails 0. The highest score wins, then the earlier name. What a pod adds is its request. A switched-off server counts as an idle one: WAO does not know of it, and
// compares the curve at two utilizations.
type wao struct {
	repeated
	fits  []int32 // nodes
	watts []int64 // that each adds
}

func newWAO() *wao { return &wao{repeated: repeated{cost: waoCost, high: true, more: true}} }

// Costs of a node whose utilization would be above its capacity, and of one whose model fails.
const (
	waoFull    = 2 * unknownCost
	waoNoModel = 3 * unknownCost
)

// waoCost is the watts that a request adds, cut to an integer.
func waoCost(c *Cluster, j *Job, i int) float64 {
	d := j.Requests.CPU * c.speed[i]
	switch {
	case c.curve[i] == nil:
		return waoNoModel
	case !(c.use[i]+d <= c.work[i]*(1+1e-9)):
		return waoFull
	}
	return float64(int64(c.riseOf(&c.curveAt[i], c.curve[i], i, d)))
}

// How near to a whole number of watts, and from how many on, a sum in another order may be cut to another number.
const (
	waoSlack = 1e-6
	waoExact = 1e6
)

// waoOut stands for a node that is not compared.
const waoOut = math.MaxInt64

// waoBest returns the most added watts that still score as high as the least do.
func waoBest(lo, hi int64) int64 {
	if lo == hi {
		return hi
	}
	return lo + (hi-lo-1)/80 // 80·(watts−lo)/(hi−lo) is cut to 0 up to here
}

func (w *wao) choose(j *Job, _ time.Duration, c *Cluster) int {
	if t := w.ranking(j, c); t != nil {
		i, least := t.best()
		if least >= unknownCost {
			return i
		}
		most := waoBest(int64(least), int64(t.high[1]))
		return t.first(func(v float64) bool { return v < unknownCost && int64(v) <= most })
	}
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	s := c.scan(j)
	w.fits = c.fitting(&s, j, w.fits)
	w.watts = slices.Grow(w.watts[:0], len(w.fits))[:len(w.fits)]
	watts, at, use, work, curve, speed := w.watts, c.curveAt, c.use, c.work, c.curve, c.speed
	over, failed := -1, -1 // the first of each
	for k, i := range w.fits {
		d := s.cpu * speed[i]
		// Along two segments of the curve, without asking it, where rounding does not decide.
		if a := &at[i]; d <= a.reach {
			beyond := d - a.room
			beyond = (beyond + math.Abs(beyond)) / 2
			e := a.slope*(d-beyond) + a.next*beyond
			v := int64(e)
			if part := e - float64(v); part > waoSlack && part < 1-waoSlack && e < waoExact {
				watts[k] = v
				lo, hi = min(lo, v), max(hi, v)
				continue
			}
		}
		watts[k] = waoOut
		if curve[i] == nil {
			if failed < 0 {
				failed = int(i)
			}
			continue
		}
		if !(use[i]+d <= work[i]*(1+1e-9)) {
			if over < 0 {
				over = int(i)
			}
			continue
		}
		var v int64
		if a := &at[i]; d <= a.room {
			v = int64(a.slope * d)
		} else {
			v = int64(c.riseOf(a, curve[i], int(i), d))
		}
		watts[k] = v
		lo, hi = min(lo, v), max(hi, v)
	}
	if lo > hi { // nobody's watts are known
		if over < 0 {
			return failed
		}
		return over
	}
	most := waoBest(lo, hi)
	return int(w.fits[slices.IndexFunc(watts, func(v int64) bool { return v <= most })])
}
