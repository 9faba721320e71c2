// Package rate turns counters into rates: joules into watts, seconds into cores. Its main type is [Meter].
package rate

import (
	"sync"
	"time"
)

// Window is the shortest time that a rate is taken over: counters tick, and a rate over less is noise.
const Window = time.Second

// A Meter keeps what counters read before. The zero value is ready, and safe for concurrent use.
type Meter struct {
	mu       sync.Mutex
	counters map[string]counter // guarded by mu
}

type counter struct {
	value float64
	at    time.Time
	rate  float64   // of the last window
	until time.Time // the end of that window; zero: no rate yet
}

// Rate takes a counter's value and returns how much it grew a second, and when that was measured: the end
// of the window. It has none for the first value, nor for the first after a reset, where a value is less
// than the one before. Values that come sooner than a [Window] apart give the last rate again.
func (m *Meter) Rate(key string, value float64, at time.Time) (perSecond float64, until time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, known := m.counters[key]
	switch elapsed := at.Sub(c.at); {
	case !known || value < c.value && elapsed >= 0:
		c = counter{value: value, at: at}
	case elapsed >= Window:
		c = counter{value: value, at: at, rate: (value - c.value) / elapsed.Seconds(), until: at}
	}
	if m.counters == nil {
		m.counters = make(map[string]counter)
	}
	m.counters[key] = c
	return c.rate, c.until, !c.until.IsZero()
}
