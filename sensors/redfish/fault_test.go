package redfish_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func TestContractAndFaults(t *testing.T) {
	for name, o := range map[string]emulate.BMCOptions{
		"basic":   {},
		"session": {NoBasic: true, MaxSessions: 64},
		"sensors": {Without: []string{"ThermalSubsystem", "Thermal", "EnvironmentMetrics", "Power", "PowerSubsystem"}},
		"old":     {Without: []string{"ThermalSubsystem", "EnvironmentMetrics", "Sensors", "PowerSubsystem"}},
		"reports": {Reports: true},
	} {
		t.Run(name, func(t *testing.T) {
			faulttest.Run(t, faulttest.Case{
				Device: func(live func() emulate.Machine, to string) faulttest.Device {
					o.User, o.Password, o.RedirectTo = faulttest.User, faulttest.Password, to
					return emulate.NewBMC(live, o)
				},
				Source: func(urls map[string]string, password string, c *tls.Config, timeout time.Duration) sensors.SensorSource {
					nodes := map[string]redfish.Endpoint{}
					for n, u := range urls {
						nodes[n] = redfish.Endpoint{URL: u, User: faulttest.User, Password: password, TLS: c, Session: o.NoBasic}
					}
					return redfish.New(redfish.Nodes(nodes), redfish.Options{Timeout: timeout})
				},
				Machine: machine(), Kinds: []sensors.Kind{sensors.InletTemp, sensors.Power},
				Reasons: map[emulate.Fault]string{
					emulate.WrongType:  "no_reading", // "N/A" is taken for what it says
					emulate.NotANumber: "malformed",  // JSON has no NaN
				},
			})
		})
	}
}
