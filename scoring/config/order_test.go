package config_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
)

// The load of a node is that of the first source of the file which is fresh: cores in use over the cores that the
// cluster counts, and the exporter's own ratio once the first source is stuck. The source is told.
func TestSourcesOfUtilizationInOrder(t *testing.T) {
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "kepler_node_cpu_usage_ratio 0.75\n")
	}))
	defer exporter.Close()
	var stuck atomic.Pointer[time.Time]
	metrics := sensorsconfig.Type{Name: "metrics.k8s.io", NoURL: true, New: func(sensorsconfig.Endpoint) (sensors.SensorSource, error) {
		return sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) {
			at := time.Now()
			if s := stuck.Load(); s != nil {
				at = *s
			}
			return []sensors.Reading{{Kind: sensors.CPUUsed, Value: 4, At: at, Source: "metrics.k8s.io"}}, nil
		}), nil
	}}
	for order, want := range map[string][2]string{
		"metrics, kepler": {"metrics.k8s.io", "kepler"},
		"kepler, metrics": {"kepler", "kepler"},
	} {
		stuck.Store(nil)
		listed := map[string]string{"metrics": "  - {type: metrics.k8s.io, derive: true}\n", "kepler": "  - {type: kepler, url: " + exporter.URL + "/metrics}\n"}
		var text strings.Builder
		text.WriteString("sensors:\n  poll: {interval: 20ms}\n  sources:\n")
		for s := range strings.SplitSeq(order, ", ") {
			text.WriteString(listed[s])
		}
		text.WriteString("models: [{kind: linear, idleWatts: 100, peakWatts: 200}]\nscoring: {refresh: 20ms, maxAge: 1s}\n")
		c, err := config.Parse(filepath.Join(t.TempDir(), "site.yaml"), []byte(text.String()))
		if err != nil {
			t.Fatal(err)
		}
		site, err := c.NewSite(config.SiteOptions{Types: []sensorsconfig.Type{metrics}})
		if err != nil {
			t.Fatal(err)
		}
		site.Put(scoring.Machine{Name: "n", Cores: 16})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- site.Run(ctx) }()
		load := map[string]float64{"metrics.k8s.io": 0.25, "kepler": 0.75}
		from := func(want string) func() bool {
			return func() bool {
				n := site.View().Node("n")
				if n == nil || n.Err != nil {
					return false
				}
				x, err := scoring.Explain(ctx, c.NewScorer(), scoring.Demand{CPU: 1}, []scoring.Node{*n}, time.Now())
				return err == nil && strings.HasPrefix(x[0].Source, want) && n.State.Utilization == load[want]
			}
		}
		await(t, from(want[0]))
		stuck.Store(new(time.Now()))
		await(t, from(want[1]))
		stuck.Store(nil)
		await(t, from(want[0]))
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
