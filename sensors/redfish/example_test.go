package redfish_test

import (
	"context"
	"fmt"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// One server's BMC, here an emulated one.
func Example() {
	authority, err := emulate.NewAuthority()
	if err != nil {
		fmt.Println(err)
		return
	}
	bmc := emulate.NewBMC(func() emulate.Machine {
		m := emulate.Blank()
		m.Inlet, m.Watts = 24.5, 212
		return m
	}, emulate.BMCOptions{User: "monitor", Password: "example"})
	server, err := emulate.Listen(authority, bmc)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	source := redfish.New(redfish.Nodes(map[string]redfish.Endpoint{
		"worker-1": {URL: server.URL, User: "monitor", Password: "example", TLS: authority.ClientTLS()},
	}), redfish.Options{})
	defer source.Close(context.Background())

	readings, err := source.Read(context.Background(), "worker-1")
	for _, r := range readings {
		if r.Kind == sensors.InletTemp || r.Kind == sensors.Power {
			fmt.Println(r.Kind, r.Value, r.Source)
		}
	}
	fmt.Println(err)
	// Output:
	// inlet_temp_celsius 24.5 redfish:ThermalMetrics
	// power_watts 212 redfish:EnvironmentMetrics
	// <nil>
}
