package scaphandre_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func ExampleSource() {
	exporter := emulate.NewScaphandre(func() emulate.Machine { return emulate.Machine{CPUWatts: 80, DRAMWatts: 12.5} }, emulate.ExporterOptions{})
	server, err := emulate.Listen(nil, exporter)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	source := scaphandre.New(scaphandre.Nodes(map[string]scaphandre.Endpoint{"n1": {URL: server.URL + "/metrics"}}), scaphandre.Options{})
	readings, err := source.Read(context.Background(), "n1")
	for _, r := range readings {
		fmt.Println(r.Kind, r.Value, r.Source)
	}
	fmt.Println(err)
	// Output:
	// cpu_energy_joules_total 0 scaphandre:host
	// cpu_power_watts 92.5 scaphandre:host
	// <nil>
}

func serve(t *testing.T, text *atomic.Pointer[string]) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, *text.Load()) }))
	t.Cleanup(s.Close)
	return s.URL
}

func read(t *testing.T, text string) ([]sensors.Reading, error) {
	t.Helper()
	var p atomic.Pointer[string]
	p.Store(&text)
	return scaphandre.New(scaphandre.Nodes(map[string]scaphandre.Endpoint{"n1": {URL: serve(t, &p)}}), scaphandre.Options{}).Read(t.Context(), "n1")
}

func watts(list []sensors.Reading) (float64, string, bool) {
	for _, r := range list {
		if r.Kind == sensors.CPUPower {
			return r.Value, r.Source, true
		}
	}
	return 0, "", false
}

// Sockets, domains and host lie within each other: their sum would count the same watts two or three times.
func TestLevelsAreNeverAddedUp(t *testing.T) {
	all := "scaph_host_power_microwatts 92000000\nscaph_socket_power_microwatts{socket_id=\"0\"} 40000000\nscaph_socket_power_microwatts{socket_id=\"1\"} 42000000\n" +
		"scaph_domain_power_microwatts{domain_name=\"core\",socket_id=\"0\"} 30000000\nscaph_domain_power_microwatts{domain_name=\"dram\",socket_id=\"0\"} 5000000\nscaph_domain_power_microwatts{domain_name=\"dram\",socket_id=\"1\"} 5000000\n"
	got, err := read(t, all)
	if w, src, _ := watts(got); err != nil || w != 92 || src != "scaphandre:host" {
		t.Errorf("%v W from %s, %v", w, src, err)
	}
	_, noHost, _ := strings.Cut(all, "\n")
	got, err = read(t, noHost)
	if w, src, _ := watts(got); err != nil || w != 92 || src != "scaphandre:sockets" {
		t.Errorf("%v W from %s, %v; want 40 + 42 + 5 + 5", w, src, err)
	}
	for _, r := range got {
		if r.Kind == sensors.Power {
			t.Error("RAPL was given as the server's power")
		}
	}
	if _, err := read(t, "scaph_host_power_microwatts{host=\"a\"} 1\nscaph_host_power_microwatts{host=\"b\"} 2\n"); sensors.Reason(err) != "malformed" {
		t.Errorf("two hosts: %v", err)
	}
}

// With the counter alone, power is its rate by the answers' own time stamps.
func TestCounterBecomesWatts(t *testing.T) {
	at := time.Now().Add(-time.Minute)
	line := func(joules float64, after time.Duration) *string {
		s := fmt.Sprintf("scaph_host_energy_microjoules %.0f %d\n", joules*1e6, at.Add(after).UnixMilli())
		return &s
	}
	var text atomic.Pointer[string]
	s := scaphandre.New(scaphandre.Nodes(map[string]scaphandre.Endpoint{"n1": {URL: serve(t, &text)}}), scaphandre.Options{})
	for i, step := range []struct {
		joules float64
		after  time.Duration
		watts  float64
		ok     bool
	}{{1000, 0, 0, false}, {1900, 10 * time.Second, 90, true}, {5, 20 * time.Second, 0, false}, {1005, 30 * time.Second, 100, true}} {
		text.Store(line(step.joules, step.after))
		got, err := s.Read(t.Context(), "n1")
		w, _, ok := watts(got)
		if err != nil || ok != step.ok || w != step.watts {
			t.Errorf("step %d: %v W (%v), %v; want %v (%v)", i, w, ok, err, step.watts, step.ok)
		}
	}
}

// What a node pushes is read as what it serves.
func TestParse(t *testing.T) {
	at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	got, err := scaphandre.Parse("n1", []byte("scaph_host_power_microwatts 92000000\nscaph_host_energy_microjoules 5000000\n"), at)
	if w, src, _ := watts(got); err != nil || len(got) != 2 || w != 92 || src != "scaphandre:host" || !got[0].At.Equal(at) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "hello", "scaph_host_power_microwatts -5\n", "scaph_host_power_microwatts +Inf\n", "up 1\n", strings.Repeat("# x\n", 2<<20)} {
		if got, err := scaphandre.Parse("n1", []byte(bad), at); err == nil || len(got) > 0 {
			t.Errorf("%.40q: %v, %v: want an error and no reading", bad, got, err)
		}
	}
}
