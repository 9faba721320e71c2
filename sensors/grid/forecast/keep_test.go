package forecast_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
)

// What was learned of a zone outlives a provider, or what stands before it, that says for days that there is no such zone.
func TestZoneOutlivesAProviderThatErrs(t *testing.T) {
	p := &provider{now: start}
	s := over(t, p, forecast.SourceOptions{})
	ask := func() ([]grid.Point, error) {
		return s.Forecast(t.Context(), "GB", p.now, p.now.Add(12*time.Hour))
	}
	_, _ = ask() // unknown, and taken up
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.broken = func(zone string, _ []grid.Point) ([]grid.Point, error) {
		return nil, fmt.Errorf("zone %q: %w", zone, grid.ErrUnknownZone)
	}
	for range 3 {
		p.now = p.now.Add(5 * time.Hour)
		if err := s.Refresh(t.Context()); !errors.Is(err, grid.ErrUnknownZone) {
			t.Fatalf("error %v", err)
		}
		if ps, err := ask(); err != nil || len(ps) < 12 {
			t.Errorf("the forecast has %d points, error %v", len(ps), err)
		}
	}
	p.now = p.now.Add(8 * 24 * time.Hour)
	for range 5 {
		_ = s.Refresh(t.Context())
	}
	if _, values := s.Values("GB"); values != nil {
		t.Errorf("a zone that is unknown for more than a week is remembered: %d hours", len(values))
	}
}

// A file that cannot be read for now, as when too many are open, is not written over, and is read when it can be.
func TestFileThatCannotBeReadForNow(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a", "history.json")
	p := newDaily(start)
	if err := os.Mkdir(filepath.Join(dir, "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	move := func(to, as string) {
		t.Helper()
		_ = os.Remove(filepath.Join(dir, "a"))
		if err := os.Symlink(filepath.Join(dir, to), filepath.Join(dir, "a")); err != nil {
			t.Fatal(as, err)
		}
	}
	move("b", "there")
	before := over(t, &p.provider, forecast.SourceOptions{Zones: []string{"GB"}, File: file})
	for range 5 {
		if err := before.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.now = p.now.Add(20 * time.Hour)
	}
	_, known := before.Values("GB")
	again := over(t, &p.provider, forecast.SourceOptions{Zones: []string{"GB"}, File: file})
	move("a", "away") // a link to itself cannot be followed
	if err := again.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v, want one that names the file", err)
	}
	move("b", "there")
	p.now = p.now.Add(20 * time.Hour)
	for range 2 {
		if err := again.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, values := again.Values("GB"); len(values) < len(known)+20 {
		t.Errorf("%d hours are known, the file held %d", len(values), len(known))
	}
}

// A provider that is away for a day is told once, and once that it is back.
func TestRunTellsAnOutageOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := &provider{now: start}
		away := true
		p.broken = func(_ string, ps []grid.Point) ([]grid.Point, error) {
			if away {
				return nil, fmt.Errorf("read tcp 10.0.0.7:%d: connection reset", 40000+p.asked) // from another port each time
			}
			return ps, nil
		}
		s := over(t, p, forecast.SourceOptions{Zones: []string{"GB"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(24 * time.Hour) // of the bubble's clock
		away = false
		time.Sleep(24 * time.Hour)
		cancel()
		<-done
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || strings.Count(text, "there again") != 1 {
			t.Errorf("told:\n%s", text)
		}
	})
}

// A file of more zones than there is room for loses some of them, and not those that are asked for.
func TestFileOfTooManyZones(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history.json")
	p := &provider{now: start}
	all := over(t, p, forecast.SourceOptions{Zones: []string{"DE", "FR", "GB"}, File: file})
	for range 2 {
		if err := all.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.now = p.now.Add(time.Hour)
	}
	one := over(t, p, forecast.SourceOptions{Zones: []string{"GB"}, MaxZones: 2, File: file})
	if err := one.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	for zone, kept := range map[string]bool{"GB": true, "DE": true, "FR": false} {
		if _, values := one.Values(zone); (len(values) > 24) != kept {
			t.Errorf("%s: %d hours are known", zone, len(values))
		}
	}
}

// market is a provider of prices whose currency changed at a moment.
type market struct {
	provider
	changed time.Time
	rate    float64
}

func (*market) Signal() grid.Signal { return grid.Price }

func (m *market) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	ps, err := m.provider.History(ctx, zone, from, until)
	for i := range ps {
		ps[i].Signal, ps[i].Currency = grid.Price, "BGN"
		if !ps[i].Start.Before(m.changed) {
			ps[i].Value, ps[i].Currency = ps[i].Value*m.rate, "EUR"
		}
	}
	return ps, err
}

