package kepler_test

import (
	"net/http"
	"testing"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/kepler"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// No text makes the back end panic, or measure what cannot be.
func FuzzText(f *testing.F) {
	live := func() emulate.Machine {
		return emulate.Machine{Watts: 300, Inlet: 22, Exhaust: 40, Utilization: 0.4, CPUWatts: 80, DRAMWatts: 12.5, Joules: 1e6, CPUJoules: 5e5, DRAMJoules: 1e5, GPUWatts: 250, GPUUtil: 0.8, GPUTemp: 66}
	}
	faulttest.FuzzText(f, func(url string) sensors.SensorSource {
		return kepler.New(kepler.Nodes(map[string]kepler.Endpoint{faulttest.Node: {URL: url}}), kepler.Options{})
	}, []http.Handler{emulate.NewKepler(faulttest.Node, live, emulate.KeplerOptions{Platform: true}), emulate.NewKepler(faulttest.Node, live, emulate.KeplerOptions{Legacy: true})},
		"kepler_node_cpu_watts{zone=\"package\"} NaN\nkepler_node_cpu_joules_total{zone=\"package\"} 1e308\nkepler_node_cpu_joules_total{zone=\"psys\"} -1\n",
		"kepler_node_platform_joules_total{source=\"acpi\",mode=\"idle\"} 1\nkepler_node_platform_joules_total{source=\"acpi\",mode=\"dynamic\"} +Inf 99999999999999\n")
}
