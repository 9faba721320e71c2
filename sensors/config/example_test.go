package config_test

import (
	"context"
	"fmt"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/config"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A file with one source, whose address is made from the node's.
func Example() {
	exporter := emulate.NewKepler("worker-1", func() emulate.Machine {
		m := emulate.Blank()
		m.Utilization = 0.4
		return m
	}, emulate.KeplerOptions{})
	server, err := emulate.Listen(nil, exporter)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	c, err := config.Parse("site.yaml", fmt.Appendf(nil, `
sensors:
  sources:
  - type: kepler
    url: http://{{.Address}}/metrics
  nodes:
  - {name: worker-1, address: "%s"}
`, server.URL[len("http://"):]))
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := c.Build(config.BuildOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer set.Close(context.Background())
	for _, node := range c.Nodes() {
		readings, err := set.Source.Read(context.Background(), node)
		fmt.Println(node, readings[0].Kind, readings[0].Value, err)
	}
	poller := set.NewPoller(nil) // what a program runs in the background
	fmt.Println(poller.Snapshot().Node("worker-1") == (*sensors.NodeReadings)(nil), poller.Nodes())
	// Output:
	// worker-1 cpu_utilization_ratio 0.4 <nil>
	// true [worker-1]
}
