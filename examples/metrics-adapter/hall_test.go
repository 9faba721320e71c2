package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A server is one emulated server: a BMC over TLS, and a Kepler exporter that tells of a pod too.
type server struct {
	name  string
	watts atomic.Int64
	bmc   *emulate.BMC
	pods  string // lines of Kepler's

	bmcURL, keplerURL string
	ca                []byte // that the BMC's certificate is of
}

func (s *server) live() emulate.Machine {
	m := emulate.Blank()
	m.Utilization, m.Inlet, m.Watts = 0.5, 24.5, float64(s.watts.Load())
	return m
}

// hall starts servers and writes the file that leads to them.
func hall(t *testing.T, servers ...*server) (file string) {
	t.Helper()
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	listen := func(a *emulate.Authority, device http.Handler) string {
		s, err := emulate.Listen(a, device)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s.URL
	}
	var bmcs, exporters strings.Builder
	for _, s := range servers {
		s.bmc = emulate.NewBMC(s.live, emulate.BMCOptions{User: "monitor", Password: "secret"})
		kepler := emulate.NewKepler(s.name, s.live, emulate.KeplerOptions{})
		s.ca, s.bmcURL = authority.PEM(), listen(authority, s.bmc)
		s.keplerURL = listen(nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			kepler.ServeHTTP(w, r)
			fmt.Fprint(w, s.pods)
		})) + "/metrics"
		fmt.Fprintf(&bmcs, "      %s: {url: %s}\n", s.name, s.bmcURL)
		fmt.Fprintf(&exporters, "      %s: {url: %s}\n", s.name, s.keplerURL)
	}
	names := make([]string, len(servers))
	for i, s := range servers {
		names[i] = s.name
	}
	aisles := func() emulate.Machine { return emulate.Machine{Pressure: -1.5} }
	pressure := listen(nil, emulate.NewPressure(aisles, emulate.ExporterOptions{}, names...))
	text := fmt.Sprintf(`sensors:
  poll: {interval: 500ms}
  sources:
  - type: redfish
    user: monitor
    passwordFile: password
    tls: {caFile: ca.crt}
    perNode:
%s  - type: kepler
    perNode:
%s  - {type: pressure, url: %s}
models: [{name: all, kind: linear, idleWatts: 100, peakWatts: 300}]
scoring: {maxAge: 6s, refresh: 500ms}
objective: {minimize: grams, intensity: [{type: static, value: 300}]}
`, bmcs.String(), exporters.String(), pressure)
	dir := t.TempDir()
	for name, content := range map[string]string{"site.yaml": text, "password": "secret\n", "ca.crt": string(authority.PEM())} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "site.yaml")
}
