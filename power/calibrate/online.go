package calibrate

import (
	"errors"
	"fmt"
	"math"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/prior"
)

const (
	points = prior.Points
	states = points + 1 // the curve and its response to the inlet temperature
	inlet  = points
)

// ReferenceInlet is the inlet temperature to which an [Online] brings its readings; a state without a
// temperature counts as this.
const ReferenceInlet power.Celsius = 25

// The response to the inlet temperature before it is known: the middle of the 0.35 to 0.5 % per °C that was
// measured between 23 and 30 °C (Coroamă, "Temperature Optimisation in Data Centres", arXiv:2509.26163,
// 2025), and a spread that reaches from fans that do not turn to twice that.
const (
	inletPerDegree   = 0.00425
	inletPerDegreeSD = 0.002
)

// OnlineOptions tune an [Online]. The zero value works.
type OnlineOptions struct {
	// Noise is the relative standard deviation of a reading to begin with; it is learned. 0 means 0.02.
	Noise float64

	// Forgetting is how much of the spread between servers a server may change by from one reading to
	// the next, as a share of its variance; 0 means 1e-5. At a reading every 15 s that forgets a curve
	// in about an hour.
	Forgetting float64

	// DriftShift is the least change of level that counts as drift; 0 means 0.015.
	DriftShift float64
}

func (o OnlineOptions) withDefaults() OnlineOptions {
	if !(o.Noise > 0) {
		o.Noise = 0.02
	}
	if !(o.Forgetting > 0) {
		o.Forgetting = 1e-5
	}
	if !(o.DriftShift > 0) {
		o.DriftShift = 0.015
	}
	return o
}

// An Event is what a reading showed beside the watts. Several may come together.
type Event uint8

// The events.
const (
	// Outlier says that the reading is further from the curve than noise explains; it counted for less.
	Outlier Event = 1 << iota
	// Stuck says that the watts have not moved for many readings though the load has: the sensor is
	// stuck, and the reading did not count.
	Stuck
	// Drift says that readings have moved away from the curve for good: another fan, firmware, a disk
	// more. What was learned is doubted from here on.
	Drift
)

// ErrReading says that a reading is not one: a utilization outside 0–1, watts that are not above 0.
var ErrReading = errors.New("invalid reading")

// Online learns the curve of one server from readings as they come. It starts from a belief and follows it by
// a Kalman filter over the logarithms of the watts at eleven loads and the response to the inlet
// temperature, with forgetting, with readings that are far off counting for less, and with the noise of
// the readings learned beside. Its memory does not grow. Observe does not allocate.
//
// An Online is not safe for concurrent use. The zero value is not valid: use [NewOnline].
type Online struct {
	opts  OnlineOptions
	start prior.Belief

	mean  [states]float64 // logarithms of watts, then the share of watts a °C costs
	cov   [states][states]float64
	watts [points]float64 // exp of mean

	drift [points][points]float64 // variance that one reading's time adds
	limit [points]float64         // of variance, up to which it is added
	prior [points]float64         // watts of start

	variance float64 // of a reading's logarithm
	readings int
	drifts   int
	warm     int // readings with an inlet temperature
	last     shift
	stuck    plateau
	score    duel
}

// NewOnline returns a learner that has seen no reading.
func NewOnline(start prior.Belief, o OnlineOptions) *Online {
	l := &Online{opts: o.withDefaults(), start: start}
	l.variance = l.opts.Noise * l.opts.Noise
	spread := 1.0
	if start.Spread > 0 {
		spread = start.Spread
	}
	for i := range points {
		l.mean[i] = start.Log[i]
		l.prior[i] = math.Exp(start.Log[i])
		for j := range points {
			l.cov[i][j] = start.Covariance[i][j] * spread * spread
		}
	}
	l.mean[inlet], l.cov[inlet][inlet] = inletPerDegree, inletPerDegreeSD*inletPerDegreeSD
	l.forgetful()
	l.exp()
	return l
}

// Servers change in level by a few percent, and in shape as much as they differ from each other.
const levelChange = 0.05

// forgetful prepares what a reading's time adds to the variance: the spread of shapes, which is what is
// left of the start's covariance when the mean level is known, and levelChange for the level.
func (l *Online) forgetful() {
	var row [points]float64
	total := 0.0
	for i := range row {
		for j := range row {
			row[i] += l.start.Covariance[i][j]
		}
		total += row[i]
	}
	for i := range row {
		for j := range row {
			shape := l.start.Covariance[i][j]
			if total > 0 {
				shape -= row[i] * row[j] / total
			}
			l.drift[i][j] = shape + levelChange*levelChange
		}
	}
	for i := range row {
		l.limit[i] = 2 * l.drift[i][i]
	}
}

func (l *Online) exp() {
	for i := range l.watts {
		l.watts[i] = math.Exp(l.mean[i])
	}
}

