// Package forecast foretells a grid signal, hour by hour, up to four days ahead, from its own past.
//
// Its main type is [Model], which is fed one value an hour and learns as it goes: a seasonal naive forecast, Holt–
// Winters smoothing, a ridge regression for each hour of the day and a small one for all of them, blended by how well each did lately, with intervals
// from the errors that the blend really made (conformal prediction).
package forecast

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// Horizon is how many hours ahead a model foretells.
	Horizon = 96

	day     = 24
	memory  = 28 * day // hours of the past that features look at
	issueBy = 13       // hours between the forecasts that a model makes to grade itself: coprime to 24
)

// ErrTooShort says that too little of the past is known for a forecast.
var ErrTooShort = errors.New("too little history")

// Options tune a [Model]. The zero value works.
type Options struct {
	// Additive forecasts values that may be negative, such as prices, by the inverse hyperbolic sine of their distance from the median of the
	// first month in units of its spread, instead of by their logarithm: a spike weighs little more than what is merely dear (Uniejewski, Weron and
	// Ziel, Variance Stabilizing Transformations for Electricity Spot Price Forecasting, IEEE Transactions on Power Systems 2018).
	Additive bool

	// MaxHistory bounds the hours that Values keeps for a restart; 0 means three years.
	MaxHistory int

	// Coverage is the share of values that intervals shall hold; 0 means 0.9.
	Coverage float64
}

// A Step is one hour of a forecast.
type Step struct {
	Start     time.Time
	Value     float64 // what comes is above it as often as below
	Mean      float64 // what comes in the mean, to plan by: never below Value, for a signal may rise further than it can fall
	Low, High float64 // the interval; both NaN while too few errors are known
}

// A Model forecasts one signal of one zone. It is not safe for concurrent use.
type Model struct {
	opts   Options
	start  time.Time // of the first value
	values []float64 // hourly, as observed or filled
	filled []filling
	y      []float64 // transformed
	center float64   // of additive values
	scale  float64   // of additive values; 0 while no month of them is known
	ridge  [day]*ridge
	pooled pooled
	smooth *holtWinters
	issued []issue
	grades [members]grade
	errors errorRing
}

// NewModel returns a model that has seen nothing.
func NewModel(o Options) *Model {
	if o.MaxHistory <= 0 {
		o.MaxHistory = 3 * 366 * day
	}
	o.MaxHistory = max(o.MaxHistory, memory+2*Horizon)
	if !(o.Coverage > 0 && o.Coverage < 1) {
		o.Coverage = 0.9
	}
	return &Model{opts: o, smooth: new(holtWinters)}
}

// A filling is how the value of an hour became known.
type filling uint8

const (
	observed filling = iota
	bridged          // between two hours that were observed and are near
	guessed          // never learned from
)

const (
	bridge  = 2 // hours
	forADay = 6 // hours, while no day of the past is known
)

// Observe feeds the value of the hour that starts at at. Hours must not go backwards. A gap of an hour or two is
// bridged by a line, since there are providers that lack an hour of each day; one of up to a week is filled with the same hour of the day before (while there is none,
// one of up to six hours with the last value), and such hours are never learned from; after a longer gap
// the model keeps what it learned and waits for new history.
func (m *Model) Observe(at time.Time, value float64) error {
	at = at.UTC()
	if !at.Equal(at.Truncate(time.Hour)) {
		return fmt.Errorf("observe %v: want the start of an hour", at)
	}
	if math.IsNaN(value) || math.IsInf(value, 0) || value < 0 && !m.opts.Additive {
		return fmt.Errorf("observe %v: value %v: want a finite number, not negative", at, value)
	}
	if len(m.values) == 0 {
		m.start = at
	}
	next := m.start.Add(time.Duration(len(m.values)) * time.Hour)
	gap := int(at.Sub(next) / time.Hour)
	switch {
	case gap < 0:
		return fmt.Errorf("observe %v: the hour before %v is known already", at, next)
	case gap > 7*day || gap > forADay && len(m.values) < day:
		m.start, m.values, m.filled, m.y, m.issued = at, nil, nil, nil, nil
		m.smooth = new(holtWinters)
		gap = 0
	}
	last := len(m.values) - 1
	for h := range gap {
		switch {
		case gap <= bridge:
			m.push(m.values[last]+(value-m.values[last])*float64(h+1)/float64(gap+1), bridged)
		case last+1 < day:
			m.push(m.values[last], guessed)
		default:
			m.push(m.values[len(m.values)-day], guessed)
		}
	}
	m.push(value, observed)
	return nil
}

// push appends one hour, learns from what it completes, and now and then makes a forecast to be graded.
func (m *Model) push(v float64, filled filling) {
	m.values, m.filled, m.y = append(m.values, v), append(m.filled, filled), append(m.y, m.forward(v))
	m.smooth.observe(m.y)
	m.settle()
	n := len(m.y)
	if t := n - Horizon; t >= memory && m.whole(t, n) {
		r := &m.ridge[m.hour(t)]
		if *r == nil {
			*r = newRidge()
		}
		(*r).learn(features(m.y, t, m.at(t)), m.y[t:n], m.y[t-day:t])
	}
	if t := n - Horizon; t >= leastDays*day && m.whole(t, n) {
		m.pooled.learn(m.y, t)
	}
	for len(m.issued) > 0 && m.issued[0].at+Horizon <= n {
		if is := m.issued[0]; m.whole(is.at, n) {
			m.grade(is)
		}
		m.issued = m.issued[1:]
	}
	if n >= memory && n%issueBy == 0 {
		if is, ok := m.issue(n); ok {
			m.issued = append(m.issued, is)
		}
	}
	m.trim()
}

