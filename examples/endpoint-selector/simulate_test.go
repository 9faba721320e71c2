package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

func simulated(t *testing.T, args ...string) map[string]verdict {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), append([]string{"-simulate", "-json"}, args...), &out, &out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Weighers []verdict `json:"weighers"`
	}
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	names := map[string]verdict{}
	for _, v := range got.Weighers {
		names[v.Name] = v
	}
	if len(got.Weighers) != 3 || len(names) != 3 {
		t.Fatalf("weighers: %+v", got.Weighers)
	}
	return names
}

// On any mix of servers: Optimal within 0.1 % of the exact optimum and below the others, which are well above it.
func TestOptimalWinsTheSimulation(t *testing.T) {
	for seed := range 20 {
		v := simulated(t, "-seed", strconv.Itoa(seed+1))
		if o := v["optimal"]; o.OverOptimum < 1-1e-9 || o.OverOptimum > 1.001 {
			t.Errorf("seed %d: optimal is %v of the exact optimum", seed+1, o.OverOptimum)
		}
		for _, name := range []string{"uniform", "inverse"} {
			if v[name].OverOptimum < 1.001 || v[name].Watts < v["optimal"].Watts {
				t.Errorf("seed %d: %s draws %+v, optimal %+v", seed+1, name, v[name], v["optimal"])
			}
		}
	}
}

// The same at every single step of every load, not only on average.
func TestOptimalNeverAboveUniform(t *testing.T) {
	worst := 1.0
	for seed := range uint64(20) {
		for _, load := range append([]float64{0.01, 1}, loads[:]...) {
			w, all := newWorld(seed+1), contenders(1)
			for range 5 {
				_, free := w.capacity()
				d := w.demand(load * free)
				least, err := w.least(d)
				if err != nil {
					t.Fatal(err)
				}
				drawn := map[string]float64{}
				for _, c := range all {
					before := c.watts
					if err := c.step(t.Context(), w, d, least); err != nil {
						t.Fatal(err)
					}
					drawn[c.name] = c.watts - before
				}
				o := drawn["optimal"]
				worst = max(worst, o/least)
				if o > drawn["uniform"]*(1+1e-9) || o < least*(1-1e-9) || o > least*1.001 {
					t.Errorf("seed %d, load %v: %v, the least is %v", seed+1, load, drawn, least)
				}
				w.step(0.3)
			}
		}
	}
	t.Logf("worst step: %.6f of the exact optimum", worst)
}

// The optimum that all are held against is what trying every division finds, and a finer grid has no better one. The
// weigher has no part in it: that it solves another way is what makes the comparison one.
func TestLeastIsExact(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(seed + 1)
		_, free := w.capacity()
		for _, load := range []float64{0.03, 0.4, 0.8} {
			d := w.demand(load * free)
			got, err := w.least(d)
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range []float64{grain, grain / 2} {
				if want := everyDivision(w, d, step); math.Abs(got-want) > 1e-9*want {
					t.Errorf("seed %d, load %v: the optimum is %v W, in steps of %v cores %v W", seed+1, load, got, step, want)
				}
			}
		}
	}
}

// everyDivision returns the least watts over all divisions of the demand in steps of cores.
func everyDivision(w *world, demand, step float64) float64 {
	best := make([]float64, int(math.Round(demand/step))+1)
	for i := range best[1:] {
		best[i+1] = math.Inf(1)
	}
	for n, node := range w.nodes {
		curve, next := node.Predictor.(*power.Piecewise), make([]float64, len(best))
		room := int(math.Floor((node.Capacity.Cores-w.own[n])/step + 1e-9))
		cost := make([]float64, room+1)
		for k := range cost {
			cost[k] = float64(curve.At((w.own[n] + float64(k)*step) / node.Capacity.Cores))
		}
		for i := range next {
			next[i] = math.Inf(1)
			for k := 0; k <= min(i, room); k++ {
				next[i] = min(next[i], best[i-k]+cost[k])
			}
		}
		best = next
	}
	return best[len(best)-1]
}

func TestSimulationRepeats(t *testing.T) {
	a, b := simulated(t, "-seed", "9"), simulated(t, "-seed", "9")
	for name := range a {
		if a[name] != b[name] {
			t.Errorf("%s: %+v, then %+v", name, a[name], b[name])
		}
	}
}

func TestTableShowsFloorAndDamping(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-simulate"}, &out, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"optimal, floor, damped", "over the exact optimum", "50 %"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestParseRequests(t *testing.T) {
	got, err := parseRequests(strings.NewReader("3,4\n5\n\n0,1\n"))
	if err != nil || len(got) != 5 || got[2] != 5 {
		t.Errorf("%v, %v", got, err)
	}
	got, err = parseRequests(strings.NewReader("TIMESTAMP,Tokens\n2023-11-16 18:17:03.97,1\n2023-11-16 18:17:04.1,2\n2023-11-16T19:17:04Z,2\n"))
	if err != nil || len(got) != intervals || got[0] != 2 || got[intervals-1] != 1 {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "0,0", "1,x", "-1", "NaN", "1e99", "TIMESTAMP,x\nyesterday,1", "TIMESTAMP,x\n"} {
		if got, err := parseRequests(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is %v: want an error", bad, got)
		}
	}
	if _, err := parseRequests(strings.NewReader("1\n2\nthree\n")); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("the error does not name the line: %v", err)
	}
}

func FuzzParseRequests(f *testing.F) {
	f.Add("1,2,3")
	f.Add("TIMESTAMP,x\n2023-11-16 18:17:03.97,1\n")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseRequests(strings.NewReader(s))
		if err == nil && (len(got) == 0 || len(got) > maxIntervals) {
			t.Errorf("%d intervals", len(got))
		}
	})
}

// Published traces, where they lie beside the repository.
func TestPublishedRequests(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no go.work above this test: it needs the repository")
		}
	}
	for _, name := range []string{"slo_power_azure_trace.txt", "AzureLLMInferenceTrace_code.csv"} {
		path := filepath.Join(dir, "..", "shared", "data", "requests", name)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("no published traces in ../shared/data/requests beside the repository: %v", err)
		}
		v := simulated(t, "-requests", path)
		if o := v["optimal"].OverOptimum; o > 1.001 || v["uniform"].OverOptimum < o {
			t.Errorf("%s: %+v", name, v)
		}
		t.Logf("%s: %+v", name, v)
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{{"-simulate", "-requests", "absent"}, {"-simulate", "extra"}, {"-simulate", "-limit", "3"}, {"-nonsense"}} {
		var out bytes.Buffer
		if err := run(t.Context(), args, &out, &out); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
