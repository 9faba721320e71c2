package prior_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/powertest"
	"github.com/leastwatt/leastwatt/power/prior"
)

func Example() {
	// A server of 2021 with two chips and 128 threads, of which nothing was measured yet.
	belief, err := prior.Default().Belief(prior.Hardware{Year: 2021, Chips: 2, Threads: 128})
	if err != nil {
		panic(err)
	}
	within := belief.Interval(0.5, 0.9, 0)
	half, _ := belief.At(0.5)
	fmt.Printf("at half load %.0f W, between %.0f and %.0f W\n", half, within.Low, within.High)

	// One reading tells most of the rest.
	belief, err = belief.Given(prior.Reading{Utilization: 0.2, Watts: 300, Noise: 0.02})
	if err != nil {
		panic(err)
	}
	within = belief.Interval(0.5, 0.9, 0)
	half, _ = belief.At(0.5)
	fmt.Printf("after a reading %.0f W, between %.0f and %.0f W\n", half, within.Low, within.High)
	// Output:
	// at half load 234 W, between 140 and 393 W
	// after a reading 391 W, between 354 and 433 W
}

// Every belief is a finite curve; a known data sheet narrows it, and a reading narrows it at every point.
func TestKnowledgeNarrows(t *testing.T) {
	p := prior.Default()
	var widest [prior.Points]float64
	for i, h := range []prior.Hardware{
		{Year: 2019},
		{Year: 2019, Threads: 96},
		{Year: 2019, Threads: 96, Chips: 2, Cores: 48, TDP: 165, MemoryGB: 192},
	} {
		b, err := p.Belief(h)
		if err != nil {
			t.Fatal(err)
		}
		after, err := b.Given(prior.Reading{Utilization: 0.33, Watts: 250, Noise: 0.02})
		if err != nil {
			t.Fatal(err)
		}
		for k := range prior.Points {
			w, sd := b.At(float64(k) / 10)
			_, less := after.At(float64(k) / 10)
			if !(w > 1 && w < 1e4 && sd > 0) {
				t.Errorf("%+v: point %d: %v ± %v", h, k, w, sd)
			}
			if !(less < sd) {
				t.Errorf("%+v: point %d: a reading leaves ± %v of ± %v", h, k, less, sd)
			}
			if i > 0 && !(sd < widest[k]*1.02) {
				t.Errorf("%+v: point %d: ± %v, less known ± %v", h, k, sd, widest[k])
			}
			widest[k] = sd
		}
	}
}

