package kepler_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/leastwatt/leastwatt/internal/samples"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/kepler"
	"github.com/leastwatt/leastwatt/sensors/sensorstest"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

const password = "s3cret-Pa55-word"

func machine() emulate.Machine {
	m := emulate.Blank()
	m.Utilization, m.CPUWatts, m.DRAMWatts, m.Watts, m.CPUJoules, m.DRAMJoules, m.Joules = 0.37, 120, 18, 260, 5000, 700, 9000
	return m
}

func serve(t *testing.T, device http.Handler) string {
	t.Helper()
	s, err := emulate.Listen(nil, device)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.URL + "/metrics"
}

// text is an exporter that answers with a text.
func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

func source(t *testing.T, nodes map[string]kepler.Endpoint) *kepler.Source {
	t.Helper()
	s := kepler.New(kepler.Nodes(nodes), kepler.Options{})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

type reading struct {
	Value  float64
	Source string
}

func read(t *testing.T, s sensors.SensorSource, node string) (map[sensors.Kind]reading, error) {
	t.Helper()
	rs, err := s.Read(t.Context(), node)
	got := map[sensors.Kind]reading{}
	for _, r := range rs {
		got[r.Kind] = reading{r.Value, r.Source}
	}
	return got, err
}

func TestConformance(t *testing.T) {
	hangs := emulate.NewKepler("hangs", machine, emulate.KeplerOptions{})
	hangs.SetFault(emulate.Hang)
	o := emulate.KeplerOptions{User: "scraper", Password: password, Platform: true}
	with := kepler.Endpoint{URL: serve(t, emulate.NewKepler("good", machine, o)), User: "scraper", Password: password}
	wrong := with
	wrong.Password = "wrong-" + password
	s := source(t, map[string]kepler.Endpoint{"good": with, "wrong": wrong, "hangs": {URL: serve(t, hangs)}, "refused": {URL: "http://127.0.0.1:1/metrics"}})
	err := sensorstest.TestSource(s, sensorstest.Want{Node: "good", Kinds: []sensors.Kind{sensors.CPUUtilization, sensors.CPUPower, sensors.Power},
		Hangs: "hangs", Fails: map[string]error{"wrong": sensors.ErrUnauthorized, "refused": sensors.ErrUnreachable}, Secrets: []string{password}})
	if err != nil {
		t.Error(err)
	}
}

// The emulated machine has 120 W in its packages, 96 of them in the cores, and 18 in its memory.
func TestZonesAreNotSummedTwice(t *testing.T) {
	s := source(t, map[string]kepler.Endpoint{"n": {URL: serve(t, emulate.NewKepler("n", machine, emulate.KeplerOptions{Platform: true}))}})
	got, err := read(t, s, "n")
	want := map[sensors.Kind]reading{
		sensors.CPUUtilization: {0.37, "kepler:cpu_usage_ratio"}, sensors.CPUPower: {138, "kepler:cpu_watts package+dram"},
		sensors.CPUEnergy: {5700, "kepler:cpu_joules_total package+dram"}, sensors.Power: {260, "kepler:platform_watts"},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestWhatIsCounted(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       map[sensors.Kind]reading
		err        error
	}{
		{"psys holds all others", `
kepler_node_cpu_watts{node_name="n",zone="psys"} 90
kepler_node_cpu_watts{node_name="n",zone="package"} 70
kepler_node_cpu_watts{node_name="n",zone="dram"} 10`, map[sensors.Kind]reading{sensors.CPUPower: {90, "kepler:cpu_watts psys"}}, nil},
		{"two sockets", `
kepler_node_cpu_watts{node_name="n",zone="package-0",path="a"} 40
kepler_node_cpu_watts{node_name="n",zone="package-1",path="b"} 30
kepler_node_cpu_watts{node_name="n",zone="core",path="c"} 25`, map[sensors.Kind]reading{sensors.CPUPower: {70, "kepler:cpu_watts package"}}, nil},
		{"core alone is not the whole", `kepler_node_cpu_watts{node_name="n",zone="core"} 5`, nil, sensors.ErrNoReading},
		{"the only node may have another name", `kepler_node_cpu_usage_ratio{node_name="vm"} 0.5`, map[sensors.Kind]reading{sensors.CPUUtilization: {0.5, "kepler:cpu_usage_ratio"}}, nil},
		{"of two nodes, the one with the name", `
kepler_node_cpu_usage_ratio{node_name="n"} 0.5
kepler_node_cpu_usage_ratio{node_name="m"} 0.7`, map[sensors.Kind]reading{sensors.CPUUtilization: {0.5, "kepler:cpu_usage_ratio"}}, nil},
		{"of two nodes, none with the name", `
kepler_node_cpu_usage_ratio{node_name="k"} 0.5
kepler_node_cpu_usage_ratio{node_name="m"} 0.7`, nil, sensors.ErrNoReading},
		{"GPUs add up", `
kepler_node_gpu_watts{node_name="n",gpu="0"} 200
kepler_node_gpu_watts{node_name="n",gpu="1"} 250`, map[sensors.Kind]reading{sensors.GPUPower: {450, "kepler:gpu_watts"}}, nil},
		{"supplies add up", `
kepler_platform_watts{node_name="n",bmc_id="b",chassis_id="1",source_id="PS1",source_type="PowerSupply"} 245
kepler_platform_watts{node_name="n",bmc_id="b",chassis_id="1",source_id="PS2",source_type="PowerSupply"} 100`,
			map[sensors.Kind]reading{sensors.Power: {345, "kepler:platform_watts supplies"}}, nil},
		{"power controls do not", `
kepler_platform_watts{node_name="n",bmc_id="b",chassis_id="1",source_id="1",source_type="PowerControl"} 85
kepler_platform_watts{node_name="n",bmc_id="b",chassis_id="1",source_id="0",source_type="PowerControl"} 450`,
			map[sensors.Kind]reading{sensors.Power: {450, "kepler:platform_watts"}}, nil},
		{"two chassis may lie in each other", `
kepler_platform_watts{node_name="n",bmc_id="b",chassis_id="1"} 85
kepler_platform_watts{node_name="n",bmc_id="b",chassis_id="2"} 450`, nil, sensors.ErrMalformed},
		{"not a metric of Kepler", "up 1\n", nil, sensors.ErrNoReading},
		{"not an exposition", "<html>", nil, sensors.ErrMalformed},
		{"impossible", `kepler_node_cpu_usage_ratio{node_name="n"} 17`, nil, sensors.ErrImplausible},
	} {
		s := source(t, map[string]kepler.Endpoint{"n": {URL: serve(t, text(strings.TrimSpace(c.text)+"\n"))}})
		got, err := read(t, s, "n")
		if d := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
		if !errors.Is(err, c.err) || (c.err == nil) != (err == nil) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
		}
	}
}

// The old scheme has counters: watts are there from the second read on. The sample stamps make the time.
func TestOldCountersBecomeWatts(t *testing.T) {
	var answer string
	device := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
	s := source(t, map[string]kepler.Endpoint{"n": {URL: serve(t, device)}})
	start := time.Now()
	at := func(seconds, idle, dynamic, dram float64) string {
		stamp := start.Add(time.Duration(seconds * float64(time.Second))).UnixMilli()
		var b strings.Builder
		for labels, v := range map[string]float64{
			`kepler_node_package_joules_total{instance="n",mode="idle",package="0",source="rapl"}`:    idle,
			`kepler_node_package_joules_total{instance="n",mode="dynamic",package="0",source="rapl"}`: dynamic,
			`kepler_node_core_joules_total{instance="n",mode="dynamic",package="0",source="rapl"}`:    dynamic / 2,
			`kepler_node_dram_joules_total{instance="n",mode="dynamic",package="0",source="rapl"}`:    dram,
		} {
			b.WriteString(labels + " " + num(v) + " " + num(float64(stamp)) + "\n")
		}
		return b.String()
	}
	const view = "kepler:node_package_joules_total+dram"
	for i, c := range []struct {
		answer string
		want   map[sensors.Kind]reading
	}{
		{at(-30, 1000, 2000, 100), map[sensors.Kind]reading{sensors.CPUEnergy: {3100, view}}},
		{at(-20, 1500, 2400, 200), map[sensors.Kind]reading{sensors.CPUEnergy: {4100, view}, sensors.CPUPower: {100, view}}}, // 1000 J in 10 s
		{at(-10, 10, 20, 1), map[sensors.Kind]reading{sensors.CPUEnergy: {31, view}}},                                        // it was restarted
		{at(0, 210, 320, 1), map[sensors.Kind]reading{sensors.CPUEnergy: {531, view}, sensors.CPUPower: {50, view}}},
	} {
		answer = c.answer
		got, err := read(t, s, "n")
		if d := cmp.Diff(c.want, got); d != "" || err != nil {
			t.Errorf("read %d: %v (-want +got):\n%s", i, err, d)
		}
	}
}

func num(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// What Kepler 0.11 really writes, with a fake meter.
func TestOutputOfKepler(t *testing.T) {
	path, ok := samples.Path("kepler_metrics.txt")
	if !ok {
		t.Skipf("the sample is not there: %s", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := source(t, map[string]kepler.Endpoint{"n": {URL: serve(t, text(string(b)))}})
	got, err := read(t, s, "n")
	want := map[sensors.Kind]reading{
		sensors.CPUUtilization: {0.5154639175257587, "kepler:cpu_usage_ratio"},
		sensors.CPUPower:       {0.00012143996336456332 + 0.000160219111329718, "kepler:cpu_watts package+dram"},
		sensors.CPUEnergy:      {0.001708 + 0.001735, "kepler:cpu_joules_total package+dram"},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}
