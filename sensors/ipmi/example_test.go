package ipmi_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/ipmi"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func ExampleSource() {
	bmc, err := emulate.NewIPMI("monitor", "secret",
		emulate.IPMISensor{Name: "Inlet Temp", Entity: 0x37, Unit: 1, M: 5, RExp: -1, Raw: 47})
	if err != nil {
		fmt.Println(err)
		return
	}
	bmc.SetDCMI(287)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = bmc.Run(ctx) })

	source := ipmi.New(ipmi.Nodes(map[string]ipmi.BMC{
		"n1": {Address: bmc.Addr(), Username: "monitor", Password: "secret"},
	}), ipmi.Options{})
	defer source.Close()
	readings, err := source.Read(ctx, "n1")
	for _, r := range readings {
		fmt.Println(r.Kind, r.Value, r.Source)
	}
	_, unknown := source.Read(ctx, "n2")
	fmt.Println(err, sensors.Reason(unknown))
	// Output:
	// power_watts 287 ipmi:DCMI
	// inlet_temp_celsius 23.5 ipmi:SDR/Inlet Temp
	// <nil> unknown_node
}
