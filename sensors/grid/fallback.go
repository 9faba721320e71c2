package grid

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Fallback asks sources in order and takes the first answer: a provider, its last forecast, an own forecast, a zone's
// mean. All must have one signal. What none knows is the errors of all, joined.
type Fallback struct{ sources []Source }

// NewFallback returns a source over others. Sources of different signals are an error: they are never mixed.
func NewFallback(sources ...Source) (*Fallback, error) {
	if len(sources) == 0 {
		return nil, errors.New("fallback of no sources")
	}
	for _, s := range sources[1:] {
		if s.Signal() != sources[0].Signal() {
			return nil, fmt.Errorf("fallback from %q to %q: %w", sources[0].Signal(), s.Signal(), ErrImplausible)
		}
	}
	return &Fallback{sources: sources}, nil
}

// Signal implements [Source].
func (f *Fallback) Signal() Signal { return f.sources[0].Signal() }

// Current implements [Source].
func (f *Fallback) Current(ctx context.Context, zone string) (Point, error) {
	var errs []error
	for _, s := range f.sources {
		p, err := s.Current(ctx, zone)
		if err == nil {
			err = p.Validate()
		}
		if err == nil {
			return p, nil
		}
		errs = append(errs, err)
	}
	return Point{}, errors.Join(errs...)
}

// History implements [HistorySource] by the first source that has any.
func (f *Fallback) History(ctx context.Context, zone string, from, until time.Time) ([]Point, error) {
	return f.first(func(s Source) ([]Point, error) { return History(ctx, s, zone, from, until) })
}

// Forecast implements [ForecastSource] by the first source that has any.
func (f *Fallback) Forecast(ctx context.Context, zone string, from, until time.Time) ([]Point, error) {
	return f.first(func(s Source) ([]Point, error) { return Forecast(ctx, s, zone, from, until) })
}

func (f *Fallback) first(ask func(Source) ([]Point, error)) ([]Point, error) {
	var errs []error
	for _, s := range f.sources {
		ps, err := ask(s)
		if err == nil && len(ps) > 0 {
			return ps, nil
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return nil, ErrUnknown
}

// Cached remembers a source's answers, so that a provider is asked at most once per interval and zone, and goes on with
// the newest answer while the provider is away.
type Cached struct {
	source Source
	opts   CacheOptions

	mu    sync.Mutex
	zones map[string]*cached // guarded by mu
}

// CacheOptions tune a [Cached]. The zero value works.
type CacheOptions struct {
	// Interval is how long an answer is not asked for again, good or bad; 0 means five minutes.
	Interval time.Duration

	// MaxAge is for how long after its End a point is still given when no newer one can be had; 0 means an
	// hour. Beyond it the error wraps [ErrStale].
	MaxAge time.Duration

	// MaxZones bounds the memory; 0 means 1,000.
	MaxZones int

	// Now tells the time; nil means [time.Now].
	Now func() time.Time
}

// cached is one zone's newest answer. Its own lock is held while the provider is asked, so that callers of one zone share
// one request and other zones do not wait.
type cached struct {
	mu    sync.Mutex
	point Point
	err   error
	again time.Time // no request before
}

// NewCached returns a source that remembers.
func NewCached(s Source, o CacheOptions) *Cached {
	if o.Interval <= 0 {
		o.Interval = 5 * time.Minute
	}
	if o.MaxAge <= 0 {
		o.MaxAge = time.Hour
	}
	if o.MaxZones <= 0 {
		o.MaxZones = 1000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Cached{source: s, opts: o, zones: make(map[string]*cached)}
}

// Signal implements [Source].
func (c *Cached) Signal() Signal { return c.source.Signal() }

// Current implements [Source]. An error with a method RetryAfter() time.Duration is obeyed.
func (c *Cached) Current(ctx context.Context, zone string) (Point, error) {
	z, err := c.zone(zone)
	if err != nil {
		return Point{}, err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	now := c.opts.Now()
	if !now.Before(z.again) {
		p, err := c.source.Current(ctx, zone)
		if err == nil {
			err = p.Validate()
		}
		if ctx.Err() != nil && err != nil {
			return Point{}, err // the caller left; nothing was learned of the provider
		}
		if z.err = err; err == nil {
			z.point = p
		}
		z.again = now.Add(c.opts.Interval)
		var wait interface{ RetryAfter() time.Duration }
		if errors.As(err, &wait) {
			z.again = now.Add(max(c.opts.Interval, wait.RetryAfter()))
		}
	}
	switch {
	case !z.point.End.IsZero() && now.Sub(z.point.End) <= c.opts.MaxAge:
		return z.point, nil
	case z.err == nil:
		return Point{}, fmt.Errorf("zone %q: the newest value ended at %v: %w", zone, z.point.End, ErrStale)
	}
	return Point{}, z.err
}

func (c *Cached) zone(name string) (*cached, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	z := c.zones[name]
	if z == nil {
		if len(c.zones) >= c.opts.MaxZones {
			return nil, fmt.Errorf("zone %q: more than %d zones are asked for", name, c.opts.MaxZones)
		}
		z = new(cached)
		c.zones[name] = z
	}
	return z, nil
}

// History passes the question on.
func (c *Cached) History(ctx context.Context, zone string, from, until time.Time) ([]Point, error) {
	return History(ctx, c.source, zone, from, until)
}

// Forecast passes the question on.
func (c *Cached) Forecast(ctx context.Context, zone string, from, until time.Time) ([]Point, error) {
	return Forecast(ctx, c.source, zone, from, until)
}
