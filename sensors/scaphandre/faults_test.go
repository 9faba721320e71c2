package scaphandre_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func TestContractAndFaults(t *testing.T) {
	faulttest.Run(t, faulttest.Case{
		Device: func(live func() emulate.Machine, to string) faulttest.Device {
			return emulate.NewScaphandre(live, emulate.ExporterOptions{User: faulttest.User, Password: faulttest.Password, RedirectTo: to})
		},
		Source: func(urls map[string]string, password string, c *tls.Config, timeout time.Duration) sensors.SensorSource {
			nodes := map[string]scaphandre.Endpoint{}
			for n, u := range urls {
				nodes[n] = scaphandre.Endpoint{URL: u + "/metrics", User: faulttest.User, Password: password, TLS: c}
			}
			return scaphandre.New(scaphandre.Nodes(nodes), scaphandre.Options{Timeout: timeout})
		},
		Machine: emulate.Machine{CPUWatts: 80, DRAMWatts: 12, CPUJoules: 1e5, DRAMJoules: 2e4},
		Kinds:   []sensors.Kind{sensors.CPUPower, sensors.CPUEnergy},
		Reasons: map[emulate.Fault]string{emulate.ManySensors: "malformed", emulate.TooLarge: "malformed"},
	})
}