// weights returns the point k at or below a utilization, the watts there at the reference temperature, and how
// their logarithm changes with those of k and k+1.
func weights(watts *[points]float64, utilization float64) (k int, left, right, w float64) {
	x := utilization * (points - 1)
	k = min(int(x), points-2)
	t := x - float64(k)
	left, right = (1-t)*watts[k], t*watts[k+1]
	w = left + right
	return k, left / w, right / w, w
}

// The inlet temperatures at which servers work, in °C.
const coldest, warmest = 5, 50

// degrees returns the state's inlet temperature above the reference, kept to where servers work.
func degrees(s *power.State) float64 {
	if s.InletTemp == nil {
		return 0
	}
	t := float64(*s.InletTemp)
	if t != t {
		return 0
	}
	return min(max(t, coldest), warmest) - float64(ReferenceInlet)
}

// outlier is how many standard deviations a reading may be off before it counts for less: its variance is then
// taken to be as large as makes it so many. A wild reading hardly counts; a server unlike anything the start
// knew is still learned in a few readings, because each leaves more doubt than it would otherwise.
const outlier = 3

// Observe takes in the watts that the server drew in a state. An invalid reading changes nothing and is an
// error that wraps [ErrReading].
func (l *Online) Observe(s power.State, w power.Watts) (Event, error) {
	if u := s.Utilization; !(u >= 0 && u <= 1) || !(w > 0 && w < 1e9) {
		return 0, invalid(s, w)
	}
	k, hl, hr, at := weights(&l.watts, s.Utilization)
	ht := degrees(&s)
	var ph [states]float64
	for i := range ph {
		c := &l.cov[i]
		ph[i] = hl*c[k] + hr*c[k+1] + ht*c[inlet]
	}
	known := hl*ph[k] + hr*ph[k+1] + ht*ph[inlet]
	in := math.Log(float64(w)/at) - ht*l.mean[inlet]
	total := known + l.variance
	z := in / math.Sqrt(total)

	if l.stuck.seen(s.Utilization, w) {
		return Stuck, nil
	}
	var ev Event
	l.judge(&s, w, in)
	if z > outlier || z < -outlier {
		ev |= Outlier
		total = in * in / (outlier * outlier)
	}
	for i := range ph {
		gain := ph[i] / total
		l.mean[i] += gain * in
		row := &l.cov[i]
		for j := range i + 1 {
			row[j] -= gain * ph[j]
			l.cov[j][i] = row[j]
		}
	}
	l.learnNoise(in, known, z)
	l.readings++
	if s.InletTemp != nil {
		l.warm++
	}
	if l.readings%forgetEvery == 0 {
		l.forget(l.opts.Forgetting * forgetEvery)
	}
	if l.last.seen(z, in, l.opts.DriftShift) {
		ev |= Drift
		l.doubt()
	}
	l.exp()
	return ev, nil
}

func invalid(s power.State, w power.Watts) error {
	return fmt.Errorf("node %q: utilization %v, %v W: %w", s.Node, s.Utilization, float64(w), ErrReading)
}

// forgetEvery is how many readings pass between two additions of variance, which cost as much as a reading.
const forgetEvery = 8

// forget adds share of the variance of change, the less the nearer a point is to its limit. The product with
// a diagonal on both sides keeps the covariance positive.
func (l *Online) forget(share float64) {
	var d [points]float64
	for i := range d {
		if left := 1 - l.cov[i][i]/l.limit[i]; left > 0 {
			d[i] = math.Sqrt(share * left)
		}
	}
	for i := range d {
		for j := range i + 1 {
			l.cov[i][j] += d[i] * d[j] * l.drift[i][j]
			l.cov[j][i] = l.cov[i][j]
		}
	}
}

// learnNoise follows the variance of readings around the curve, slowly at first when the curve is not known
// yet, and never below a meter's resolution.
func (l *Online) learnNoise(in, known, z float64) {
	const rate, least, most = 1.0 / 100, 0.002, 0.2
	if z > outlier || z < -outlier {
		in = math.Copysign(outlier*math.Sqrt(known+l.variance), in)
	}
	sure := l.variance / (l.variance + known) // how far the reading tells of noise rather than of the curve
	l.variance += rate * sure * sure * (in*in - known - l.variance)
	l.variance = min(max(l.variance, least*least), most*most)
}

// doubt widens what was learned after a drift: shape as servers differ, level by 15 %.
func (l *Online) doubt() {
	l.drifts++
	const level = 0.15 * 0.15
	for i := range points {
		for j := range points {
			l.cov[i][j] += l.drift[i][j] + level
		}
	}
}

// Readings returns how many readings were taken in.
func (l *Online) Readings() int { return l.readings }

// Drifts returns how often a drift was seen.
func (l *Online) Drifts() int { return l.drifts }

// Noise returns the relative standard deviation of readings around the curve, as learned.
func (l *Online) Noise() float64 { return math.Sqrt(l.variance) }
