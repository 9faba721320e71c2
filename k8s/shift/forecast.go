package shift

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// outlooks asks a source about zones, and keeps each one's last answer as far as it reaches.
type outlooks struct {
	source  grid.Source
	timeout time.Duration

	mu   sync.Mutex
	last map[string][]grid.Point // guarded by mu
}

// ask returns what is known of zones from now on. A zone of which nothing is known is left out, and its error is among those returned.
func (l *outlooks) ask(ctx context.Context, zones []string, now time.Time) (map[string][]grid.Point, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	errs := make([]error, len(zones))
	var wg sync.WaitGroup
	atOnce := make(chan struct{}, 8)
	for i, zone := range zones {
		atOnce <- struct{}{}
		wg.Go(func() {
			defer func() { <-atOnce }()
			ps, err := l.one(ctx, zone, now)
			errs[i] = err
			if err == nil {
				l.mu.Lock()
				l.last[zone] = ps
				l.mu.Unlock()
			}
		})
	}
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string][]grid.Point)
	for zone, ps := range l.last {
		if ps = slices.DeleteFunc(slices.Clone(ps), func(p grid.Point) bool { return !p.End.After(now) }); len(ps) > 0 && slices.Contains(zones, zone) {
			out[zone] = ps
		}
	}
	maps.DeleteFunc(l.last, func(zone string, _ []grid.Point) bool { return !slices.Contains(zones, zone) })
	return out, errors.Join(errs...)
}

func (l *outlooks) one(ctx context.Context, zone string, now time.Time) ([]grid.Point, error) {
	if l.source == nil {
		return nil, fmt.Errorf("zone %q: no grid signal is configured: %w", zone, grid.ErrUnknown)
	}
	ps, err := grid.Forecast(ctx, l.source, zone, now, now.Add(horizon))
	if err != nil {
		return nil, err
	}
	if len(ps) == 0 {
		return nil, fmt.Errorf("zone %q: the forecast is empty: %w", zone, grid.ErrUnknown)
	}
	ps = slices.Clone(ps)
	slices.SortStableFunc(ps, func(a, b grid.Point) int { return a.Start.Compare(b.Start) })
	// An hour that is told twice, as at the change of clocks, is one.
	ps = slices.CompactFunc(ps, func(a, b grid.Point) bool { return a.Start.Equal(b.Start) && a.End.Equal(b.End) && a.Value == b.Value })
	for i, p := range ps {
		switch err := p.Validate(); {
		case err != nil:
			return nil, err
		case p.Zone != zone || p.Signal != l.source.Signal():
			return nil, fmt.Errorf("asked for %s of zone %q, got %s of %q: %w", l.source.Signal(), zone, p.Signal, p.Zone, grid.ErrImplausible)
		case i > 0 && p.Start.Before(ps[i-1].End):
			return nil, fmt.Errorf("zone %q: the points at %v and %v overlap: %w", zone, ps[i-1].Start, p.Start, grid.ErrImplausible)
		}
	}
	return ps, nil
}

// mean is the mean over a time, or NaN where less than half of it is known.
func mean(ps []grid.Point, from time.Time, d time.Duration) float64 {
	m, covered := grid.Mean(ps, from, from.Add(d))
	if covered < 0.5 {
		return math.NaN()
	}
	return m
}

// outage counts a round that lacks a forecast, and tells why when that begins, becomes another fault and ends.
func (c *Controller) outage(err error) {
	if err != nil {
		c.metrics.outage()
	}
	switch c.away.Next(err) {
	case grid.Began:
		c.opts.Logger.Warn("forecast", "error", err)
	case grid.Ended:
		c.opts.Logger.Info("the forecast is there again")
	}
}
