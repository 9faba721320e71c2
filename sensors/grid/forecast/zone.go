package forecast

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A zone is what a [Source] keeps of one.
type zone struct {
	configured bool
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

// patience is how many rounds a stretch of history is asked for again before the model goes on without it.
const patience = 4

// feed asks for the history that a zone's model lacks, oldest first, and observes it.
func (s *Source) feed(ctx context.Context, name string, z *zone) error {
	now := s.opts.Now().UTC()
	if now.Before(z.again) {
		return nil
	}
	z.mu.Lock()
	from, known := now.Add(-s.opts.Past).Truncate(time.Hour), len(z.model.values) > 0
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

// observe gives the model the hours that the points tell: those that have passed, have ended by the last point, and are
// known for half or more of their time. Points are in order and do not overlap.
func (z *zone) observe(ps []grid.Point, from, now time.Time) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(z.model.values) > 0 && z.model.Next().After(from) {
		from = z.model.Next() // restored meanwhile
	}
	last := ps[len(ps)-1]
	if last.End.Before(now) {
		now = last.End
	}
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
		z.currency = last.Currency
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
