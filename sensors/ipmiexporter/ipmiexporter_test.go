package ipmiexporter_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/leastwatt/leastwatt/internal/samples"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/ipmiexporter"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func ExampleSource() {
	live := func() emulate.Machine {
		return emulate.Machine{Watts: 212, Inlet: 23.5, Exhaust: 38, CPUTemp: 61, FanRPM: 6200}
	}
	server, err := emulate.Listen(nil, emulate.NewIPMIExporter(live, false, emulate.ExporterOptions{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	source := ipmiexporter.New(ipmiexporter.Nodes(map[string]ipmiexporter.Endpoint{"n1": {URL: server.URL + "/ipmi?target=10.0.0.7"}}), ipmiexporter.Options{})
	readings, err := source.Read(context.Background(), "n1")
	for _, r := range readings {
		fmt.Println(r.Kind, r.Value, r.Source)
	}
	fmt.Println(err)
	// Output:
	// inlet_temp_celsius 23.5 ipmiexporter:Inlet Temp
	// exhaust_temp_celsius 38 ipmiexporter:Exhaust Temp
	// cpu_temp_celsius 61 ipmiexporter:CPU1 Temp
	// fan_speed_rpm 6200 ipmiexporter:Fan1
	// power_watts 212 ipmiexporter:System Power
	// <nil>
}

func read(t *testing.T, text string, named map[sensors.Kind]string) (map[sensors.Kind]sensors.Reading, error) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, text) }))
	defer s.Close()
	list, err := ipmiexporter.New(ipmiexporter.Nodes(map[string]ipmiexporter.Endpoint{"n1": {URL: s.URL, Sensors: named}}), ipmiexporter.Options{}).Read(t.Context(), "n1")
	out := map[sensors.Kind]sensors.Reading{}
	for _, r := range list {
		out[r.Kind] = r
	}
	return out, err
}

// What ipmi_exporter 1.6.1 really wrote.
func TestRealOutput(t *testing.T) {
	for file, want := range map[string]struct {
		values map[sensors.Kind]float64
		reason string
	}{
		"ipmi_exporter.txt": {map[sensors.Kind]float64{sensors.InletTemp: 23.5, sensors.ExhaustTemp: 38, sensors.CPUTemp: 61, sensors.FanSpeed: 6200, sensors.Power: 212}, ""},
		// DCMI alone succeeded; that the other collector failed is told.
		"ipmi_exporter_dcmi.txt": {map[sensors.Kind]float64{sensors.Power: 287}, "device"},
	} {
		path, ok := samples.Path(file)
		if !ok {
			t.Skip("no ../shared/samples/" + file + " beside the repository")
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(t, string(text), nil)
		if sensors.Reason(err) != want.reason || len(got) != len(want.values) {
			t.Errorf("%s: %v, %v", file, got, err)
		}
		for k, v := range want.values {
			if got[k].Value != v {
				t.Errorf("%s: %s = %v, want %v", file, k, got[k].Value, v)
			}
		}
	}
}

func TestRules(t *testing.T) {
	const up = "ipmi_up{collector=\"ipmi\"} 1\n"
	temp := func(name string, v float64) string {
		return fmt.Sprintf("ipmi_temperature_celsius{id=\"1\",name=%q} %v\n", name, v)
	}
	if got, err := read(t, temp("Inlet Temp", 20)+"ipmi_up{collector=\"ipmi\"} 0\n", nil); sensors.Reason(err) != "device" || len(got) > 0 {
		t.Errorf("a failed collector: %v, %v", got, err)
	}
	if got, err := read(t, temp("Inlet Temp", 20), nil); sensors.Reason(err) != "malformed" || len(got) > 0 {
		t.Errorf("no ipmi_up: %v, %v", got, err)
	}
	if got, _ := read(t, temp("15-Front Ambient", 19)+temp("01-Inlet Ambient", 20)+temp("17-PS 1 Inlet", 33)+up, nil); got[sensors.InletTemp].Value != 20 {
		t.Errorf("HPE: %v", got)
	}
	named := map[sensors.Kind]string{sensors.InletTemp: "Front Panel"}
	if got, _ := read(t, temp("Inlet Temp", 20)+temp("Front Panel", 21)+up, named); got[sensors.InletTemp].Value != 21 {
		t.Errorf("named: %v", got)
	}
	if got, err := read(t, temp("Inlet Temp", 20)+up, named); sensors.Reason(err) != "no_reading" || len(got) > 0 {
		t.Errorf("named and missing: %v, %v", got, err)
	}
	psu := "ipmi_power_watts{id=\"1\",name=\"PS1 Input Power\"} 120\nipmi_power_watts{id=\"2\",name=\"PS2 Input Power\"} 130\n"
	if got, _ := read(t, psu+up, nil); got[sensors.Power].Value != 250 {
		t.Errorf("supplies: %v", got)
	}
	if got, _ := read(t, psu+"ipmi_power_watts{id=\"3\",name=\"Pwr Consumption\"} 241\n"+up, nil); got[sensors.Power].Value != 241 {
		t.Errorf("server before supplies: %v", got)
	}
}
