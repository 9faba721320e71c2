package kepler_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/kepler"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func TestContractAndFaults(t *testing.T) {
	for name, o := range map[string]emulate.KeplerOptions{"new": {Platform: true}, "old": {Legacy: true}} {
		t.Run(name, func(t *testing.T) {
			kinds := []sensors.Kind{sensors.CPUEnergy}
			reasons := map[emulate.Fault]string{}
			if !o.Legacy {
				kinds = append(kinds, sensors.CPUUtilization, sensors.CPUPower, sensors.Power)
			}
			faulttest.Run(t, faulttest.Case{
				Device: func(live func() emulate.Machine, to string) faulttest.Device {
					o.User, o.Password, o.RedirectTo = faulttest.User, faulttest.Password, to
					return emulate.NewKepler(faulttest.Node, live, o)
				},
				Source: func(urls map[string]string, password string, c *tls.Config, timeout time.Duration) sensors.SensorSource {
					nodes := map[string]kepler.Endpoint{}
					for n, u := range urls {
						nodes[n] = kepler.Endpoint{URL: u + "/metrics", User: faulttest.User, Password: password, TLS: c}
					}
					return kepler.New(kepler.Nodes(nodes), kepler.Options{Timeout: timeout})
				},
				Machine: machine(), Kinds: kinds, Reasons: reasons,
			})
		})
	}
}
