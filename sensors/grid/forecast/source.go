package forecast

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// SourceOptions tune a [Source]. The zero value works.
type SourceOptions struct {
	// Model tunes the models. Prices are always forecast as values that may be negative.
	Model Options

	Zones    []string      // known from the start; others are taken up when they are first asked for
	MaxZones int           // at once; 0 means 100
	Interval time.Duration // between two rounds of Run; 0 means 15 minutes
	Past     time.Duration // how much history a new zone begins with; 0 means 60 days
	Chunk    time.Duration // of history that is asked for at once, as providers limit it; 0 means a week
	Timeout  time.Duration // of one question to the provider; 0 means 30 seconds

	// MaxAge is how old the newest observed hour may be under a forecast; 0 means 24 hours. Beyond it the
	// error wraps [grid.ErrStale].
	MaxAge time.Duration

	// File remembers between runs what the models were fed: the first round reads it, and rounds that learned something replace it. Without it a
	// restart knows of the past what the provider tells, which may be a day. A file that is not right is put aside and told once; one of a time to come, as where the
	// clock is behind, is left alone until that time.
	File string

	Logger *slog.Logger     // nil discards
	Now    func() time.Time // nil means [time.Now]
}

// A Source adds an own forecast to a provider that has none, or a shorter one than is asked for. It keeps one [Model] a
// zone, which Run feeds from the provider's history. It implements [grid.HistorySource] and
// [grid.ForecastSource], and is safe for concurrent use.
type Source struct {
	source grid.Source
	opts   SourceOptions

	round chan struct{} // holds one element while the provider is asked for history
	wake  chan struct{} // to Run: of a zone nothing could be learned when it was first asked for
	read  bool          // File was read; guarded by round
	kept  int64         // what was learned when File was read or written; guarded by round

	mu    sync.Mutex
	zones map[string]*zone // guarded by mu
}

