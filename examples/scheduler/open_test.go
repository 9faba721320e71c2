package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/scoring"
)

const site = `
sensors: {sources: [{name: k, type: kepler, url: "http://127.0.0.1:9/{node}"}]}
models: [{name: m, kind: linear, idleWatts: 50, peakWatts: 100}]
`

// Two profiles may have files of the same name in two folders.
func TestOpenFilesOfOneName(t *testing.T) {
	for range 2 {
		path := filepath.Join(t.TempDir(), "leastwatt.yaml")
		if err := os.WriteFile(path, []byte(site), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := new(profileOptions).open(path); err != nil || s.Site == nil || s.Scorer == nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Profiles whose files differ in what they keep low have their sensors read once, and those with other sensors, or of another folder, apart.
func TestOpenReadsSensorsOnce(t *testing.T) {
	var reads atomic.Int64
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reads.Add(1)
		fmt.Fprint(w, "kepler_node_cpu_usage_ratio 0.5\n")
	}))
	defer exporter.Close()
	folder := t.TempDir()
	text := fmt.Sprintf(`
sensors: {poll: {interval: 1h}, sources: [{type: kepler, url: "%s/metrics"}]}
models: [{kind: linear, idleWatts: 100, peakWatts: 200}]
scoring: {refresh: 10ms}
`, exporter.URL)
	own := "objective: {minimize: grams, intensity: [{type: static, value: %d}]}\n"
	files := map[string]string{filepath.Join(folder, "a.yaml"): text, filepath.Join(folder, "b.yaml"): text + fmt.Sprintf(own, 100), filepath.Join(folder, "c.yaml"): text + fmt.Sprintf(own, 300),
		filepath.Join(folder, "d.yaml"): strings.ReplaceAll(text, "1h", "2h"), filepath.Join(t.TempDir(), "e.yaml"): text}
	o := new(profileOptions)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var sites []scheduler.Site
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(path, []byte(files[path]), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := o.open(path)
		if err != nil {
			t.Fatal(err)
		}
		s.Site.Put(scoring.Machine{Name: "n", Cores: 8})
		wg.Go(func() { _ = s.Site.Run(ctx) })
		sites = append(sites, s.Site)
	}
	for i, s := range sites {
		if err := until(ctx, func() (bool, error) {
			n := s.View().Node("n")
			return n != nil && n.Err == nil && n.State.Utilization == 0.5, nil
		}); err != nil {
			t.Fatalf("site %d: %v: %+v", i, err, s.View().Node("n"))
		}
	}
	if n := reads.Load(); n != 3 {
		t.Errorf("the exporter was read %d times, want 3: for a, b and c at once, for d, and for e", n)
	}
}
