package grid

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A Series is a source over points held in memory: a file, a trace, a test. Its Current and Forecast are as of
// the time that Now tells, and its Forecast is what the points say, that is, perfect: see package forecast for
// honest ones. It is immutable.
type Series struct {
	signal Signal
	zones  map[string][]Point
	now    func() time.Time
}

// NewSeries returns a source over points of one signal, in any order. Points that overlap within a zone are
// an error; of two identical points (an hour repeated at a clock change) one is kept. now nil means
// [time.Now].
func NewSeries(signal Signal, points []Point, now func() time.Time) (*Series, error) {
	if !signal.Valid() {
		return nil, fmt.Errorf("signal %q: %w", signal, ErrImplausible)
	}
	if now == nil {
		now = time.Now
	}
	s := &Series{signal: signal, zones: make(map[string][]Point), now: now}
	for _, p := range points {
		if p.Signal != signal {
			return nil, fmt.Errorf("zone %q: a point of %q in a series of %q: %w", p.Zone, p.Signal, signal, ErrImplausible)
		}
		if err := p.Validate(); err != nil {
			return nil, err
		}
		s.zones[p.Zone] = append(s.zones[p.Zone], p)
	}
	for zone, ps := range s.zones {
		slices.SortStableFunc(ps, func(a, b Point) int { return a.Start.Compare(b.Start) })
		ps = slices.CompactFunc(ps, func(a, b Point) bool { return a.Start.Equal(b.Start) && a.End.Equal(b.End) && a.Value == b.Value })
		for i := 1; i < len(ps); i++ {
			if ps[i].Start.Before(ps[i-1].End) {
				return nil, fmt.Errorf("zone %q: the points at %v and %v overlap: %w", zone, ps[i-1].Start, ps[i].Start, ErrImplausible)
			}
		}
		s.zones[zone] = ps
	}
	return s, nil
}

// Signal implements [Source].
func (s *Series) Signal() Signal { return s.signal }

// Zones returns the names of the zones, sorted.
func (s *Series) Zones() []string {
	names := make([]string, 0, len(s.zones))
	for z := range s.zones {
		names = append(names, z)
	}
	slices.Sort(names)
	return names
}

// Current implements [Source]: the point that holds now. In a gap it is an error that wraps [ErrUnknown], after
// the last point one that wraps [ErrStale].
func (s *Series) Current(_ context.Context, zone string) (Point, error) {
	ps, ok := s.zones[zone]
	if !ok {
		return Point{}, fmt.Errorf("zone %q: %w", zone, ErrUnknownZone)
	}
	now := s.now()
	i, _ := slices.BinarySearchFunc(ps, now, func(p Point, t time.Time) int {
		if p.Start.After(t) {
			return 1
		}
		return -1
	})
	switch {
	case i > 0 && ps[i-1].Covers(now):
		return ps[i-1], nil
	case i == len(ps):
		return Point{}, fmt.Errorf("zone %q: the last point ends at %v: %w", zone, ps[i-1].End, ErrStale)
	}
	return Point{}, fmt.Errorf("zone %q: no point at %v: %w", zone, now, ErrUnknown)
}

// History implements [HistorySource]. It does not tell what has not happened yet.
func (s *Series) History(_ context.Context, zone string, from, until time.Time) ([]Point, error) {
	if now := s.now(); until.After(now) {
		until = now
	}
	return s.between(zone, from, until)
}

// Forecast implements [ForecastSource] with what the series says will be.
func (s *Series) Forecast(_ context.Context, zone string, from, until time.Time) ([]Point, error) {
	ps, err := s.between(zone, from, until)
	for i := range ps {
		ps[i].Forecast = true
	}
	return ps, err
}

func (s *Series) between(zone string, from, until time.Time) ([]Point, error) {
	ps, ok := s.zones[zone]
	if !ok {
		return nil, fmt.Errorf("zone %q: %w", zone, ErrUnknownZone)
	}
	first, _ := slices.BinarySearchFunc(ps, from, func(p Point, t time.Time) int {
		if p.End.After(t) {
			return 1
		}
		return -1
	})
	last := first
	for last < len(ps) && ps[last].Start.Before(until) {
		last++
	}
	return slices.Clone(ps[first:last]), nil
}
