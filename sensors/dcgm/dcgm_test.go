package dcgm_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/dcgm"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func ExampleSource() {
	exporter := emulate.NewDCGM("n1", func() emulate.Machine { return emulate.Machine{GPUWatts: 250, GPUUtil: 0.8, GPUTemp: 66} }, emulate.ExporterOptions{})
	server, err := emulate.Listen(nil, exporter)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	source := dcgm.New(dcgm.Nodes(map[string]dcgm.Endpoint{"n1": {URL: server.URL + "/metrics"}}), dcgm.Options{})
	readings, err := source.Read(context.Background(), "n1")
	for _, r := range readings {
		fmt.Println(r.Kind, r.Value, r.Source)
	}
	fmt.Println(err)
	// Output:
	// gpu_power_watts 500 dcgm:DCGM_FI_DEV_POWER_USAGE
	// gpu_utilization_ratio 0.8 dcgm:DCGM_FI_DEV_GPU_UTIL
	// gpu_temp_celsius 66 dcgm:DCGM_FI_DEV_GPU_TEMP
	// <nil>
}

func TestValues(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		match  map[string]string
		want   map[sensors.Kind]float64
		reason string
	}{
		"blank power": {
			text:   "DCGM_FI_DEV_POWER_USAGE{gpu=\"0\"} 9223372036854775794\nDCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 50\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 2147483634\n",
			want:   map[sensors.Kind]float64{sensors.GPUTemp: 50},
			reason: "",
		},
		"all blank": {text: "DCGM_FI_DEV_POWER_USAGE{gpu=\"0\"} 140737488355330\nDCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 2147483632\n", reason: "no_reading"},
		"a sum needs every GPU": {
			text:   "DCGM_FI_DEV_POWER_USAGE{gpu=\"0\"} 100\nDCGM_FI_DEV_POWER_USAGE{gpu=\"1\"} 9223372036854775794\nDCGM_FI_DEV_GPU_TEMP{gpu=\"1\"} 40\n",
			want:   map[sensors.Kind]float64{sensors.GPUTemp: 40},
			reason: "no_reading",
		},
		"a GPU shared by pods counts once": {
			text: "DCGM_FI_DEV_POWER_USAGE{gpu=\"0\",UUID=\"GPU-a\",pod=\"x\"} 100\nDCGM_FI_DEV_POWER_USAGE{gpu=\"0\",UUID=\"GPU-a\",pod=\"y\"} 100\nDCGM_FI_DEV_POWER_USAGE{gpu=\"1\",UUID=\"GPU-b\"} 50\n",
			want: map[sensors.Kind]float64{sensors.GPUPower: 150},
		},
		"MIG": { // 3/7 fully busy and 4/7 half busy
			text: "DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID=\"GPU-a\",GPU_I_ID=\"1\",GPU_I_PROFILE=\"3g.20gb\"} 1\nDCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID=\"GPU-a\",GPU_I_ID=\"2\",GPU_I_PROFILE=\"4g.20gb\"} 0.5\n",
			want: map[sensors.Kind]float64{sensors.GPUUtilization: 5.0 / 7},
		},
		"one host of many": {
			text:  "DCGM_FI_DEV_POWER_USAGE{gpu=\"0\",Hostname=\"n1\"} 100\nDCGM_FI_DEV_POWER_USAGE{gpu=\"0\",Hostname=\"n2\"} 50\n",
			match: map[string]string{"Hostname": "n2"},
			want:  map[sensors.Kind]float64{sensors.GPUPower: 50},
		},
		"idle is a measurement": {text: "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 0\n", want: map[sensors.Kind]float64{sensors.GPUUtilization: 0}},
		"counter alone":         {text: "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=\"0\"} 5\n", reason: "no_reading"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, c.text) }))
			defer s.Close()
			got, err := dcgm.New(dcgm.Nodes(map[string]dcgm.Endpoint{"n1": {URL: s.URL, Match: c.match}}), dcgm.Options{}).Read(t.Context(), "n1")
			if sensors.Reason(err) != c.reason {
				t.Errorf("%v, want reason %q", err, c.reason)
			}
			if len(got) != len(c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			for _, r := range got {
				if w, ok := c.want[r.Kind]; !ok || math.Abs(w-r.Value) > 1e-12 {
					t.Errorf("%s = %v, want %v", r.Kind, r.Value, w)
				}
			}
		})
	}
}

func TestEnergyBecomesPower(t *testing.T) {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for gpu, watts := range []int{200, 300} { // mJ, 10 s apart
			fmt.Fprintf(w, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=\"%d\"} %d %d\n", gpu, 1000*10*n*watts, 1_700_000_000_000+10_000*n)
		}
		n++
	}))
	defer s.Close()
	source := dcgm.New(dcgm.Nodes(map[string]dcgm.Endpoint{"n1": {URL: s.URL}}), dcgm.Options{})
	if _, err := source.Read(t.Context(), "n1"); sensors.Reason(err) != "no_reading" {
		t.Errorf("first read: %v", err)
	}
	got, err := source.Read(t.Context(), "n1")
	if err != nil || len(got) != 1 || got[0].Value != 500 || !strings.Contains(got[0].Source, "TOTAL_ENERGY") {
		t.Errorf("second read: %v, %v; want 500 W", got, err)
	}
}
