package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/config"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// Sources with one endpoint for all nodes, and this machine's own.
func TestServicesAndThisMachine(t *testing.T) {
	live := func() emulate.Machine { return emulate.Machine{Utilization: 0.4, Pressure: 12} }
	serve := func(x *emulate.Exporter) string {
		s, err := emulate.Listen(nil, x)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s.URL
	}
	watcher, aisles := serve(emulate.NewLoadWatcher(live, emulate.ExporterOptions{}, "n1", "n2")), serve(emulate.NewPressure(live, emulate.ExporterOptions{}, "n1", "n2"))
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "class/hwmon/hwmon0"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"name": "coretemp", "temp1_input": "51000"} {
		if err := os.WriteFile(filepath.Join(root, "class/hwmon/hwmon0", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Parse("site.yaml", []byte("sensors:\n  sources:\n  - {type: load-watcher, url: "+watcher+"}\n  - {type: pressure, url: "+aisles+", nodes: [n1]}\n  - {type: sysfs, url: "+root+", nodes: [n1]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := c.Build(config.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close(t.Context()) })
	for node, want := range map[string]map[sensors.Kind]float64{
		"n1": {sensors.CPUUtilization: 0.4, sensors.PressureDelta: 12, sensors.CPUTemp: 51},
		"n2": {sensors.CPUUtilization: 0.4},
	} {
		list, _ := set.Source.Read(t.Context(), node)
		got := map[sensors.Kind]float64{}
		for _, r := range list {
			got[r.Kind] = r.Value
		}
		for _, k := range []sensors.Kind{sensors.CPUUtilization, sensors.PressureDelta, sensors.CPUTemp} {
			if g, ok := got[k]; ok != (want[k] != 0) || g != want[k] {
				t.Errorf("%s: %s = %v (%v), want %v", node, k, g, ok, want[k])
			}
		}
	}
	for _, bad := range []string{
		"{type: sysfs}", "{type: sysfs, nodes: [a, b]}", "{type: pressure}", "{type: load-watcher, url: 'http://{{.Name}}'}",
		"{type: pressure, url: 'http://p', perNode: {n1: {url: 'http://q'}}}", "{type: sysfs, nodes: [a], user: x}",
	} {
		if _, err := config.Parse("site.yaml", []byte("sensors:\n  sources:\n  - "+bad+"\n")); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
