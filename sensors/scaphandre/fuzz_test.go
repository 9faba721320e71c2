package scaphandre_test

import (
	"net/http"
	"testing"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// No text makes the back end panic, or measure what cannot be.
func FuzzText(f *testing.F) {
	live := func() emulate.Machine {
		return emulate.Machine{Watts: 300, Inlet: 22, Exhaust: 40, Utilization: 0.4, CPUWatts: 80, DRAMWatts: 12.5, Joules: 1e6, CPUJoules: 5e5, DRAMJoules: 1e5, GPUWatts: 250, GPUUtil: 0.8, GPUTemp: 66}
	}
	faulttest.FuzzText(f, func(url string) sensors.SensorSource {
		return scaphandre.New(scaphandre.Nodes(map[string]scaphandre.Endpoint{faulttest.Node: {URL: url}}), scaphandre.Options{})
	}, []http.Handler{emulate.NewScaphandre(live, emulate.ExporterOptions{})},
		"scaph_host_power_microwatts -5\nscaph_host_energy_microjoules 18446744073709551615\n",
		"scaph_socket_power_microwatts{socket_id=\"0\"} 1e300\nscaph_domain_power_microwatts{domain_name=\"dram\",socket_id=\"0\"} NaN\n")
}
