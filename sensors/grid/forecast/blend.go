package forecast

import (
	"math"
	"slices"
)

// An issue is a forecast that a model made at hour at, to be graded when its hours have passed.
type issue struct {
	at    int
	paths [members]path
	blend path
}

// blocks is how many stretches of a day the horizon has; members are weighted by stretch.
const blocks = Horizon / day

// A grade is a member's recent mean absolute error, by stretch.
type grade struct{ sum, weight [blocks]float64 }

const recent = 1 - 1.0/60 // an issue; about a month of them

func (m *Model) issue(n int) (issue, bool) {
	if n < memory {
		return issue{}, false
	}
	is := issue{at: n}
	is.paths[naiveMember] = m.naive(n)
	is.paths[smoothMember] = m.smooth.forecast()
	ok := false
	is.paths[ridgeMember], ok = m.ridge[m.hour(n)].forecast(features(m.y, n, m.at(n)), is.paths[naiveMember])
	if !ok {
		is.paths[ridgeMember] = is.paths[naiveMember]
	}
	if is.paths[pooledMember], ok = m.pooled.forecast(m.y, n); !ok {
		is.paths[pooledMember] = is.paths[naiveMember]
	}
	for b := range blocks {
		w := m.weights(b)
		for h := b * day; h < (b+1)*day; h++ {
			for k := range members {
				is.blend[h] += w[k] * is.paths[k][h]
			}
		}
	}
	return is, true
}

// weights gives each member a share by the inverse fourth power of its recent error, so that a clearly worse one hardly
// counts.
func (m *Model) weights(block int) (w [members]float64) {
	total := 0.0
	for k := range w {
		g := &m.grades[k]
		w[k] = 1
		if g.weight[block] > 0 {
			w[k] = math.Pow(g.sum[block]/g.weight[block]+1e-9, -4)
		} else if k != naiveMember {
			w[k] = 0 // until it has shown what it can
		}
		total += w[k]
	}
	for k := range w {
		w[k] /= total
	}
	return w
}

func (m *Model) grade(is issue) {
	actual := m.y[is.at : is.at+Horizon]
	for k := range members {
		g := &m.grades[k]
		for b := range blocks {
			sum := 0.0
			for h := b * day; h < (b+1)*day; h++ {
				sum += math.Abs(actual[h] - is.paths[k][h])
			}
			g.sum[b] = recent*g.sum[b] + sum/day
			g.weight[b] = recent*g.weight[b] + 1
		}
	}
	var errs path
	for h, a := range actual {
		errs[h] = a - is.blend[h]
	}
	m.errors.adapt(&errs, m.opts.Coverage)
	for h, e := range errs {
		m.errors.add(h, e)
	}
}

// errorRing keeps the blend's last errors by stretch of the horizon, for intervals.
type errorRing struct {
	errs  [Horizon / stretch][]float64
	next  [Horizon / stretch]int
	wider [Horizon / stretch]float64 // what is added to the share asked for: see adapt
}

const (
	stretch  = 3   // hours that share their errors
	keepErrs = 360 // errors a stretch: 120 issues, or 65 days
	fewErrs  = 60
)

// adapt makes intervals a little wider when an error lay outside, and narrower when it lay inside, so that in the long run as many lie inside as shall,
// also while grids change (adaptive conformal inference, Gibbs and Candès 2021).
func (r *errorRing) adapt(errs *path, share float64) {
	const step = 0.002
	for s := range r.wider {
		first, last, ok := r.ranks(s, share)
		if !ok {
			continue
		}
		w := &r.wider[s]
		for _, e := range errs[s*stretch : (s+1)*stretch] {
			if r.within(s, first, last, e) {
				*w -= step * (1 - share)
			} else {
				*w += step * share
			}
		}
		*w = min(max(*w, -(1-share)/2), (1-share)*0.9)
	}
}

func (r *errorRing) add(h int, e float64) {
	s := h / stretch
	if len(r.errs[s]) < keepErrs {
		r.errs[s] = append(r.errs[s], e)
		return
	}
	r.errs[s][r.next[s]] = e
	r.next[s] = (r.next[s] + 1) % keepErrs
}

// interval returns the quantiles of the errors h hours ahead between which a share lies, with the finite-sample
// correction of conformal prediction (Vovk et al. 2005); NaN while there are too few.
func (r *errorRing) interval(h int, share float64) (low, high float64) {
	first, last, ok := r.ranks(h/stretch, share)
	if !ok {
		return math.NaN(), math.NaN()
	}
	sorted := slices.Clone(r.errs[h/stretch])
	slices.Sort(sorted)
	return sorted[first], sorted[last]
}

// ranks tells which of a stretch's errors, by size, are the ends of the interval; false while there are too few.
func (r *errorRing) ranks(stretch int, share float64) (first, last int, ok bool) {
	n := len(r.errs[stretch])
	if n < fewErrs {
		return 0, 0, false
	}
	tail := (1 - share - r.wider[stretch]) / 2
	lo := int(math.Floor(tail*float64(n+1))) - 1
	return max(lo, 0), min(n-1-lo, n-1), true
}

// within tells whether an error lies between those of two ranks, both included, without the errors' being sorted.
func (r *errorRing) within(stretch, first, last int, e float64) bool {
	below, upTo := 0, 0
	for _, x := range r.errs[stretch] {
		if x < e {
			below++
		}
		if x <= e {
			upTo++
		}
	}
	return upTo > first && below <= last
}

// spread is the mean of the exponentials of a stretch's errors over the exponential of their mean: what a mean exceeds a median by where logarithms are
// forecast, without supposing how errors are distributed (smearing, Duan 1983). The mean error is left out: what drifted lately says little of what will.
func (r *errorRing) spread(stretch int) float64 {
	errs := r.errs[stretch]
	if len(errs) < fewErrs {
		return 1
	}
	sum, exp := 0.0, 0.0
	for _, e := range errs {
		sum, exp = sum+e, exp+math.Exp(e)
	}
	n := float64(len(errs))
	return exp / n / math.Exp(sum/n)
}
