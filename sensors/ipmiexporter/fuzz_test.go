package ipmiexporter_test

import (
	"net/http"
	"testing"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/ipmiexporter"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// No text makes the back end panic, or measure what cannot be.
func FuzzText(f *testing.F) {
	live := func() emulate.Machine {
		return emulate.Machine{Watts: 300, Inlet: 22, Exhaust: 40, Utilization: 0.4, CPUWatts: 80, DRAMWatts: 12.5, Joules: 1e6, CPUJoules: 5e5, DRAMJoules: 1e5, GPUWatts: 250, GPUUtil: 0.8, GPUTemp: 66}
	}
	faulttest.FuzzText(f, func(url string) sensors.SensorSource {
		return ipmiexporter.New(ipmiexporter.Nodes(map[string]ipmiexporter.Endpoint{faulttest.Node: {URL: url}}), ipmiexporter.Options{})
	}, []http.Handler{emulate.NewIPMIExporter(live, true, emulate.ExporterOptions{})},
		"ipmi_up{collector=\"ipmi\"} 1\nipmi_temperature_celsius{id=\"1\",name=\"Inlet Temp\"} NaN\nipmi_power_watts{name=\"Pwr\"} -3\n",
		"ipmi_up{collector=\"dcmi\"} 0\nipmi_dcmi_power_consumption_watts 1e308\n")
}
