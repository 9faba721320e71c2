package kepler_test

import (
	"context"
	"fmt"

	"github.com/leastwatt/leastwatt/sensors/kepler"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// One node's Kepler, here an emulated one.
func Example() {
	exporter := emulate.NewKepler("worker-1", func() emulate.Machine {
		m := emulate.Blank()
		m.Utilization, m.CPUWatts, m.DRAMWatts = 0.25, 64, 9
		return m
	}, emulate.KeplerOptions{})
	server, err := emulate.Listen(nil, exporter)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	source := kepler.New(kepler.Nodes(map[string]kepler.Endpoint{"worker-1": {URL: server.URL + "/metrics"}}), kepler.Options{})
	readings, err := source.Read(context.Background(), "worker-1")
	for _, r := range readings {
		fmt.Println(r.Kind, r.Value, r.Source)
	}
	fmt.Println(err)
	// Output:
	// cpu_utilization_ratio 0.25 kepler:cpu_usage_ratio
	// cpu_power_watts 73 kepler:cpu_watts package+dram
	// <nil>
}
