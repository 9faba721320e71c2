package sensors

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// A Check says which values of a kind are to be believed. The zero value believes all that are [Possible].
type Check struct {
	Min, Max *float64 // nil: no bound

	// MaxPerSecond bounds the change from one measurement to the next, up and down; 0 means any. A change
	// that stays for Settle measurements is believed after all: it was no spike.
	MaxPerSecond float64
	Settle       int // 0 means 3

	// StuckAfter is for how long the very same value is believed; 0 means for ever. Mind that a server that
	// rests gives the same whole watts for hours.
	StuckAfter time.Duration
}

// Plausible returns a source whose readings have passed the checks, by kind. One that has not is an error of
// its kind that wraps [ErrImplausible] and says why. It is a [BatchSource] if the source is.
func Plausible(s SensorSource, checks map[Kind]Check) SensorSource {
	p := &plausible{checks: checks, last: make(map[nodeKind]*history)}
	return through(s, func(node string, readings []Reading, err error) ([]Reading, error) {
		kept, errs := readings[:0], Errors(err)
		for _, r := range readings {
			if err := p.judge(node, r); err != nil {
				errs = append(errs, &Error{Source: r.Source, Node: node, Kind: r.Kind, Err: err})
			} else {
				kept = append(kept, r)
			}
		}
		return kept, joinKnown(errs, len(kept) > 0)
	})
}

type nodeKind struct {
	node string
	kind Kind
}

type plausible struct {
	checks map[Kind]Check

	mu   sync.Mutex
	last map[nodeKind]*history // guarded by mu
}

// history is what was measured before.
type history struct {
	good   Reading   // the last that was believed
	latest Reading   // the last of all
	since  time.Time // when the sensor began to give the latest value
	odd    int       // measurements in a row that were no plausible step from the last good one
}

func (p *plausible) judge(node string, r Reading) error {
	if err := Possible(r.Kind, r.Value); err != nil {
		return err
	}
	c, ok := p.checks[r.Kind]
	switch {
	case !ok:
		return nil
	case c.Min != nil && r.Value < *c.Min:
		return fmt.Errorf("%w: %v is less than %v", ErrImplausible, r.Value, *c.Min)
	case c.Max != nil && r.Value > *c.Max:
		return fmt.Errorf("%w: %v is more than %v", ErrImplausible, r.Value, *c.Max)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := nodeKind{node, r.Kind}
	h := p.last[key]
	if h == nil {
		if len(p.last) >= maxRemembered { // nodes come and go
			maps.DeleteFunc(p.last, func(_ nodeKind, old *history) bool { return r.At.Sub(old.latest.At) > time.Hour })
		}
		p.last[key] = &history{good: r, latest: r, since: r.At}
		return nil
	}
	if r.Value != h.latest.Value {
		h.since = r.At
	}
	again := !r.At.After(h.latest.At) // the same measurement, read once more
	h.latest = r
	if held := r.At.Sub(h.since); c.StuckAfter > 0 && held > c.StuckAfter {
		return fmt.Errorf("%w: stuck at %v for %v", ErrImplausible, r.Value, held.Round(time.Second))
	}
	if err := h.step(c, r, again); err != nil {
		return err
	}
	h.good, h.odd = r, 0
	return nil
}

func (h *history) step(c Check, r Reading, again bool) error {
	change, seconds := r.Value-h.good.Value, r.At.Sub(h.good.At).Seconds()
	if c.MaxPerSecond <= 0 || max(change, -change) <= c.MaxPerSecond*max(seconds, 1) {
		return nil
	}
	if !again {
		h.odd++
	}
	settle := c.Settle
	if settle <= 0 {
		settle = 3
	}
	if h.odd >= settle {
		return nil
	}
	return fmt.Errorf("%w: a jump from %v to %v within %.0f s", ErrImplausible, h.good.Value, r.Value, max(seconds, 0))
}
