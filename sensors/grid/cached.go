package grid

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Cached remembers a source's answers, so that a provider is asked at most once per interval and zone for each of the present, the future and
// the past (of which up to four stretches count for themselves), and goes on with what it said last while it is away: with its newest value, then with its last forecast. It is safe for concurrent use.
// Callers of one zone share one request; other zones do not wait for it.
type Cached struct {
	source Source
	opts   CacheOptions

	peace peace // from questions about any zone

	mu    sync.Mutex
	zones map[string]*cached // guarded by mu
}

// CacheOptions tune a [Cached]. The zero value works.
type CacheOptions struct {
	// Interval is how long an answer is not asked for again, good or bad; 0 means five minutes.
	Interval time.Duration

	// MaxAge is for how long after its End a point is still given when no newer one can be had; 0 means an
	// hour. Beyond it the last forecast tells the present, and where that has ended the error wraps [ErrStale].
	MaxAge time.Duration

	// MaxForecastAge is for how long a forecast is still given, as far as it reaches, when no newer one can be had; 0 means a day.
	MaxForecastAge time.Duration

	// Foresight is how far ahead the forecast is asked for beside the present, once an hour where nobody else has asked, so that the last one tells
	// the present while the provider is away; 0 does not ask.
	Foresight time.Duration

	// MaxZones bounds the memory; 0 means 1,000. Zones of which nothing is known give way.
	MaxZones int

	// Now tells the time; nil means [time.Now].
	Now func() time.Time
}

// cached is one zone's newest answers.
type cached struct {
	turn chan struct{} // holds one element while the provider is asked; whoever put it there owns all below

	point Point
	err   error
	again time.Time // no request for the present before

	future series
	past   []series // at most keptPasts, about different times
}

// series is an answer about a time.
type series struct {
	from, until time.Time // as asked
	at          time.Time // when; zero: never
	points      []Point
	err         error
	good        time.Time // when points were told, which an error leaves as they were

	behind, ahead time.Duration // the widest that was asked for since, from the moment it was
}

// keptPasts is how many answers about the past are remembered: those to a program that learns from it, and to some that look at it.
const keptPasts = 4

// keptPoints bounds how many points of an answer are remembered: a month of five minutes.
const keptPoints = 9000