// An exact reading is believed, whichever order it comes in.
func TestExactReadings(t *testing.T) {
	b, err := prior.Default().Belief(prior.Hardware{Year: 2012})
	if err != nil {
		t.Fatal(err)
	}
	r := []prior.Reading{{Utilization: 0, Watts: 60}, {Utilization: 0.35, Watts: 130}, {Utilization: 1, Watts: 240}}
	there, err := b.Given(r...)
	if err != nil {
		t.Fatal(err)
	}
	back, err := b.Given(r[2], r[1], r[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r {
		w, _ := there.At(x.Utilization)
		if math.Abs(float64(w/x.Watts)-1) > 0.003 {
			t.Errorf("at %v: %v, want %v", x.Utilization, w, x.Watts)
		}
	}
	for k := range there.Log {
		if math.Abs(there.Log[k]-back.Log[k]) > 1e-3 {
			t.Errorf("point %d: %v one way and %v the other", k, there.Log[k], back.Log[k])
		}
	}
}

func TestInvalidReadings(t *testing.T) {
	b, err := prior.Default().Belief(prior.Hardware{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []prior.Reading{{Utilization: -0.1, Watts: 1}, {Utilization: 1.1, Watts: 1}, {Utilization: math.NaN(), Watts: 1},
		{Watts: 0}, {Watts: -4}, {Watts: 1e12}, {Watts: 5, Noise: -1}} {
		if _, err := b.Given(r); err == nil {
			t.Errorf("%+v was believed", r)
		}
	}
	if _, err := prior.Default().Belief(prior.Hardware{Chips: -2}); err == nil || !strings.Contains(err.Error(), "chips") {
		t.Errorf("negative chips: %v", err)
	}
}

// What is written is read back, to the last bit.
func TestFileRoundTrip(t *testing.T) {
	p := prior.Default()
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	q, err := prior.Parse(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, again) {
		t.Error("a prior that was written and read is another")
	}
	h := prior.Hardware{CPU: "Intel Xeon Gold 6140", Threads: 72}
	a, err := p.Belief(h)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := q.Belief(h); err != nil || a != b {
		t.Errorf("beliefs differ (%v)", err)
	}
}

func TestCPUModel(t *testing.T) {
	for in, want := range map[string]string{
		"Intel(R) Xeon(R) CPU E5-2660 v3 @ 2.60GHz":                               "xeon e5-2660 v3",
		"Intel Xeon E5-2660v3":                                                    "xeon e5-2660 v3",
		"Intel Xeon E5-2660 2.2 GHz (Intel Turbo Boost Technology up to 3.0 GHz)": "xeon e5-2660",
		"Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz":                            "xeon 8380",
		"Intel Xeon Platinum 8380 2.30GHz":                                        "xeon 8380",
		"AMD EPYC 7742 64-Core Processor":                                         "epyc 7742",
		"AMD EPYC 7742 2.25GHz":                                                   "epyc 7742",
		"AMD Opteron(TM) Processor 6174":                                          "opteron 6174",
		"a CPU":                                                                   "",
		"":                                                                        "",
	} {
		if got := prior.CPUModel(in); got != want {
			t.Errorf("%q is %q: want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	data, err := json.Marshal(prior.Default())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":"leastwatt-prior/1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := prior.Parse(bytes.NewReader(data))
		if err != nil {
			return
		}
		b, err := p.Belief(prior.Hardware{Year: 2020, Chips: 2, Threads: 64})
		if err != nil {
			t.Fatal(err)
		}
		for k := range prior.Points {
			if w, sd := b.At(float64(k) / 10); !(w > 0) || !(sd >= 0) {
				t.Errorf("point %d: %v ± %v", k, w, sd)
			}
		}
	})
}

func FuzzReadCSV(f *testing.F) {
	head := "vendor,model,cpu,hw_year,chips,cores,threads,cpu_tdp_w,mem_gb,w_idle,w_10,w_20,w_30,w_40,w_50,w_60,w_70,w_80,w_90,w_100\n"
	f.Add(head + "V,M,C,2020,1,2,4,,8,50,60,70,80,90,100,110,120,130,140,150\n")
	f.Add(head + "V,M,C,2020,1,2,4,65,8,50,60,NaN,80,90,100,110,120,130,140,150\n")
	f.Add("vendor\n")
	f.Fuzz(func(t *testing.T, text string) {
		servers, err := prior.ReadCSV(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range servers {
			for _, w := range s.Watts {
				if !(w > 0 && w < 1e9) {
					t.Errorf("%v", w)
				}
			}
		}
	})
}

func FuzzCPUModel(f *testing.F) {
	f.Add("Intel(R) Xeon(R) CPU E5-2660 v3 @ 2.60GHz")
	f.Add("A000000v0 00000")
	f.Fuzz(func(t *testing.T, name string) {
		m := prior.CPUModel(name)
		if spaced := "  " + name + " "; len(name) < 200 && prior.CPUModel(spaced) != m {
			t.Errorf("%q is %q, with spaces around it %q", name, m, prior.CPUModel(spaced))
		}
		b, err := prior.Default().Belief(prior.Hardware{CPU: name})
		if w, sd := b.At(1); err != nil || !(w > 0) || !(sd > 0) {
			t.Errorf("%q: %v ± %v, %v", name, w, sd, err)
		}
	})
}

func TestGuessConformance(t *testing.T) {
	b, err := prior.Default().Belief(prior.Hardware{Threads: 64})
	if err != nil {
		t.Fatal(err)
	}
	g, err := b.Guess()
	if err != nil {
		t.Fatal(err)
	}
	if err := powertest.TestPredictor(g, power.State{Node: "n"}, power.State{Node: "n", Utilization: 0.7}); err != nil {
		t.Error(err)
	}
}
