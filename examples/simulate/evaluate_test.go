package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestEvaluateEmbedded runs all parts in the small, and holds Leastwatt to being better than Kubernetes' scoring and not below the bound.
func TestEvaluateEmbedded(t *testing.T) {
	o := small()
	o.asJSON, o.strategies, o.seeds = true, "kubernetes", 2
	o.evaluation = evaluation{dir: "embedded", parts: "reference,goal,heldout,identical", servers: 9, hours: 3, warmup: 1}
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var d evalDoc
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	mean := map[string]float64{}
	for _, m := range d.Means {
		if m.Moves == 0 {
			mean[m.Part+m.Mode+m.Strategy] = m.OverBound
		}
	}
	for _, part := range []string{"goal", "heldout"} {
		for _, mode := range []string{"on", "off"} {
			own, other := mean[part+mode+"leastwatt"], mean[part+mode+"kubernetes"]
			if !(own >= 1 && own < other) {
				t.Errorf("%s, %s: leastwatt %v, kubernetes %v", part, mode, own, other)
			}
		}
	}
	for _, c := range d.Cells {
		if c.OverBound < 1 {
			t.Errorf("below the bound: %+v", c)
		}
	}
	// reference: 6 cells × 8, twice; the others 9 cells × (2 + 1 with moves), twice.
	if want := 6*8*2 + 3*9*3*2; len(d.Cells) != want {
		t.Errorf("%d cells, want %d", len(d.Cells), want)
	}
}

// TestLeastwattIsAboveNoOther: at equal waiting, no other strategy that goes by watts draws less in any cell by more than chance, nor
// in the mean of all cells.
func TestLeastwattIsAboveNoOther(t *testing.T) {
	o := small()
	o.asJSON, o.strategies, o.seeds = true, "energyaware,wao", 3
	o.evaluation = evaluation{dir: "embedded", parts: "goal", servers: 30, hours: 6, warmup: 3}
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var d evalDoc
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	own := map[string]float64{}
	for _, m := range d.Means {
		t.Logf("%s, moves %v: %s %.4f", m.Mode, m.Moves, m.Strategy, m.OverBound)
		if m.Strategy == "leastwatt" && m.Moves == 0 {
			own[m.Mode] = m.OverBound
		}
	}
	for _, m := range d.Means {
		if m.Strategy != "leastwatt" && !(own[m.Mode] < m.OverBound) {
			t.Errorf("servers %s: leastwatt %v, %s %v over the bound", m.Mode, own[m.Mode], m.Strategy, m.OverBound)
		}
	}
	for _, a := range d.Above {
		t.Logf("above: %+v", a)
		if a.Gap > 0.004 && a.Sure {
			t.Errorf("leastwatt is above another: %+v", a)
		}
	}
}

func TestEvaluateErrors(t *testing.T) {
	two := small()
	two.evaluation, two.weights = evaluation{dir: "embedded", parts: "goal"}, "0.5/0.7/4,0/0/4"
	if err := run(t.Context(), two, io.Discard, io.Discard); err == nil {
		t.Error("two weights pass")
	}
	for _, e := range []evaluation{{dir: "no such folder", parts: "goal"}, {dir: "embedded", parts: "luck"}} {
		o := small()
		o.evaluation = e
		if err := run(t.Context(), o, io.Discard, io.Discard); err == nil {
			t.Errorf("%+v passes", e)
		}
	}
}

// TestHeldOut checks that tuning and checking share no server and no job.
func TestHeldOut(t *testing.T) {
	c := embedded()
	a, b := every(c.machines, false), every(c.machines, true)
	if len(a)+len(b) != len(c.machines) {
		t.Errorf("%d and %d servers of %d", len(a), len(b), len(c.machines))
	}
	jobs := synthetic()
	for i := range jobs {
		jobs[i].Arrival = time.Duration(len(jobs)-i) * time.Second
	}
	first, second := halfOf(jobs, false), halfOf(jobs, true)
	if len(first)+len(second) != len(jobs) || first[len(first)-1].Arrival > second[0].Arrival {
		t.Error("the halves overlap in time")
	}
}

// TestEvaluatePublished runs one small part on the published files, where they are.
func TestEvaluatePublished(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no go.work above this folder")
		}
		dir = filepath.Dir(dir)
	}
	data := filepath.Join(dir, "..", "shared", "data")
	if _, err := os.Stat(data); err != nil {
		t.Skip("the published data are not in ../shared/data:", err)
	}
	o := small()
	o.seeds = 1
	o.evaluation = evaluation{dir: data, parts: "reference", servers: 20, hours: 2, warmup: 1, longest: 24 * time.Hour}
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "leastwatt") && strings.Contains(l, "(1.0") }) {
		t.Errorf("no row of leastwatt with the reference beside it:\n%s", out.String())
	}
}