// NewCached returns a source that remembers.
func NewCached(s Source, o CacheOptions) *Cached {
	if o.Interval <= 0 {
		o.Interval = 5 * time.Minute
	}
	if o.MaxAge <= 0 {
		o.MaxAge = time.Hour
	}
	if o.MaxForecastAge <= 0 {
		o.MaxForecastAge = 24 * time.Hour
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

// Current implements [Source]. An error with a method RetryAfter() time.Duration is obeyed, for all zones, and so is a status 429: where it does
// not tell how long, the provider is left alone for an interval, then for two, four and so on, up to [LongestPeace].
func (c *Cached) Current(ctx context.Context, zone string) (Point, error) {
	z, err := c.enter(ctx, zone)
	if err != nil {
		return Point{}, err
	}
	defer z.leave()
	now := c.opts.Now()
	if !now.Before(z.again) {
		p, err := c.current(ctx, zone, now)
		if ctx.Err() == nil || err == nil { // else the caller left, and nothing was learned of the provider
			z.again = now.Add(c.opts.Interval)
		}
		if z.err = err; err == nil {
			z.point = p
			c.foresee(ctx, z, zone, now)
		}
	}
	if !z.point.End.IsZero() && now.Sub(z.point.End) <= c.opts.MaxAge {
		return z.point, nil
	}
	if now.Sub(z.future.good) <= c.opts.MaxForecastAge {
		for _, p := range z.future.points {
			if p.Covers(now) && c.check(zone, p, now) == nil {
				p.Estimated = true
				return p, nil
			}
		}
	}
	if z.err == nil {
		return Point{}, fmt.Errorf("zone %q: the newest value ended at %v: %w", zone, z.point.End, ErrStale)
	}
	return Point{}, z.err
}

// foresee asks for a forecast that is there when the provider is not. That there is none is no error of the present.
func (c *Cached) foresee(ctx context.Context, z *cached, zone string, now time.Time) {
	if _, ok := c.source.(ForecastSource); ok && c.opts.Foresight > 0 && now.Sub(z.future.at) >= max(time.Hour, c.opts.Interval) {
		_ = c.ask(ctx, &z.future, Forecast, zone, now, now, now.Add(max(c.opts.Foresight, z.future.ahead)))
	}
}

func (c *Cached) current(ctx context.Context, zone string, now time.Time) (Point, error) {
	if err := c.peace.wanted(now); err != nil {
		return Point{}, err
	}
	p, err := c.source.Current(ctx, zone)
	if err == nil {
		err = c.check(zone, p, now)
	}
	c.peace.heed(now, c.opts.Interval, err)
	return p, err
}

// check refuses what is no answer to the question: a point that is remembered while the provider is away must be of this zone and not of
// a time to come, in which it would seem fresh for as long.
func (c *Cached) check(zone string, p Point, now time.Time) error {
	switch err := p.Validate(); {
	case err != nil:
		return err
	case p.Zone != zone || p.Signal != c.source.Signal():
		return fmt.Errorf("asked for %s of zone %q, got %s of %q: %w", c.source.Signal(), zone, p.Signal, p.Zone, ErrImplausible)
	case p.Start.After(now.Add(slowClock)):
		return fmt.Errorf("zone %q: the newest value starts at %v, %v from now: %w", zone, p.Start, p.Start.Sub(now).Round(time.Second), ErrImplausible)
	}
	return nil
}

// slowClock is by how much this machine's clock may be behind the provider's.
const slowClock = 5 * time.Minute

// enter waits for a zone's turn, until ctx is done.
func (c *Cached) enter(ctx context.Context, name string) (*cached, error) {
	c.mu.Lock()
	z := c.zones[name]
	if z == nil {
		if len(c.zones) >= c.opts.MaxZones && !c.forget(c.opts.Now()) {
			c.mu.Unlock()
			return nil, fmt.Errorf("zone %q: more than %d zones are asked for", name, c.opts.MaxZones)
		}
		z = &cached{turn: make(chan struct{}, 1)}
		c.zones[name] = z
	}
	c.mu.Unlock()
	select {
	case z.turn <- struct{}{}:
		return z, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("zone %q: waiting for another's request: %w", name, ctx.Err())
	}
}

// forget makes room: a zone of which nothing is known, and was not for an interval, is one that somebody mistyped. It tells whether there was one; c.mu is held.
func (c *Cached) forget(now time.Time) bool {
	for name, z := range c.zones {
		select {
		case z.turn <- struct{}{}:
		default:
			continue // somebody asks about it
		}
		known := !z.point.End.IsZero() || now.Before(z.again)
		for _, s := range append(z.past, z.future) {
			known = known || !s.good.IsZero() || !s.at.IsZero() && now.Sub(s.at) < c.opts.Interval
		}
		z.leave()
		if !known {
			delete(c.zones, name)
			return true
		}
	}
	return false
}

func (z *cached) leave() { <-z.turn }

// History implements [HistorySource]. What it tells of the last interval may be lacking.
func (c *Cached) History(ctx context.Context, zone string, from, until time.Time) ([]Point, error) {
	if _, ok := c.source.(HistorySource); !ok {
		return History(ctx, c.source, zone, from, until)
	}
	z, err := c.enter(ctx, zone)
	if err != nil {
		return nil, err
	}
	defer z.leave()
	now := c.opts.Now()
	// One that was asked until the present has all there is for now.
	k := slices.IndexFunc(z.past, func(s series) bool {
		return s.fresh(now, c.opts.Interval, from, until) || s.fresh(now, c.opts.Interval, from, from) && !s.until.Before(s.at)
	})
	if k < 0 {
		// By full hours, so that a question that goes with the clock is not a new one at every moment.
		wide := until.Add(time.Hour - 1).Truncate(time.Hour)
		if wide.After(now) {
			wide = until
		}
		var s series
		if err := c.ask(ctx, &s, History, zone, now, from.Truncate(time.Hour), wide); err != nil && s.at.IsZero() {
			return nil, err
		}
		if k = len(z.past); k < keptPasts {
			z.past = append(z.past, s)
		} else { // the oldest goes
			k = 0
			for i := range z.past {
				if z.past[i].at.Before(z.past[k].at) {
					k = i
				}
			}
			z.past[k] = s
		}
	}
	s := &z.past[k]
	if s.err != nil {
		return nil, s.err
	}
	return s.between(from, until), nil
}

// Forecast implements [ForecastSource].
func (c *Cached) Forecast(ctx context.Context, zone string, from, until time.Time) ([]Point, error) {
	if _, ok := c.source.(ForecastSource); !ok {
		return Forecast(ctx, c.source, zone, from, until)
	}
	z, err := c.enter(ctx, zone)
	if err != nil {
		return nil, err
	}
	defer z.leave()
	now := c.opts.Now()
	s := &z.future
	failed := s.err
	if s.ahead == 0 {
		s.behind, s.ahead = now.Sub(from), until.Sub(now)
	}
	s.behind, s.ahead = max(s.behind, now.Sub(from)), max(s.ahead, until.Sub(now))
	if !s.fresh(now, c.opts.Interval, from, until) {
		// For all who asked since the last time, and until a full day, so that those who look as far ahead from a little later need not ask anew.
		first, last := now.Add(-s.behind), now.Add(s.ahead)
		s.behind, s.ahead = now.Sub(from), until.Sub(now)
		failed = c.ask(ctx, s, Forecast, zone, now, first, last.Add(c.opts.Interval+day-1).Truncate(day))
	}
	ps := s.between(from, until)
	if failed != nil && (len(ps) == 0 || now.Sub(s.good) > c.opts.MaxForecastAge) {
		return nil, failed
	}
	return ps, nil
}

// fresh tells whether an answer is new enough and about the time asked for.
func (s *series) fresh(now time.Time, interval time.Duration, from, until time.Time) bool {
	return !s.at.IsZero() && now.Sub(s.at) < interval && !from.Before(s.from) && !until.After(s.until)
}

// ask asks the provider and returns its error, which is remembered if it is its own, and leaves its last answer.
func (c *Cached) ask(ctx context.Context, s *series, what func(context.Context, Source, string, time.Time, time.Time) ([]Point, error), zone string, now, from, until time.Time) error {
	var ps []Point
	err := c.peace.wanted(now)
	if err == nil {
		ps, err = what(ctx, c.source, zone, from, until)
		if i := slices.IndexFunc(ps, func(p Point) bool { return p.Zone != zone || p.Signal != c.source.Signal() }); err == nil && i >= 0 {
			err = c.check(zone, ps[i], now)
		}
		if err != nil && ctx.Err() != nil {
			return err
		}
		c.peace.heed(now, c.opts.Interval, err)
	}
	s.from, s.until, s.at, s.err = from, until, now, err
	if err == nil {
		s.points, s.good = ps, now
	}
	return err
}

// between returns what an answer says of a time; the caller owns it.
func (s *series) between(from, until time.Time) []Point {
	var out []Point
	for _, p := range s.points {
		if p.End.After(from) && p.Start.Before(until) {
			out = append(out, p)
		}
	}
	if len(s.points) > keptPoints {
		*s = series{}
	}
	return slices.Clip(out)
}
