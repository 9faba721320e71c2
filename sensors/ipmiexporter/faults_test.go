package ipmiexporter_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/ipmiexporter"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func TestContractAndFaults(t *testing.T) {
	faulttest.Run(t, faulttest.Case{
		Device: func(live func() emulate.Machine, to string) faulttest.Device {
			return emulate.NewIPMIExporter(live, true, emulate.ExporterOptions{User: faulttest.User, Password: faulttest.Password, RedirectTo: to})
		},
		Source: func(urls map[string]string, password string, c *tls.Config, timeout time.Duration) sensors.SensorSource {
			nodes := map[string]ipmiexporter.Endpoint{}
			for n, u := range urls {
				nodes[n] = ipmiexporter.Endpoint{URL: u + "/metrics", User: faulttest.User, Password: password, TLS: c}
			}
			return ipmiexporter.New(ipmiexporter.Nodes(nodes), ipmiexporter.Options{Timeout: timeout})
		},
		Machine: emulate.Machine{Watts: 287, Inlet: 23.5, Exhaust: 38, CPUTemp: 61, FanRPM: 6200},
		Kinds:   []sensors.Kind{sensors.InletTemp, sensors.ExhaustTemp, sensors.CPUTemp, sensors.FanSpeed, sensors.Power},
		Reasons: map[emulate.Fault]string{},
	})
}
