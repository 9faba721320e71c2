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
	fits  []int32   // nodes
	watts []float64 // that each adds, nearly, or what wholeWatts makes of the whole number
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
	s := c.scan(j)
	w.fits = c.fitting(&s, j, w.fits)
	w.watts = slices.Grow(w.watts[:0], len(w.fits))[:len(w.fits)]
	watts, at, speed := w.watts, c.curveAt, c.speed
	low, high := math.Inf(1), math.Inf(-1)
	over, failed := -1, -1 // the first of each
	for k, i := range w.fits {
		d, e := s.cpu*speed[i], 0.0
		if a := &at[i]; d <= a.reach { // along two segments of the curve, without asking it
			beyond := d - a.room
			beyond = (beyond + math.Abs(beyond)) / 2
			if e = a.slope*(d-beyond) + a.next*beyond; !(e >= 0 && e < waoExact) {
				e = wholeWatts(waoCost(c, j, int(i)))
			}
		} else if v := waoCost(c, j, int(i)); v < unknownCost {
			e = wholeWatts(v)
		} else {
			if v == waoFull && over < 0 {
				over = int(i)
			}
			if v == waoNoModel && failed < 0 {
				failed = int(i)
			}
			watts[k] = math.Inf(1)
			continue
		}
		if watts[k] = e; e < low {
			low = e
		}
		if e > high {
			high = e
		}
	}
	if low > high { // nobody's watts are known
		if over < 0 {
			return failed
		}
		return over
	}
	for unsure(low) {
		w.ask(j, c, low)
		low = slices.Min(watts)
	}
	for unsure(high) {
		w.ask(j, c, high)
		high = math.Inf(-1)
		for _, v := range watts {
			if v > high && !math.IsInf(v, 1) {
				high = v
			}
		}
	}
	most := float64(waoBest(int64(math.Floor(low)), int64(math.Floor(high))))
	for k, v := range watts {
		if v < most+1-waoSlack || v < most+1+waoSlack && waoCost(c, j, int(w.fits[k])) <= most {
			return int(w.fits[k])
		}
	}
	return -1 // not reached: the lowest is among them
}

// waoSlack is more than what a sum in another order may differ by below waoExact.
const (
	waoSlack = 1e-6
	waoExact = 1e6
)

// unsure tells whether watts are so near to a whole number that rounding decides to which they are cut.
func unsure(v float64) bool {
	part := v - math.Floor(v)
	return v >= 0 && v < waoExact && !(part > waoSlack && part < 1-waoSlack)
}

// wholeWatts stands for a whole number of watts that is known.
func wholeWatts(v float64) float64 { return v + 0.5 }

// ask finds the whole watts of all nodes that seem to add so many.
func (w *wao) ask(j *Job, c *Cluster, about float64) {
	for k, v := range w.watts {
		if math.Abs(v-about) <= 2*waoSlack {
			w.watts[k] = wholeWatts(waoCost(c, j, int(w.fits[k])))
		}
	}
}
