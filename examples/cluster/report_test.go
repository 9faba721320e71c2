package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func sample(t *testing.T) *report {
	fleet := mustFleet(t, 3, 1)
	r := &report{Nodes: 3, Pods: 5, Load: 0.4, fleet: fleet}
	for _, p := range []profile{
		{Name: "default-scheduler", ScheduleMillisPerPod: 1.5, accounts: []account{{2, 4, 0}, {2, 4, 0}, {1, 2, 0}}},
		{Name: "leastwatt", ScheduleMillisPerPod: 1.25, accounts: []account{{0, 0, 0}, {0, 0, 0}, {5, 10, 0}}},
	} {
		for i := range p.accounts {
			p.accounts[i].Watts = fleet[i].watts(p.accounts[i].Cores / fleet[i].cores())
		}
		if err := p.settle(fleet); err != nil {
			t.Fatal(err)
		}
		r.Profiles = append(r.Profiles, p)
	}
	bound, err := lowerBound(fleet, 10)
	if err != nil {
		t.Fatal(err)
	}
	r.BoundWatts = round(float64(bound), 1)
	return r
}

// The JSON is what the README promises: these keys, in this order.
func TestJSON(t *testing.T) {
	r := sample(t)
	var out strings.Builder
	if err := r.writeJSON(&out); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for d := json.NewDecoder(strings.NewReader(out.String())); ; {
		token, err := d.Token()
		if err != nil {
			break
		}
		if s, ok := token.(string); ok {
			keys = append(keys, s)
		}
	}
	profile := func(name string) string { return "name " + name + " watts overBound placed scheduleMillisPerPod" }
	want := "nodes pods load boundWatts profiles " + profile("default-scheduler") + " " + profile("leastwatt")
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("JSON has %s\nwant     %s", got, want)
	}
	var back report
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil {
		t.Fatal(err)
	}
	for _, p := range back.Profiles {
		if p.Placed != 5 {
			t.Errorf("%s placed %d, want 5", p.Name, p.Placed)
		}
		if p.OverBound < 1 || math.Abs(p.OverBound-p.Watts/back.BoundWatts) > 0.002 {
			t.Errorf("%s is %v over the bound with %v W over %v W", p.Name, p.OverBound, p.Watts, back.BoundWatts)
		}
	}
}

func TestTable(t *testing.T) {
	r := sample(t)
	var out strings.Builder
	if err := r.writeTable(&out); err != nil {
		t.Fatal(err)
	}
	table := out.String()
	for i := range r.fleet {
		if !strings.Contains(table, r.fleet[i].hardware.Name()) {
			t.Errorf("the table does not name %s", r.fleet[i].hardware.Name())
		}
	}
	for _, want := range []string{"default-scheduler", "leastwatt", "Lower bound", "Saving: "} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	// Where not all pods found room, the table says so instead of claiming a saving.
	r.Profiles[1].Placed = 4
	out.Reset()
	if err := r.writeTable(&out); err != nil {
		t.Fatal(err)
	}
	if table := out.String(); !strings.Contains(table, "placed only 4 of 5 pods") || strings.Contains(table, "Saving") {
		t.Errorf("an unplaced pod is hidden:\n%s", table)
	}
}