// Money of two currencies is never mixed: a market that changes its own is learned anew, and so is one that another currency is asked of after a restart.
func TestForecastOfAMarketThatChangesItsCurrency(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prices.json")
	m := &market{provider: provider{now: start}, changed: start.Add(100 * time.Hour), rate: 0.01}
	open := func() *forecast.Source {
		s, err := forecast.NewSource(m, forecast.SourceOptions{Zones: []string{"GB"}, File: file, Now: func() time.Time { return m.now }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	check := func(s *forecast.Source, when, currency string, about float64) {
		t.Helper()
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		ps, err := s.Forecast(t.Context(), "GB", m.now, m.now.Add(48*time.Hour))
		if err != nil || len(ps) < 48 {
			t.Fatalf("%s: %d points, error %v", when, len(ps), err)
		}
		for _, p := range ps {
			if p.Currency != currency || math.Abs(math.Log(p.Value/about)) > 0.5 {
				t.Fatalf("%s: %+v, want about %v %s", when, p, about, currency)
			}
		}
	}
	s := open()
	check(s, "before", "BGN", 20)
	m.now = m.changed.Add(40 * time.Hour)
	check(s, "after", "EUR", 0.2)
	check(open(), "after a restart", "EUR", 0.2)
	m.changed, m.rate = time.Time{}, 2 // another currency is asked for, of the past too
	s = open()
	_, before := s.Values("GB")
	m.now = m.now.Add(time.Hour)
	m.changed = m.now.Add(1000 * time.Hour)
	check(s, "in another", "BGN", 20)
	if _, values := s.Values("GB"); len(values) < 50*24 {
		t.Errorf("%d hours are known in the other currency (%d before): the provider tells 60 days", len(values), len(before))
	}
}

// What a provider's forecast leaves out is told by the own one, also before its first hour and in its midst.
func TestOwnForecastFillsGaps(t *testing.T) {
	p := &provider{now: start.Add(20 * time.Minute)}
	s := over(t, p, forecast.SourceOptions{Zones: []string{"GB"}})
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.ahead = 48
	lacks := map[int]bool{0: true, 5: true, 6: true, 40: true}
	p.broken = func(_ string, ps []grid.Point) ([]grid.Point, error) {
		first := ps[0].Start
		ps[10].Start = ps[10].Start.Add(15 * time.Minute) // and a part of an hour
		return slices.DeleteFunc(ps, func(q grid.Point) bool { return lacks[int(q.Start.Sub(first)/time.Hour)] }), nil
	}
	from, until := p.now, p.now.Add(60*time.Hour)
	ps, err := s.Forecast(t.Context(), "GB", from, until)
	if err != nil {
		t.Fatal(err)
	}
	if _, covered := grid.Mean(ps, from, until); math.Abs(covered-1) > 1e-9 {
		t.Errorf("%.3f of the time is foretold", covered)
	}
	theirs := 0
	for i, q := range ps {
		if i > 0 && q.Start.Before(ps[i-1].End) {
			t.Errorf("%+v overlaps %+v", ps[i-1], q)
		}
		if q.Source == "provider" {
			theirs++
		}
	}
	if theirs != 49-len(lacks) {
		t.Errorf("%d hours are the provider's, want %d", theirs, 49-len(lacks))
	}
}
