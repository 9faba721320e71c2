package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// The shape that the issue asks for.
type output struct {
	Nodes []struct {
		Node     string `json:"node"`
		Readings []struct {
			Kind   string    `json:"kind"`
			Value  float64   `json:"value"`
			At     time.Time `json:"at"`
			Source string    `json:"source"`
		} `json:"readings"`
		Errors []string `json:"errors"`
	} `json:"nodes"`
}

func decode(t *testing.T, text string) output {
	t.Helper()
	var o output
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return o
}

func TestDemoReadsEveryProtocol(t *testing.T) {
	var b strings.Builder
	if err := run(t.Context(), &b, options{demo: true, json: true}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // node: a kind that it must have
		"redfish": "inlet_temp_celsius", "ipmi": "inlet_temp_celsius", "ipmi-exporter": "power_watts", "kepler": "power_watts",
		"kepler-0.7": "cpu_power_watts", "scaphandre": "cpu_power_watts", "dcgm": "gpu_power_watts", "load-watcher": "cpu_utilization_ratio",
		"pressure": "pressure_delta_pascals", "prometheus": "power_watts",
	}
	for _, n := range decode(t, b.String()).Nodes {
		kind, ok := want[n.Node]
		if !ok || len(n.Errors) > 0 {
			t.Errorf("node %q: errors %v", n.Node, n.Errors)
		}
		found := false
		for _, r := range n.Readings {
			found = found || r.Kind == kind && r.Value > 0 && time.Since(r.At) < time.Minute && r.Source != ""
		}
		if !found {
			t.Errorf("node %q lacks a live %s: %+v", n.Node, kind, n.Readings)
		}
		delete(want, n.Node)
	}
	if len(want) > 0 {
		t.Errorf("no reading of %v", want)
	}
	if strings.Contains(b.String(), demoPassword) {
		t.Error("the output holds a credential")
	}
}

func TestConfig(t *testing.T) {
	live := func() emulate.Machine { return emulate.Machine{CPUWatts: 80, DRAMWatts: 12.5} }
	server, err := emulate.Listen(nil, emulate.NewScaphandre(live, emulate.ExporterOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	file := filepath.Join(t.TempDir(), "site.yaml")
	text := "sensors:\n  nodes: [{name: n1}, {name: n2}]\n  sources:\n  - {type: scaphandre, url: " + server.URL + "/metrics, nodes: [n1]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := run(t.Context(), &b, options{config: file}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"n1    cpu_power_watts", "92.5", "scaphandre:host", "n2    error", "unknown node"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
	if err := run(t.Context(), &b, options{}); err == nil {
		t.Error("neither -config nor -demo, and no error")
	}
}
