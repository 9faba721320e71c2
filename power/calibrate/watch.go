package calibrate

import (
	"math"

	"github.com/leastwatt/leastwatt/power"
)

// A shift watches for a change of level by cumulative sums of the standardised errors, one to each side (Page,
// Biometrika 41, 1954).
type shift struct {
	Up, Down       float64 // the sums
	UpSum, DownSum float64 // relative errors since the sum last left zero
	UpN, DownN     int
	Size           float64 // of the last shift found, relative
}

// slack is half the change to find, alarm the sum at which it counts, in standard deviations of a reading.
const (
	slack = 0.5
	alarm = 12
)

// seen takes in one error, as z and as a share of the watts, and tells whether the level has shifted by at
// least a share.
func (c *shift) seen(z, relative, least float64) bool {
	z = min(max(z, -outlier), outlier)
	if c.Up += z - slack; c.Up <= 0 {
		c.Up, c.UpSum, c.UpN = 0, 0, 0
	} else {
		c.UpSum, c.UpN = c.UpSum+relative, c.UpN+1
	}
	if c.Down += -z - slack; c.Down <= 0 {
		c.Down, c.DownSum, c.DownN = 0, 0, 0
	} else {
		c.DownSum, c.DownN = c.DownSum+relative, c.DownN+1
	}
	size := 0.0
	switch {
	case c.Up > alarm:
		size = c.UpSum / float64(c.UpN)
	case c.Down > alarm:
		size = c.DownSum / float64(c.DownN)
	default:
		return false
	}
	*c = shift{Size: c.Size}
	if math.Abs(size) < least {
		return false
	}
	c.Size = size
	return true
}

// A plateau watches for a sensor that repeats itself.
type plateau struct {
	Watts     power.Watts
	Low, High float64 // utilizations at which it said so
	Count     int
}

// A sensor is stuck when it gives one figure for stuckCount readings whose load spans stuckSpan. Real
// sensors in whole watts repeat a figure at the same load, but not over a fifth of the range.
const (
	stuckCount = 8
	stuckSpan  = 0.2
)

func (p *plateau) seen(utilization float64, w power.Watts) bool {
	if w != p.Watts {
		*p = plateau{Watts: w, Low: utilization, High: utilization, Count: 1}
		return false
	}
	p.Count++
	p.Low, p.High = min(p.Low, utilization), max(p.High, utilization)
	return p.Count >= stuckCount && p.High-p.Low >= stuckSpan
}

// A duel compares the errors of the learned curve and of the prior on readings that neither has seen.
type duel struct {
	Learned, Prior float64 // moving means of absolute relative errors
	Count          int
}

// The duel is remembered over about duelMemory readings, and decided after duelLeast.
const (
	duelMemory = 100
	duelLeast  = 10
)

func (d *duel) seen(learned, prior float64) {
	d.Count++
	rate := 1 / float64(min(d.Count, duelMemory))
	d.Learned += rate * (math.Abs(learned) - d.Learned)
	d.Prior += rate * (math.Abs(prior) - d.Prior)
}

func (d *duel) lost() bool { return d.Count >= duelLeast && d.Learned > d.Prior }

// judge enters a reading into the duel before it is learned from.
func (l *Online) judge(s *power.State, w power.Watts, learned float64) {
	_, _, _, at := weights(&l.prior, s.Utilization)
	l.score.seen(learned, math.Log(float64(w)/at)-degrees(s)*inletPerDegree)
}
