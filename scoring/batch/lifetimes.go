package batch

import (
	"math"
	"time"
)

// Lifetimes predicts how long jobs run from those that have ended, by class. The zero value knows nothing and predicts 0
// (unknown). It keeps a histogram of the logarithm of the lifetimes for each class and one of
// all, so that a job that has run for long is expected to run for longer. It is not safe for concurrent use.
type Lifetimes struct {
	all     histogram
	classes map[string]*histogram
}

// Lifetimes are counted in bins a quarter of an octave wide from one second to 2^27 s (four years).
const (
	lifeBins   = 27*4 + 1
	lifePrior  = 8    // a class counts fully beside the whole from about this many jobs on
	maxClasses = 4096 // more classes than this share the histogram of all
)

type histogram struct {
	n     [lifeBins]float64
	sum   [lifeBins]float64 // seconds
	all   float64
	fresh float64 // counted since the tails were summed up
	// tails of n and sum from each bin on, for constant-time answers
	nFrom, sumFrom [lifeBins + 1]float64
}

func lifeBin(seconds float64) int {
	if !(seconds > 1) {
		return 0
	}
	return min(lifeBins-1, int(4*math.Log2(seconds)))
}

func (h *histogram) add(seconds float64) {
	k := lifeBin(seconds)
	h.n[k]++
	h.sum[k] += seconds
	h.all++
	// The tails may lag by one part in 64.
	if h.fresh++; h.fresh*64 >= h.all {
		h.fresh = 0
		for b := lifeBins - 1; b >= 0; b-- {
			h.nFrom[b] = h.nFrom[b+1] + h.n[b]
			h.sumFrom[b] = h.sumFrom[b+1] + h.sum[b]
		}
	}
}

// beyond returns the number and the sum of the lifetimes of jobs that outlived an age.
func (h *histogram) beyond(age float64) (n, sum float64) {
	k := lifeBin(age)
	if age <= 1 {
		return h.nFrom[k], h.sumFrom[k]
	}
	// Of the bin that holds the age, half is taken to be beyond it.
	half := (h.nFrom[k] - h.nFrom[k+1]) / 2
	return h.nFrom[k+1] + half, h.sumFrom[k+1] + max((h.sumFrom[k]-h.sumFrom[k+1])/2, half*age)
}

// Observe counts a job that ended after running for so long.
func (l *Lifetimes) Observe(class string, ran time.Duration) {
	s := ran.Seconds()
	if s < 0 {
		return
	}
	l.all.add(s)
	if l.classes == nil {
		l.classes = make(map[string]*histogram)
	}
	h := l.classes[class]
	if h == nil {
		if len(l.classes) >= maxClasses {
			return
		}
		h = new(histogram)
		l.classes[class] = h
	}
	h.add(s)
}

// Remaining returns how much longer a job of a class is expected to run that has run for age: the mean over those that
// outlived it. It is 0 where nothing is known. Beyond every lifetime seen it expects as much again
// as the job has run, as for a heavy tail.
func (l *Lifetimes) Remaining(class string, age time.Duration) time.Duration {
	a := age.Seconds()
	n, sum := l.all.beyond(a)
	if l.all.all == 0 {
		return 0
	}
	if h := l.classes[class]; h != nil {
		m, s := h.beyond(a)
		w := 0.0
		if n > 0 {
			w = lifePrior / n
		}
		n, sum = m+w*n, s+w*sum
	}
	if n <= 0 {
		return age
	}
	rest := max(sum/n-a, 1)
	return time.Duration(min(rest, 1e9) * float64(time.Second))
}
