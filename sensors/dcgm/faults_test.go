package dcgm_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/dcgm"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func TestContractAndFaults(t *testing.T) {
	faulttest.Run(t, faulttest.Case{
		Device: func(live func() emulate.Machine, to string) faulttest.Device {
			return emulate.NewDCGM("n1", live, emulate.ExporterOptions{User: faulttest.User, Password: faulttest.Password, RedirectTo: to})
		},
		Source: func(urls map[string]string, password string, c *tls.Config, timeout time.Duration) sensors.SensorSource {
			nodes := map[string]dcgm.Endpoint{}
			for n, u := range urls {
				nodes[n] = dcgm.Endpoint{URL: u + "/metrics", User: faulttest.User, Password: password, TLS: c}
			}
			return dcgm.New(dcgm.Nodes(nodes), dcgm.Options{Timeout: timeout})
		},
		Machine: emulate.Machine{GPUWatts: 250, GPUJoules: 1e6, GPUUtil: 0.8, GPUTemp: 66},
		Kinds:   []sensors.Kind{sensors.GPUPower, sensors.GPUUtilization, sensors.GPUTemp},
		Reasons: map[emulate.Fault]string{emulate.TooLarge: "malformed"},
	})
}
