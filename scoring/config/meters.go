package config

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors/grid"
	gridconfig "github.com/leastwatt/leastwatt/sensors/grid/config"
)

// meters keep what a kilowatt-hour costs where each machine is, so that no decision asks a provider.
type meters struct {
	grid    *gridconfig.Config
	static  float64 // gCO2eq/kWh where no source tells; 0 is unknown
	log     *slog.Logger
	changed chan struct{}

	mu     sync.Mutex
	places map[gridconfig.Place]*scoring.Meter // guarded by mu
	failed map[string]string                   // guarded by mu: what was logged last of a zone
}

func newMeters(c *Config, log *slog.Logger) *meters {
	return &meters{grid: c.Grid, static: c.Scoring.GramsPerKWh, log: log, changed: make(chan struct{}, 1),
		places: make(map[gridconfig.Place]*scoring.Meter), failed: make(map[string]string)}
}

// of returns the meter of a machine's place.
func (s *meters) of(m scoring.Machine) *scoring.Meter {
	place, err := s.grid.Place(m.Labels)
	if err != nil && s.needsZone() {
		lost := scoring.NewMeter("")
		lost.Set(scoring.Tariff{PUE: place.PUE, Factor: place.Factor, IntensityErr: err, PriceErr: err})
		return lost
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.places[place]; known != nil {
		return known
	}
	meter := scoring.NewMeter(place.Zone)
	s.places[place] = meter
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return meter
}

// needsZone tells whether there are sources to be asked.
func (s *meters) needsZone() bool { return s.grid.Intensity != nil || s.grid.Price != nil }

// run refreshes the meters until ctx ends.
func (s *meters) run(ctx context.Context) {
	tick := time.NewTicker(s.grid.Refresh)
	defer tick.Stop()
	for {
		s.refresh(ctx)
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		case <-tick.C:
		}
	}
}

// most is how many zones are asked for at once.
const most = 16

func (s *meters) refresh(ctx context.Context) {
	s.mu.Lock()
	places := maps.Clone(s.places)
	s.mu.Unlock()
	var wg sync.WaitGroup
	room := make(chan struct{}, most)
	for p, m := range places {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			t := s.tariff(ctx, p)
			if ctx.Err() == nil {
				m.Set(t)
			}
		})
	}
	wg.Wait()
}

// patience is how long one zone's sources may take together; they have deadlines of their own.
const patience = time.Minute

func (s *meters) tariff(ctx context.Context, p gridconfig.Place) scoring.Tariff {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t := scoring.Tariff{PUE: p.PUE, Factor: p.Factor, IntensityErr: errNoSource, PriceErr: errNoSource}
	if s.static > 0 {
		t.Intensity, t.IntensityErr, t.Source = s.static, nil, "gramsPerKWh"
	}
	if src := s.grid.Intensity; src != nil {
		if v, from, err := s.ask(ctx, src, p.Zone); err == nil || s.static == 0 {
			t.Intensity, t.Source, t.IntensityErr = v, from, err
		}
	}
	if src := s.grid.Price; src != nil {
		v, from, err := s.ask(ctx, src, p.Zone)
		t.Price, t.PriceErr = v, err
		if t.Source != "" && from != "" {
			t.Source += ", "
		}
		t.Source += from
	}
	return t
}

// errNoSource is of a signal that the file names no source of.
var errNoSource = fmt.Errorf("no source is configured: %w", grid.ErrUnknown)

func (s *meters) ask(ctx context.Context, src grid.Source, zone string) (float64, string, error) {
	p, err := src.Current(ctx, zone)
	if err == nil {
		err = p.Validate()
	}
	s.note(ctx, string(src.Signal()), zone, err)
	if err != nil {
		return 0, "", err
	}
	return p.Value, p.Source, nil
}

// note logs what has changed: a provider that is away for hours is told once.
func (s *meters) note(ctx context.Context, signal, zone string, err error) {
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	s.mu.Lock()
	was := s.failed[signal+" "+zone]
	s.failed[signal+" "+zone] = text
	s.mu.Unlock()
	switch {
	case text != "" && was == "":
		s.log.WarnContext(ctx, "grid signal not known", "signal", signal, "zone", zone, "err", err)
	case text == "" && was != "":
		s.log.InfoContext(ctx, "grid signal known again", "signal", signal, "zone", zone)
	}
}
