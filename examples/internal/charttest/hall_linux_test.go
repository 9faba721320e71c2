package charttest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// hall starts servers with the given loads, and returns the values that lead the chart to them, their Secret, and where the BMC of thirsty is.
func hall(t *testing.T, loads map[string]float64) (values string, secret map[string][]byte, url string) {
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
	for name, load := range loads {
		live := func() emulate.Machine {
			m := emulate.Blank()
			m.Utilization, m.Inlet, m.Watts = load, 24, 150
			return m
		}
		bmc := emulate.NewBMC(live, emulate.BMCOptions{User: "monitor", Password: "secret"})
		at := listen(authority, bmc)
		if name == "thirsty" {
			url = at
		}
		fmt.Fprintf(&bmcs, "          %s: {url: %s}\n", name, at)
		fmt.Fprintf(&exporters, "          %s: {url: %s/metrics}\n", name, listen(nil, emulate.NewKepler(name, live, emulate.KeplerOptions{})))
	}
	return fmt.Sprintf(`secrets: [bmc]
config:
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
`, bmcs.String(), exporters.String()), map[string][]byte{"username": []byte("monitor"), "password": []byte("secret"), "ca.crt": authority.PEM()}, url
}