// NewSource returns a source over a provider, which must have history for the forecasts. It starts nothing: see Run.
func NewSource(s grid.Source, o SourceOptions) (*Source, error) {
	if o.MaxZones <= 0 {
		o.MaxZones = 100
	}
	if o.Interval <= 0 {
		o.Interval = 15 * time.Minute
	}
	if o.Past <= 0 {
		o.Past = 60 * day * time.Hour
	}
	if o.Chunk < time.Hour {
		o.Chunk = 7 * day * time.Hour
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxAge <= 0 {
		o.MaxAge = day * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if s.Signal() == grid.Price {
		o.Model.Additive = true
	}
	f := &Source{source: s, opts: o, round: make(chan struct{}, 1), wake: make(chan struct{}, 1), zones: make(map[string]*zone)}
	for _, name := range o.Zones {
		if _, err := f.zone(name, true); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Signal implements [grid.Source].
func (s *Source) Signal() grid.Signal { return s.source.Signal() }

// Current implements [grid.Source] by the provider. While it does not tell, the hour of the own forecast that holds now is told instead, and where that
// is too old the mean of the last four weeks: both Estimated, of the sources "leastwatt:forecast" and "leastwatt:mean".
func (s *Source) Current(ctx context.Context, zone string) (grid.Point, error) {
	p, err := s.source.Current(ctx, zone)
	if err == nil {
		err = cmp.Or(p.Validate(), s.check(zone, []grid.Point{p}))
	}
	if err == nil {
		return p, nil
	}
	if own, ok := s.estimate(zone); ok {
		return own, nil
	}
	return grid.Point{}, err
}

// estimate is what the own model says of the present.
func (s *Source) estimate(name string) (grid.Point, bool) {
	s.mu.Lock()
	z := s.zones[name]
	s.mu.Unlock()
	if z == nil {
		return grid.Point{}, false
	}
	now := s.opts.Now()
	if f, err := s.published(name, z); err == nil {
		for _, p := range f.points {
			if p.Covers(now) {
				return p, true
			}
		}
	}
	f := z.out.Load()
	if f == nil {
		return grid.Point{}, false
	}
	p := f.mean
	p.Start = now.UTC().Truncate(time.Hour)
	p.End = p.Start.Add(time.Hour)
	return p, p.Validate() == nil
}

// History implements [grid.HistorySource] by the provider.
func (s *Source) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	return s.ask(ctx, grid.History, zone, from, until)
}

// Forecast implements [grid.ForecastSource]: what the provider foretells, and where it leaves out an hour and from its end on what the zone's model does.
// Own points are Estimated, hourly, and reach at most [Horizon] hours beyond the newest observed one. The history of a zone that was never asked for
// before is asked for at once, and waited for up to fifteen seconds; where that fails the error wraps [grid.ErrUnknown] until a round has learned of it.
func (s *Source) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if !until.After(from) {
		return nil, fmt.Errorf("forecast of zone %q: until %v is not after %v", zone, until, from)
	}
	theirs, asked := s.ask(ctx, grid.Forecast, zone, from, until)
	if asked != nil {
		theirs = nil
	}
	if _, covered := grid.Mean(theirs, from, until); covered >= 1 {
		return theirs, nil
	}
	ours, err := s.own(ctx, zone)
	if err != nil {
		if len(theirs) > 0 {
			return theirs, nil
		}
		if errors.Is(asked, grid.ErrUnsupported) {
			asked = nil // as expected
		}
		return nil, errors.Join(err, asked)
	}
	if theirs = fill(theirs, ours, from, until); len(theirs) == 0 {
		return nil, fmt.Errorf("forecast of zone %q from %v: the own one ends before: %w", zone, from, grid.ErrUnknown)
	}
	return theirs, nil
}

// fill adds to points what others tell of the time that they leave out: all are by start and without overlaps, and so is what is returned.
func fill(points, others []grid.Point, from, until time.Time) []grid.Point {
	var out []grid.Point
	next := 0
	for _, p := range others {
		for next < len(points) && !points[next].End.After(p.Start) {
			out = append(out, points[next])
			next++
		}
		for p.End.After(from) && p.Start.Before(until) && p.Start.Before(p.End) {
			if next == len(points) || !points[next].Start.Before(p.End) {
				out = append(out, p)
				break
			}
			if t := points[next]; p.Start.Before(t.Start) {
				before := p
				before.End = t.Start
				out = append(out, before)
			}
			if p.Start = points[next].End; p.Start.Before(p.End) {
				out = append(out, points[next])
				next++
			}
		}
	}
	return append(out, points[next:]...)
}

// Steps returns the own forecast of a zone with its intervals, whatever the provider foretells.
func (s *Source) Steps(zone string) ([]Step, error) {
	z, err := s.zone(zone, false)
	if err != nil {
		return nil, err
	}
	f, err := s.published(zone, z)
	if err != nil {
		return nil, err
	}
	return slices.Clone(f.steps), nil
}

func (s *Source) own(ctx context.Context, zone string) ([]grid.Point, error) {
	z, err := s.zone(zone, false)
	if err != nil {
		return nil, err
	}
	if z.out.Load() == nil {
		if err := s.begin(ctx, zone, z); err != nil {
			return nil, fmt.Errorf("forecast of zone %q: no history yet: %w: %w", zone, grid.ErrUnknown, err)
		}
	}
	f, err := s.published(zone, z)
	if err != nil {
		return nil, err
	}
	return f.points, nil
}

func (s *Source) published(name string, z *zone) (*foretold, error) {
	f := z.out.Load()
	switch {
	case f == nil:
		return nil, fmt.Errorf("forecast of zone %q: no history yet: %w", name, grid.ErrUnknown)
	case f.err != nil:
		return nil, fmt.Errorf("forecast of zone %q: %w: %w", name, grid.ErrUnknown, f.err)
	case s.opts.Now().Sub(f.next) > s.opts.MaxAge:
		return nil, fmt.Errorf("forecast of zone %q: nothing observed since %v: %w", name, f.next, grid.ErrStale)
	}
	return f, nil
}

// ask puts a question to the provider and refuses an answer that is not what was asked. What is wrong with single points is a gap.
func (s *Source) ask(ctx context.Context, what func(context.Context, grid.Source, string, time.Time, time.Time) ([]grid.Point, error), zone string, from, until time.Time) ([]grid.Point, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	ps, err := what(ctx, s.source, zone, from, until)
	if err == nil {
		err = s.check(zone, ps)
	}
	if err != nil {
		return nil, err
	}
	if ps, err = grid.Tidy(slices.Clone(ps)); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(ps, func(p grid.Point) bool { return !p.End.After(from) || !p.Start.Before(until) }), nil
}

// check refuses what is of another zone or signal.
func (s *Source) check(zone string, ps []grid.Point) error {
	for _, p := range ps {
		switch {
		case p.Zone != zone:
			return fmt.Errorf("asked for zone %q, got %q: %w", zone, p.Zone, grid.ErrImplausible)
		case p.Signal != s.source.Signal():
			return fmt.Errorf("zone %q: asked for %q, got %q: %w", zone, s.source.Signal(), p.Signal, grid.ErrImplausible)
		}
	}
	return nil
}

// Run feeds the models, at once and then at every interval, until ctx is done, whose error it returns. A zone of which nothing is known is
// asked for again sooner, at first after a minute. What fails is tried again, and logged when it is another error than before: a provider that is away for a day is told once.
func (s *Source) Run(ctx context.Context) error {
	var outage grid.Outage
	lonely := 0
	for {
		err := s.Refresh(ctx)
		if ctx.Err() == nil {
			switch outage.Next(err) {
			case grid.Began:
				s.opts.Logger.Warn("history for forecasts", "signal", s.Signal(), "error", err)
			case grid.Ended:
				s.opts.Logger.Info("history for forecasts is there again", "signal", s.Signal())
			}
		}
		wait := s.opts.Interval + time.Duration(rand.Int64N(int64(s.opts.Interval)/10+1)) // jitter, so that replicas spread
		if s.lacks() {
			wait = min(wait, soon<<lonely)
			lonely = min(lonely+1, 10)
		} else {
			lonely = 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			continue
		case <-s.wake:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(soon):
		}
	}
}

// Refresh is one round of Run, for those who have a loop of their own: it asks the history that each zone's model does not
// have yet, and makes the forecasts anew. The errors of zones are joined; a zone's failure changes nothing of
// others. A zone that the provider does not know is forgotten, unless it was configured or was known within the last week.
func (s *Source) Refresh(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	var errs []error
	if !s.read {
		errs = append(errs, s.remember())
	}
	for _, name := range s.names() {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		z, err := s.zone(name, false)
		if err == nil {
			err = s.feed(ctx, name, z)
		}
		if errors.Is(err, grid.ErrUnknownZone) && !z.configured && !z.lately(s.opts.Now()) {
			s.mu.Lock()
			if s.zones[name] == z {
				delete(s.zones, name)
			}
			s.mu.Unlock()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("zone %q: %w", name, err))
		}
	}
	if s.read {
		errs = append(errs, s.remember())
	}
	return errors.Join(errs...)
}
