package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
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

// What -config names is printed, rates of counters too, with every error; and where there is one the program fails.
func TestConfig(t *testing.T) {
	began := time.Now()
	live := func() emulate.Machine {
		return emulate.Machine{CPUWatts: 80, DRAMWatts: 12.5, CPUJoules: 80 * time.Since(began).Seconds()}
	}
	server, err := emulate.Listen(nil, emulate.NewScaphandre(live, emulate.ExporterOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	counters, err := emulate.Listen(nil, emulate.NewKepler("n2", live, emulate.KeplerOptions{Legacy: true}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = counters.Close() })
	file := filepath.Join(t.TempDir(), "site.yaml")
	text := "sensors:\n  nodes: [{name: n1}, {name: n2}]\n  sources:\n  - {type: scaphandre, url: " + server.URL + "/metrics, nodes: [n1]}\n  - {type: kepler, url: " + counters.URL + "/metrics, nodes: [n2]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := run(t.Context(), &b, options{config: file}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"n1    cpu_power_watts", "92.5", "scaphandre:host", "n2    cpu_power_watts"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
	_ = server.Close()
	b.Reset()
	if err := run(t.Context(), &b, options{config: file}); !errors.Is(err, errUnread) {
		t.Errorf("one of two cannot be read: %v", err)
	}
	for _, want := range []string{"n1    error", "unreachable", "n2    cpu_power_watts"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
	if err := run(t.Context(), &b, options{}); err == nil {
		t.Error("neither -config nor -demo, and no error")
	}
}

// -watch prints what is measured again and again, with errors, until it is interrupted, and then ends well and logs out.
func TestWatch(t *testing.T) {
	var watts atomic.Int64
	bmc := emulate.NewBMC(func() emulate.Machine {
		m := emulate.Blank()
		m.Inlet, m.Watts = 21.5, float64(watts.Add(1))
		return m
	}, emulate.BMCOptions{User: demoUser, Password: demoPassword, NoBasic: true})
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	server, err := emulate.Listen(authority, bmc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	dir := t.TempDir()
	text := "sensors:\n  poll: {interval: 30ms}\n  nodes: [{name: n1}, {name: lost}]\n  sources:\n  - {type: redfish, url: " + server.URL +
		", user: " + demoUser + ", passwordFile: pw, session: true, nodes: [n1], tls: {insecureSkipVerify: true}}\n"
	for name, data := range map[string]string{"site.yaml": text, "pw": demoPassword} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, asJSON := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		done := make(chan error, 1)
		go func() {
			err := run(ctx, w, options{config: filepath.Join(dir, "site.yaml"), watch: true, json: asJSON})
			_ = w.Close()
			done <- err
		}()
		values := map[string]bool{}
		lines := bufio.NewScanner(r)
		for len(values) < 3 && lines.Scan() {
			switch {
			case !asJSON:
				if f := strings.Fields(lines.Text()); len(f) > 2 && f[0] == "n1" && f[1] == "power_watts" {
					values[f[2]] = true
				}
			default:
				for _, n := range decode(t, lines.Text()).Nodes {
					if n.Node == "lost" && len(n.Errors) == 0 && len(n.Readings) > 0 {
						t.Errorf("a node that no source reads: %+v", n)
					}
					for _, x := range n.Readings {
						if x.Kind == "power_watts" {
							values[fmt.Sprint(x.Value)] = true
						}
					}
				}
			}
		}
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted, it returned %v", err)
		}
		if len(values) < 3 {
			t.Errorf("json %v: saw the values %v", asJSON, values)
		}
		if open, ever := bmc.Sessions(); open != 0 || ever == 0 {
			t.Errorf("%d of %d sessions are left open", open, ever)
		}
	}
}

// A source of type metrics.k8s.io can be written in the file, though the module that reads it knows no Kubernetes.
func TestMetricsServer(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" || !strings.HasPrefix(r.URL.Path, "/apis/metrics.k8s.io/v1beta1/nodes") {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		item := `{"metadata":{"name":"n1"},"timestamp":"` + time.Now().UTC().Format(time.RFC3339) + `","window":"20s","usage":{"cpu":"1500m","memory":"2Gi"}}`
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/nodes/n1") {
			fmt.Fprint(w, `{"kind":"NodeMetrics","apiVersion":"metrics.k8s.io/v1beta1",`+item[1:])
			return
		}
		fmt.Fprint(w, `{"kind":"NodeMetricsList","apiVersion":"metrics.k8s.io/v1beta1","items":[`+item+`]}`)
	}))
	defer api.Close()
	dir := t.TempDir()
	text := "sensors:\n  nodes: [{name: n1, cores: 4}]\n  sources: [{type: metrics.k8s.io, url: " + api.URL + ", tokenFile: token, derive: true}]\n"
	for name, data := range map[string]string{"site.yaml": text, "token": "s3cret\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var b strings.Builder
	if err := run(t.Context(), &b, options{config: filepath.Join(dir, "site.yaml")}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cpu_used_cores", "1.5", "memory_used_bytes", "cpu_utilization_ratio", "0.375", "metrics.k8s.io:cpu"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}
