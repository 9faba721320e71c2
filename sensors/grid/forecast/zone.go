package forecast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A zone is what a [Source] keeps of one.
type zone struct {
	configured bool
	begun      bool      // its history was asked for; guarded by Source.round
	failures   int       // rounds in a row; guarded by Source.round
	again      time.Time // no question before; guarded by Source.round

	mu       sync.Mutex
	model    *Model // guarded by mu
	currency string // guarded by mu

	out atomic.Pointer[foretold] // nil before the first history
}

// foretold is a zone's forecast as it was made; immutable.
type foretold struct {
	next   time.Time // the hour after the newest observed one
	points []grid.Point
	steps  []Step
	mean   grid.Point // of the last weeks, at no time
	err    error
}

// zone returns a zone, which is made if there is room.
func (s *Source) zone(name string, configured bool) (*zone, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	z := s.zones[name]
	if z == nil {
		if len(s.zones) >= s.opts.MaxZones {
			return nil, fmt.Errorf("forecast of zone %q: more than %d zones are asked for: %w", name, s.opts.MaxZones, grid.ErrUnknown)
		}
		z = &zone{configured: configured, model: NewModel(s.opts.Model)}
		s.zones[name] = z
	}
	return z, nil
}

// lately tells whether an hour of the last week was observed: what was learned is worth keeping while a provider errs.
func (z *zone) lately(now time.Time) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return len(z.model.values) > 0 && now.Sub(z.model.Next()) < 7*day*time.Hour
}

// patience is how many rounds a stretch of history is asked for again before the model goes on without it.
const patience = 4

// feed asks for the history that a zone's model lacks, oldest first, and observes it.
func (s *Source) feed(ctx context.Context, name string, z *zone) error {
	z.begun = true
	now := s.opts.Now().UTC()
	if now.Before(z.again) {
		return nil
	}
	z.mu.Lock()
	past, known, anew := now.Add(-s.opts.Past).Truncate(time.Hour), len(z.model.values) > 0, false
	from := past
	if known && z.model.Next().After(from) {
		from = z.model.Next()
	}
	z.mu.Unlock()
	var failed error
	for from.Before(now) {
		until := from.Add(s.opts.Chunk.Truncate(time.Hour))
		if until.After(now) {
			until = now
		}
		ps, err := s.History(ctx, name, from, until)
		if err != nil {
			failed = err
			var wait interface{ RetryAfter() time.Duration }
			if errors.As(err, &wait) {
				z.again = now.Add(wait.RetryAfter())
			}
			lasting := errors.Is(err, grid.ErrUnknownZone) || errors.Is(err, grid.ErrUnsupported) || ctx.Err() != nil
			if lasting || wait != nil && wait.RetryAfter() > 0 || known && z.failures < patience {
				break
			}
		} else if len(ps) > 0 {
			if z.turn(ps[len(ps)-1].Currency, s.opts.Model) && !anew {
				anew, known, from = true, false, past
				continue
			}
			known = true
			z.observe(ps, from, now)
		}
		from = until
	}
	if failed != nil {
		z.failures++
	} else {
		z.failures = 0
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.publish(name, s.Signal())
	return failed
}

// turn takes over the currency of what is told. Where it was another one, the model begins anew, and turn tells so: money of two currencies is never mixed.
func (z *zone) turn(currency string, o Options) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	was := z.currency
	if z.currency = currency; was == currency || len(z.model.values) == 0 {
		return false
	}
	z.model = NewModel(o)
	z.out.Store(nil)
	return true
}

// observe gives the model the hours that the points tell: those that have passed, have ended by the last point, and are
// known for half or more of their time in the zone's currency. Points are in order and do not overlap.
func (z *zone) observe(ps []grid.Point, from, now time.Time) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(z.model.values) > 0 && z.model.Next().After(from) {
		from = z.model.Next() // restored meanwhile
	}
	if last := ps[len(ps)-1]; last.End.Before(now) {
		now = last.End
	}
	ps = slices.DeleteFunc(ps, func(p grid.Point) bool { return p.Currency != z.currency })
	first := 0
	for at, end := from, from.Add(time.Hour); !end.After(now); at, end = end, end.Add(time.Hour) {
		for first < len(ps) && !ps[first].End.After(at) {
			first++
		}
		n := first
		for n < len(ps) && ps[n].Start.Before(end) {
			n++
		}
		if mean, covered := grid.Mean(ps[first:n], at, end); covered >= 0.5 {
			_ = z.model.Observe(at, mean) // in order, valid, and of a full hour
		}
	}
}

// publish makes the forecast anew; z.mu is held.
func (z *zone) publish(name string, signal grid.Signal) {
	if len(z.model.values) == 0 {
		return
	}
	steps, err := z.model.Forecast(Horizon)
	f := &foretold{next: z.model.Next(), steps: steps, err: err}
	f.mean = grid.Point{Zone: name, Signal: signal, Value: z.model.mean(), Currency: z.currency, Estimated: true, Source: "leastwatt:mean"}
	for _, st := range steps {
		p := grid.Point{Zone: name, Signal: signal, Start: st.Start, End: st.Start.Add(time.Hour), Value: st.Mean, Currency: z.currency, Estimated: true, Forecast: true, Source: "leastwatt:forecast"}
		if p.Validate() == nil {
			f.points = append(f.points, p)
		}
	}
	z.out.Store(f)
}
