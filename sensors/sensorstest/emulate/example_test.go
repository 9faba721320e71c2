package emulate_test

import (
	"context"
	"fmt"

	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// An emulated BMC answers over HTTPS, follows its machine, and misbehaves when told to.
func ExampleBMC() {
	authority, err := emulate.NewAuthority()
	if err != nil {
		panic(err)
	}
	watts := 120.0
	bmc := emulate.NewBMC(func() emulate.Machine {
		m := emulate.Blank()
		m.Inlet, m.Watts = 22.5, watts
		return m
	}, emulate.BMCOptions{User: "monitor", Password: "secret"})
	server, err := emulate.Listen(authority, bmc)
	if err != nil {
		panic(err)
	}
	defer server.Close()
	source := redfish.New(redfish.Nodes(map[string]redfish.Endpoint{
		"n1": {URL: server.URL, User: "monitor", Password: "secret", TLS: authority.ClientTLS()}}), redfish.Options{})
	show := func() {
		readings, err := source.Read(context.Background(), "n1")
		for _, r := range readings {
			fmt.Println(r.Kind, r.Value, r.Source)
		}
		if err != nil {
			fmt.Println("an error")
		}
	}
	show()
	watts = 310
	show()
	bmc.SetFault(emulate.Fail500)
	show()
	// Output:
	// inlet_temp_celsius 22.5 redfish:ThermalMetrics
	// power_watts 120 redfish:EnvironmentMetrics
	// inlet_temp_celsius 22.5 redfish:ThermalMetrics
	// power_watts 310 redfish:EnvironmentMetrics
	// an error
}