// whole tells whether the hours from–until were all observed, or bridged.
func (m *Model) whole(from, until int) bool {
	return !slices.Contains(m.filled[from:until], guessed)
}

// trim forgets the oldest hours, a quarter of the limit at a time.
func (m *Model) trim() {
	drop := len(m.values) - m.opts.MaxHistory
	if drop < m.opts.MaxHistory/4 {
		return
	}
	drop -= drop % day // the season keeps its phase
	m.values = append([]float64(nil), m.values[drop:]...)
	m.filled = append([]filling(nil), m.filled[drop:]...)
	m.y = append([]float64(nil), m.y[drop:]...)
	m.start = m.at(drop)
	m.smooth.n -= drop
	for i := range m.issued {
		m.issued[i].at -= drop
	}
}

func (m *Model) at(t int) time.Time { return m.start.Add(time.Duration(t) * time.Hour) }

func (m *Model) hour(t int) int { return m.at(t).Hour() }

// settle finds the scale of additive values when a month of them is known: the median of what is observed lies from the median, in the standard
// deviations of a normal distribution. It holds for good, so that what was learned keeps its meaning.
func (m *Model) settle() {
	if !m.opts.Additive || m.scale > 0 || len(m.values) < memory {
		return
	}
	sorted := slices.Clone(m.values)
	slices.Sort(sorted)
	m.center = sorted[len(sorted)/2]
	for i, v := range sorted {
		sorted[i] = math.Abs(v - m.center)
	}
	slices.Sort(sorted)
	const normal = 1.4826 // standard deviations in a median absolute deviation
	m.scale = cmp.Or(normal*sorted[len(sorted)/2], sorted[len(sorted)-1], 1)
	m.smooth, m.pooled = new(holtWinters), pooled{} // what the regression learned was of another scale
	for n, v := range m.values {
		m.y[n] = m.forward(v)
		m.smooth.observe(m.y[:n+1])
	}
}

// forward maps a value to where it is forecast: the logarithm, so that errors are relative, as MAPE counts them.
// Below 1 g/kWh differences do not matter.
func (m *Model) forward(v float64) float64 {
	if m.opts.Additive {
		if m.scale > 0 {
			return math.Asinh((v - m.center) / m.scale)
		}
		return v
	}
	return math.Log(max(v, 1))
}

func (m *Model) backward(y float64) float64 {
	if m.opts.Additive {
		if m.scale > 0 {
			return m.center + m.scale*math.Sinh(min(max(y, -20), 20))
		}
		return y
	}
	return math.Exp(min(y, 20))
}

// spreads are by how much the mean of what comes exceeds its median, by stretch of the horizon: 1 where errors are not of logarithms, or too few.
func (m *Model) spreads() (s [Horizon / stretch]float64) {
	for i := range s {
		if s[i] = 1; !m.opts.Additive {
			s[i] = m.errors.spread(i)
		}
	}
	return s
}

// Next returns the start of the hour that a forecast begins with.
func (m *Model) Next() time.Time { return m.at(len(m.values)) }

// Values returns the hours that the model holds, oldest first, and the start of the first; NaN where one was missing. A
// model restarts by observing them again.
func (m *Model) Values() (start time.Time, values []float64) {
	values = append([]float64(nil), m.values...)
	for i, f := range m.filled {
		if f != observed {
			values[i] = math.NaN()
		}
	}
	return m.start, values
}

// mean is that of the hours observed in the last four weeks; NaN if there are none.
func (m *Model) mean() float64 {
	sum, n := 0.0, 0
	for i := max(0, len(m.values)-memory); i < len(m.values); i++ {
		if m.filled[i] == observed {
			sum, n = sum+m.values[i], n+1
		}
	}
	return sum / float64(n)
}

// Forecast returns the next hours, at most [Horizon], starting at Next. It needs a day of history for anything, and
// four weeks for more than the naive forecast; with less than a day it is an error that wraps [ErrTooShort].
func (m *Model) Forecast(hours int) ([]Step, error) {
	if hours < 1 || hours > Horizon {
		return nil, fmt.Errorf("forecast of %d hours: want 1 to %d", hours, Horizon)
	}
	n := len(m.y)
	if n < day {
		return nil, fmt.Errorf("%w: %d hours, want at least %d", ErrTooShort, n, day)
	}
	is, ok := m.issue(n)
	if !ok {
		is.blend = m.naive(n)
	}
	steps, spread := make([]Step, hours), m.spreads()
	var low, high float64
	for h := range steps {
		if h%stretch == 0 {
			low, high = m.errors.interval(h, m.opts.Coverage)
		}
		v := m.backward(is.blend[h])
		steps[h] = Step{Start: m.at(n + h), Value: v, Mean: v * spread[h/stretch], Low: m.backward(is.blend[h] + low), High: m.backward(is.blend[h] + high)}
	}
	return steps, nil
}
