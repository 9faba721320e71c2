package charttest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A machines is servers with BMCs and exporters, what leads the chart to them, and the Secret of their BMCs.
type machines struct {
	values string
	secret map[string][]byte
	bmc    string // of thirsty
	watts  string // the Scaphandre of frugal

	doors   []*door
	thirsty *door
	keplers []*emulate.Kepler
}

// A door is a BMC whose password can be changed, and which tells whether somebody came in with it.
type door struct {
	live func() emulate.Machine

	mu  sync.Mutex
	bmc *emulate.BMC // guarded by mu

	entered atomic.Bool
}

func (d *door) lock(password string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bmc = emulate.NewBMC(d.live, emulate.BMCOptions{User: "monitor", Password: password})
	d.entered.Store(false)
}

func (d *door) now() *emulate.BMC {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bmc
}

// ServeHTTP implements [http.Handler].
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &status{ResponseWriter: w}
	d.now().ServeHTTP(s, r)
	if s.code < http.StatusBadRequest && strings.Trim(r.URL.Path, "/") != "redfish/v1" { // which needs no password
		d.entered.Store(true)
	}
}

// A status remembers with which status was answered.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap is for [http.ResponseController].
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// fault breaks every sensor in the given way, or mends it.
func (m *machines) fault(f emulate.Fault) {
	for _, d := range m.doors {
		d.now().SetFault(f)
	}
	for _, k := range m.keplers {
		k.SetFault(f)
	}
}

// hall starts servers with the given loads.
func hall(t *testing.T, loads map[string]float64) *machines {
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
	m := &machines{secret: map[string][]byte{"username": []byte("monitor"), "password": []byte("secret"), "ca.crt": authority.PEM()}}
	var bmcs, exporters strings.Builder
	for name, load := range loads {
		live := func() emulate.Machine {
			m := emulate.Blank()
			m.Utilization, m.Inlet, m.Watts, m.CPUWatts, m.DRAMWatts = load, 24, 150, 90, 10
			return m
		}
		d := &door{live: live}
		d.lock("secret")
		k := emulate.NewKepler(name, live, emulate.KeplerOptions{})
		m.doors, m.keplers = append(m.doors, d), append(m.keplers, k)
		at := listen(authority, d)
		switch name {
		case "thirsty":
			m.bmc, m.thirsty = at, d
		case "frugal":
			m.watts = listen(nil, emulate.NewScaphandre(live, emulate.ExporterOptions{}))
		}
		fmt.Fprintf(&bmcs, "          %s: {url: %s}\n", name, at)
		fmt.Fprintf(&exporters, "          %s: {url: %s/metrics}\n", name, listen(nil, k))
	}
	m.values = fmt.Sprintf(`secrets: [bmc]
config:
  scoring: {maxAge: 8s}
  sensors:
    poll: {interval: 1s}
    sources:
      - type: redfish
        user: monitor
        passwordFile: /etc/leastwatt-secrets/bmc/password
        tls: {caFile: /etc/leastwatt-secrets/bmc/ca.crt}
        perNode:
%s      - type: kepler
        perNode:
%s  models:
    - {name: frugal, nodes: [frugal], kind: linear, idleWatts: 50, peakWatts: 90}
    - {name: others, kind: linear, idleWatts: 50, peakWatts: 350}
jobs:
  namespace: batch
  grid: static:100
  strategy: leastwatt
  template:
    apiVersion: batch/v1
    kind: Job
    spec:
      template:
        spec: {schedulerName: leastwatt, restartPolicy: Never, automountServiceAccountToken: false, containers: [{name: work, image: none}]}
`, bmcs.String(), exporters.String())
	return m
}
