package dcgm_test

import (
	"net/http"
	"testing"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/dcgm"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// No text makes the back end panic, or measure what cannot be.
func FuzzText(f *testing.F) {
	live := func() emulate.Machine {
		return emulate.Machine{Watts: 300, Inlet: 22, Exhaust: 40, Utilization: 0.4, CPUWatts: 80, DRAMWatts: 12.5, Joules: 1e6, CPUJoules: 5e5, DRAMJoules: 1e5, GPUWatts: 250, GPUUtil: 0.8, GPUTemp: 66}
	}
	faulttest.FuzzText(f, func(url string) sensors.SensorSource {
		return dcgm.New(dcgm.Nodes(map[string]dcgm.Endpoint{faulttest.Node: {URL: url}}), dcgm.Options{})
	}, []http.Handler{emulate.NewDCGM(faulttest.Node, live, emulate.ExporterOptions{})},
		"DCGM_FI_DEV_POWER_USAGE{gpu=\"0\",UUID=\"a\"} 9223372036854775794\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 200\n",
		"DCGM_FI_DEV_POWER_USAGE{gpu=\"0\",GPU_I_ID=\"1\"} 2147483632\nDCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"0\",GPU_I_ID=\"1\"} NaN\n")
}
