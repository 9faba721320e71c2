package main

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// The dashboard of the chart is checked against a file of what the service exports: this test holds the file true. With LEASTWATT_UPDATE=1 it
// writes it.
func TestMetricsFile(t *testing.T) {
	parts := regexp.MustCompile(`^Desc\{fqName: "([^"]+)".*, variableLabels: \{([^}]*)\}\}$`)
	ch := make(chan *prometheus.Desc, 100)
	newCollector(nil).Describe(ch)
	close(ch)
	var lines []string
	for d := range ch {
		m := parts.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("cannot read %s", d)
		}
		lines = append(lines, strings.TrimSpace(m[1]+" "+strings.ReplaceAll(m[2], ",", " "))+"\n")
	}
	slices.Sort(lines)
	got := strings.Join(lines, "")
	file := filepath.Join("..", "..", "k8s", "chart", "testdata", "jobs_metrics.txt")
	if os.Getenv("LEASTWATT_UPDATE") == "1" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (LEASTWATT_UPDATE=1 writes it): %s", file, d)
	}
}

// What is described is collected, and nothing else, once jobs have run.
func TestMetricsAreCollected(t *testing.T) {
	c := client{t: t, url: serve(t, &options{strategy: "leastwatt", places: []Site{{Name: "east", Zone: "east"}, {Name: "west", Zone: "west"}}, source: even{300}})}
	until(t, "the outlook", func() bool { return c.status().Sites[0].Hours[0] != nil })
	if code, body := c.do("POST", "/jobs", "application/json", `{"id":"a","cpu":4,"duration":1}`); code != 202 {
		t.Fatal(code, body)
	}
	if code, body := c.do("POST", "/metrics-ingest?node=n01", "text/plain", "scaph_host_power_microwatts 100000000\n"); code != 202 {
		t.Fatal(code, body)
	}
	until(t, "the end", func() bool { return c.status().Done == 1 })
	_, text := c.do("GET", "/metrics", "", "")
	ch := make(chan *prometheus.Desc, 100)
	newCollector(nil).Describe(ch)
	close(ch)
	for d := range ch {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1]
		if !strings.Contains(text, "\n"+name+"{") && !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	for _, want := range []string{`leastwatt_jobs_decisions_total{action="start",strategy="leastwatt"} 1`, `leastwatt_jobs_unfinished{state="suspended"} 0`} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	at := func(name string) float64 {
		m := regexp.MustCompile(`(?m)^` + name + `\{node="[^"]+",strategy="leastwatt"\} (.*)$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in %s", name, text)
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if a, b := at("leastwatt_jobs_carbon_grams_total"), at("leastwatt_jobs_at_once_grams_total"); !(a > 0) || math.Abs(a-b) > 1e-9*a {
		t.Errorf("a job that started at once on an even grid emitted %v g, and would have emitted %v g at once", a, b)
	}
}
