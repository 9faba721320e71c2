package redfish_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastwatt/leastwatt/internal/samples"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/redfish"
)

// mockup serves a folder of index.json files as a Redfish service, without what is under hidden paths.
func mockup(dir string, hidden ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.URL.Path, "/redfish/v1")
		for _, h := range hidden {
			ok = ok && !strings.HasPrefix(path, h)
		}
		if u, p, _ := r.BasicAuth(); path != "" && (u != user || p != password) {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path), "index.json"))
		if err != nil || !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	})
}

// DMTF's mock-up has all views, and they disagree: 24.8 °C in ThermalMetrics and Sensors and 25 in Thermal,
// 374 W in EnvironmentMetrics and 344 in PowerControl. (The values are those of the files.)
func TestMockupOfARackServer(t *testing.T) {
	dir, ok := samples.Path("redfish", "public-rackmount1")
	if !ok {
		t.Skipf("DMTF's mock-up is not there: %s", dir)
	}
	a := authority(t)
	const c = "/Chassis/1U/"
	nodes := map[string]redfish.Endpoint{
		"all":     serve(t, a, mockup(dir)),
		"old":     serve(t, a, mockup(dir, c+"ThermalSubsystem", c+"EnvironmentMetrics", c+"Sensors", c+"PowerSubsystem")),
		"sensors": serve(t, a, mockup(dir, c+"ThermalSubsystem", c+"EnvironmentMetrics", c+"Thermal", c+"Power")),
	}
	s := source(t, nodes, redfish.Options{})
	for node, want := range map[string]map[sensors.Kind]reading{
		"all": {
			sensors.InletTemp: {24.8, "redfish:ThermalMetrics"}, sensors.ExhaustTemp: {40.5, "redfish:ThermalMetrics"},
			sensors.Power: {374, "redfish:EnvironmentMetrics"}, sensors.FanSpeed: {2100, "redfish:EnvironmentMetrics"},
		},
		"old": {
			sensors.InletTemp: {25, "redfish:Thermal"}, sensors.CPUTemp: {41, "redfish:Thermal"},
			sensors.FanSpeed: {2100, "redfish:Thermal"}, sensors.Power: {344, "redfish:PowerControl"},
		},
		"sensors": {sensors.InletTemp: {24.8, "redfish:Sensors"}, sensors.Power: {374, "redfish:Sensors"}},
	} {
		got, err := read(t, s, node)
		if err != nil {
			t.Errorf("%s: %v", node, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", node, d)
		}
	}
}
