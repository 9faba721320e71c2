package exposition

import (
	"sync"
	"time"
)

// Rates turns counters into rates per second. The zero value works and is safe for concurrent use.
type Rates struct {
	mu   sync.Mutex
	last map[string]point // guarded by mu
}

type point struct {
	value float64
	at    time.Time
	rate  float64 // of the interval that ended at rated
	rated time.Time
}

const (
	// minInterval is the shortest interval of a rate: exporters update their counters about once a second,
	// and a shorter interval holds either one update too many or none.
	minInterval = 2 * time.Second
	// maxInterval is the longest: a mean over more says nothing of now.
	maxInterval = 5 * time.Minute
)

// Per returns the rate of a counter up to when it was read, and the end of the interval. There is none at
// the first sample, after a reset (the counter fell), and after a gap of five minutes. Within two seconds of
// the last sample the last rate is repeated, with its own time.
func (r *Rates) Per(key string, value float64, at time.Time) (rate float64, end time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, known := r.last[key]
	span := at.Sub(p.at)
	switch {
	case !known || value < p.value || span > maxInterval || span < -maxInterval:
		p = point{value: value, at: at}
	case span < minInterval: // also when two answers overtook each other
		return p.rate, p.rated, !p.rated.IsZero()
	default:
		p = point{value: value, at: at, rate: (value - p.value) / span.Seconds(), rated: at}
	}
	if r.last == nil {
		r.last = make(map[string]point)
	}
	if !known && len(r.last) >= maxSeries {
		for k, old := range r.last { // of series that are gone
			if at.Sub(old.at) > maxInterval {
				delete(r.last, k)
			}
		}
		if len(r.last) >= maxSeries {
			return 0, at, false
		}
	}
	r.last[key] = p
	return p.rate, p.rated, !p.rated.IsZero()
}

// maxSeries bounds how many counters are remembered.
const maxSeries = 100_000
