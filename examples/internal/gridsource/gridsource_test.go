package gridsource_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/examples/internal/gridsource"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// Each notation opens; what is none is told with those that are.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	table := filepath.Join(dir, "ci.csv")
	if err := os.WriteFile(table, []byte("time,DE\n2024-06-03T12:00:00Z,300\n2024-06-03T13:00:00Z,200\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	section, empty := filepath.Join(dir, "site.yaml"), filepath.Join(dir, "empty.yaml")
	if err := errors.Join(os.WriteFile(section, []byte("objective: {intensity: [{type: prometheus, url: 'http://127.0.0.1:1', expr: grid_intensity_carbon_average}, {type: static, value: 350, zones: [DE]}]}\n"), 0o600),
		os.WriteFile(empty, []byte("objective: {minimize: watts}\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Date(2024, 6, 3, 12, 30, 0, 0, time.UTC) }
	for _, text := range []string{"neso", "neso:http://127.0.0.1:1", "electricitymaps:http://127.0.0.1:1", "watttime:http://127.0.0.1:1", "carbonaware:http://127.0.0.1:1", "csv:" + table, "static:300", "sine:300:100:86400", "randwalk:100:500:3600", "config:" + section} {
		o := gridsource.Options{Now: now}
		if strings.HasPrefix(text, "config:") {
			o.Now = nil // the file's sources go by the present
		}
		f, err := gridsource.Open(text, o)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if text == "config:"+section {
			if p, err := f.Current(t.Context(), "DE"); err != nil || p.Value != 350 {
				t.Errorf("%v, %v", p, err)
			}
		}
		if text == "csv:"+table {
			if p, err := f.Current(t.Context(), "DE"); err != nil || p.Value != 300 {
				t.Errorf("%v, %v", p, err)
			}
			if ps, err := f.Forecast(t.Context(), "DE", now(), now().Add(time.Hour)); err != nil || len(ps) != 2 {
				t.Errorf("%v, %v", ps, err)
			}
		}
	}
	for _, text := range []string{"", "nesso", "csv:" + filepath.Join(dir, "none"), "static:much", "config:" + empty, "config:" + table, "config:" + filepath.Join(dir, "none")} {
		if _, err := gridsource.Open(text, gridsource.Options{}); err == nil {
			t.Errorf("%q opens", text)
		}
	}
}

// Where nobody names a provider NESO tells of Great Britain, and of no other zone: it is not even asked.
func TestLiveDefault(t *testing.T) {
	now := func() time.Time { return time.Date(2026, 6, 1, 12, 10, 0, 0, time.UTC) }
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `{"data":[{"from":"2026-06-01T12:00Z","to":"2026-06-01T12:30Z","intensity":{"forecast":160,"actual":155,"index":"moderate"}}]}`)
	}))
	defer s.Close()
	f := gridsource.Flags{Default: "neso:" + s.URL}
	source, err := f.Open(slog.New(slog.DiscardHandler), now)
	if err != nil {
		t.Fatal(err)
	}
	for _, zone := range []string{"DE", "", "FR", "gb"} {
		if p, err := source.Current(t.Context(), zone); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("zone %q: %v, %v: want none", zone, p, err)
		}
		if ps, err := grid.Forecast(t.Context(), source, zone, now(), now().Add(time.Hour)); err == nil || len(ps) > 0 {
			t.Errorf("zone %q: forecast %v, %v: want none", zone, ps, err)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("NESO was asked %d times about zones elsewhere", n)
	}
	if p, err := source.Current(t.Context(), "GB"); err != nil || p.Value != 155 || p.Signal != grid.AverageDirect {
		t.Errorf("zone GB: %v, %v: want 155 g/kWh, direct", p, err)
	}
	f.Grid = gridsource.None
	if source, err = f.Open(slog.New(slog.DiscardHandler), now); source != nil || err != nil {
		t.Errorf("none: %v, %v", source, err)
	}
}

// A source that plays the past again does not tell the future through Honest.
func TestHonest(t *testing.T) {
	s, err := grid.NewSeries(grid.AverageLifeCycle, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grid.Forecast(t.Context(), gridsource.Honest{HistorySource: s}, "DE", time.Now(), time.Now().Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "not supported") {
		t.Errorf("a forecast: %v", err)
	}
}
