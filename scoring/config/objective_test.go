package config_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A site of two countries follows what the grid says: the same server costs grams by its place, a place that is not
// known does not win, and the answer of a provider that went away is not used for ever.
func TestObjectiveFollowsTheGrid(t *testing.T) {
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "kepler_node_cpu_usage_ratio 0.5\n")
	}))
	defer exporter.Close()
	var away atomic.Bool
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if zone := r.URL.Query().Get("zone"); away.Load() || zone != "DE" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		now := time.Now().UTC().Truncate(time.Hour).Format(time.RFC3339)
		fmt.Fprintf(w, `{"zone":"DE","carbonIntensity":400,"datetime":%q,"updatedAt":%q,"createdAt":%q,"emissionFactorType":"lifecycle","isEstimated":false,"estimationMethod":null}`, now, now, now)
	}))
	defer provider.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`
sensors: {poll: {interval: 20ms}, sources: [{type: kepler, url: %q}]}
models: [{kind: linear, idleWatts: 100, peakWatts: 200}]
scoring: {refresh: 20ms}
objective:
  minimize: grams
  refresh: 20ms
  pue: 1.25
  zone: {label: country}
  intensity:
  - {type: electricity-maps, url: %q, tokenFile: token, interval: 1ms, maxAge: 1ns}
  - {type: static, value: 40, zones: [SE]}
`, exporter.URL+"/metrics", provider.URL)
	c, err := config.Parse(filepath.Join(dir, "site.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	site, err := c.NewSite(config.SiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, country := range map[string]string{"german": "DE", "swede": "SE", "pole": "PL", "stateless": ""} {
		m := scoring.Machine{Name: name, Cores: 10}
		if country != "" {
			m.Labels = map[string]string{"country": country}
		}
		site.Put(m)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- site.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	costs := func() map[string]scoring.Cost {
		out := make(map[string]scoring.Cost)
		all, err := c.NewScorer().Score(ctx, scoring.Demand{CPU: 1}, site.View().Nodes())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			out[x.Node] = x
		}
		return out
	}
	// 10 W more are 0.0125 kWh an hour at a PUE of 1.25: 5 g at 400, 0.5 g at 40.
	await(t, func() bool {
		got := costs()
		return near(got["german"], 5) && near(got["swede"], 0.5)
	})
	got := costs()
	if err := got["pole"].Err; !errors.Is(err, grid.ErrUnknownZone) || scoring.Compare(got["german"], got["pole"]) >= 0 {
		t.Errorf("in a zone that nobody knows the cost is %+v", got["pole"])
	}
	if err := got["stateless"].Err; !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("without a zone the cost is %+v", got["stateless"])
	}
	if x, err := scoring.Explain(ctx, c.NewScorer(), scoring.Demand{CPU: 1}, site.View().Nodes(), time.Now()); err != nil || x[0].Tariff == nil || x[0].Tariff.Source != "static" || x[0].Tariff.Intensity != 40 {
		t.Errorf("explained: %+v, %v", x, err)
	}
	away.Store(true)
	if time.Now().UTC().Minute() < 59 { // the hour that was told is not over, so it goes on to count
		if got := costs(); !near(got["german"], 5) {
			t.Errorf("with the provider away the cost is %+v: want what it said of this hour", got["german"])
		}
	}
}

func near(c scoring.Cost, want float64) bool {
	return c.Err == nil && c.Unit == scoring.GramsPerHour && c.Value > want-1e-9 && c.Value < want+1e-9
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it did not come about")
		}
	}
}
