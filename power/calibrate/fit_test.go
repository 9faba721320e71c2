package calibrate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
	"github.com/leastwatt/leastwatt/power/model"
)

func ExampleFit() {
	samples := func(yield func(calibrate.Sample, error) bool) {
		for i := range 200 {
			u := float64(i*37%100) / 100
			if !yield(calibrate.Sample{State: power.State{Utilization: u}, Watts: power.Watts(80 + 150*u)}, nil) {
				return
			}
		}
	}
	r, err := calibrate.Fit(samples, []power.Input{power.InputUtilization}, calibrate.Options{})
	if err != nil {
		panic(err)
	}
	w, err := r.Best().Predictor.Predict(context.Background(), power.State{Utilization: 0.5})
	fmt.Printf("%s: %.1f W, error %.1f %%, %v\n", r.Best().Form, float64(w), 100*r.Best().MAPE, err)
	// Output:
	// linear: 155.0 W, error 0.0 %, <nil>
}

// measure makes samples of a server whose truth is known, at loads that wander.
func measure(n int, seed uint64, inputs func(rng *rand.Rand, s *power.State), truth func(s power.State) float64, noise float64) []calibrate.Sample {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]calibrate.Sample, n)
	u := 0.5
	for i := range out {
		u += 0.2 * rng.NormFloat64()
		u = math.Abs(u)
		if u > 1 {
			u = 2 - u
		}
		s := power.State{Utilization: min(max(u, 0), 1)}
		if inputs != nil {
			inputs(rng, &s)
		}
		out[i] = calibrate.Sample{At: time.Unix(int64(1000+15*i), 0), State: s, Watts: power.Watts(truth(s) * (1 + noise*rng.NormFloat64()))}
	}
	return out
}

var utilization = []power.Input{power.InputUtilization}

// A form that made the samples is found again: its error is that of the noise, and its parameters are its own.
func TestFormsAreFoundAgain(t *testing.T) {
	for form, truth := range map[string]func(u float64) float64{
		"linear":      func(u float64) float64 { return 80 + 120*u },
		"fan":         func(u float64) float64 { return 80 + 120*(2*u-math.Pow(u, 1.7)) },
		"exponential": func(u float64) float64 { return 210 - 120*math.Exp(-0.03*100*u) },
		"cubic":       func(u float64) float64 { return 80 + 200*u - 200*u*u + 150*u*u*u },
	} {
		s := measure(2000, 3, nil, func(s power.State) float64 { return truth(s.Utilization) }, 0.01)
		r, err := calibrate.Fit(seq(s), utilization, calibrate.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Forms {
			if c.Form != form {
				continue
			}
			if c.Err != nil {
				t.Fatalf("%s: %v", form, c.Err)
			}
			// The mean of |N(0, 1 %)| is 0.8 %.
			if c.MAPE > 0.0085 {
				t.Errorf("%s: error %.4f on its own samples", form, c.MAPE)
			}
			for u := 0.0; u <= 1; u += 0.1 {
				w, err := c.Predictor.Predict(t.Context(), power.State{Utilization: u})
				if err != nil || math.Abs(float64(w)/truth(u)-1) > 0.005 {
					t.Errorf("%s at %.1f: %v, %v, want %.1f", form, u, w, err, truth(u))
				}
			}
		}
		if best := r.Best(); best.MAPE > 0.0085 {
			t.Errorf("%s: %s was chosen with an error of %.4f", form, best.Form, best.MAPE)
		}
	}
}

// One wild sample in twenty moves no form by more than a percent.
func TestWildSamples(t *testing.T) {
	truth := func(s power.State) float64 { return 80 + 150*s.Utilization }
	s := measure(1000, 5, nil, truth, 0.01)
	rng := rand.New(rand.NewPCG(8, 8))
	for i := range s {
		if rng.Float64() < 0.05 {
			s[i].Watts *= power.Watts(0.1 + 4*rng.Float64())
		}
	}
	r, err := calibrate.Fit(seq(s), utilization, calibrate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for u := 0.0; u <= 1; u += 0.1 {
		st := power.State{Utilization: u}
		if w, err := r.Best().Predictor.Predict(t.Context(), st); err != nil || math.Abs(float64(w)/truth(st)-1) > 0.01 {
			t.Errorf("%s at %.1f: %v, want %.1f (%v)", r.Best().Form, u, w, truth(st), err)
		}
	}
}

// Inlet temperature, pressure and GPUs are told apart from the load, and the intervals hold.
func TestCovariates(t *testing.T) {
	inputs := []power.Input{power.InputUtilization, power.InputInletTemp, power.InputPressureDelta, "gpu_utilization_ratio"}
	truth := func(s power.State) float64 {
		return (100+200*s.Utilization)*(1+0.006*(float64(*s.InletTemp)-25)) - 0.8*float64(*s.PressureDelta) + 250*s.Inputs["gpu_utilization_ratio"]
	}
	add := func(rng *rand.Rand, s *power.State) {
		s.InletTemp = new(power.Celsius(20 + 10*rng.Float64()))
		s.PressureDelta = new(power.Pascals(-5 + 20*rng.Float64()))
		s.Inputs = map[string]float64{"gpu_utilization_ratio": rng.Float64()}
	}
	s := measure(3000, 7, add, truth, 0.01)
	r, err := calibrate.Fit(seq(s[:2000]), inputs, calibrate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := r.Model("server", "test", map[power.Input]string{"gpu_utilization_ratio": "ratio"})
	data, err := model.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	back, err := model.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	p, err := back.Predictor()
	if err != nil {
		t.Fatal(err)
	}
	mape, covered := judge(t, p, s[2000:])
	if mape > 0.0095 {
		t.Errorf("%s: error %.4f with noise of 0.008", r.Best().Form, mape)
	}
	if covered < 0.86 || covered > 0.94 {
		t.Errorf("90 %% intervals hold %.3f", covered)
	}
	warm, cold := s[0].State, s[0].State
	warm.InletTemp, cold.InletTemp = new(power.Celsius(29)), new(power.Celsius(21))
	a, err := p.Predict(t.Context(), warm)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Predict(t.Context(), cold)
	if err != nil {
		t.Fatal(err)
	}
	if want := truth(warm) - truth(cold); math.Abs(float64(a-b)-want) > 0.3*want {
		t.Errorf("8 °C make %v: want %.1f W", a-b, want)
	}
}

// What samples cannot tell is refused, with the reason.
func TestRefusals(t *testing.T) {
	line := func(s power.State) float64 { return 80 + 120*s.Utilization }
	flat := measure(500, 1, nil, line, 0.01)
	for i := range flat {
		flat[i].State.Utilization = 0.3 + 0.01*flat[i].State.Utilization
	}
	stuck := measure(500, 2, nil, line, 0.01)
	for i := 100; i < 300; i++ {
		stuck[i].Watts = 123
	}
	coarse := measure(500, 2, nil, func(power.State) float64 { return 100 }, 0)
	for name, c := range map[string]struct {
		samples []calibrate.Sample
		want    string
	}{
		"too few":   {measure(10, 1, nil, line, 0.01), "too few"},
		"none":      {nil, "too few"},
		"no spread": {flat, "other loads"},
		"stuck":     {stuck, "stuck"},
		"one value": {coarse, "stuck or too coarse"},
	} {
		_, err := calibrate.Fit(seq(c.samples), utilization, calibrate.Options{})
		if !errors.Is(err, calibrate.ErrUnidentifiable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	backwards := measure(100, 1, nil, line, 0.01)
	backwards[50].At = time.Unix(1, 0)
	if _, err := calibrate.Fit(seq(backwards), utilization, calibrate.Options{}); err == nil || !strings.Contains(err.Error(), "sample 51") {
		t.Errorf("time going backwards: %v", err)
	}
	if _, err := calibrate.Fit(seq(flat), []power.Input{power.InputUtilization, "gpu"}, calibrate.Options{}); !errors.Is(err, power.ErrMissingInput) {
		t.Errorf("missing input: %v", err)
	}
	// A temperature that does not vary is left out and told.
	cool := measure(500, 1, func(_ *rand.Rand, s *power.State) { s.InletTemp = new(power.Celsius(22)) }, line, 0.01)
	r, err := calibrate.Fit(seq(cool), []power.Input{power.InputUtilization, power.InputInletTemp}, calibrate.Options{})
	if err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "inlet") {
		t.Errorf("constant inlet: %v, %v", r, err)
	}
}

// A million samples are read in bounded memory, and still cover all of the time.
func TestMillionSamples(t *testing.T) {
	if testing.Short() {
		t.Skip("a million samples")
	}
	n := 1_000_000
	samples := func(yield func(calibrate.Sample, error) bool) {
		for i := range n {
			u := float64(i*7919%1000) / 1000
			w := 100 + 100*u
			if i > n/2 {
				w += 20 // a change that only later samples show
			}
			if !yield(calibrate.Sample{State: power.State{Utilization: u}, Watts: power.Watts(w)}, nil) {
				return
			}
		}
	}
	r, err := calibrate.Fit(samples, utilization, calibrate.Options{Keep: 2000})
	if err != nil {
		t.Fatal(err)
	}
	if r.Samples != n || r.Used < 1000 || r.Used >= 2000 {
		t.Errorf("%d samples, %d used", r.Samples, r.Used)
	}
	w, err := r.Best().Predictor.Predict(t.Context(), power.State{Utilization: 0.5})
	if err != nil || w < 145 || w > 175 {
		t.Errorf("%v, %v", w, err)
	}
}

func TestReadCSV(t *testing.T) {
	read := func(text string) error {
		for _, err := range calibrate.ReadCSV(strings.NewReader(text), calibrate.Columns{Inputs: []power.Input{power.InputUtilization, power.InputInletTemp}}) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := read("time,utilization,inlet,watts\n1,0.5,22,100\n2,0.6,22,110\n"); err != nil {
		t.Error(err)
	}
	for text, want := range map[string][]string{
		"":                                   {"line 1", "empty"},
		"time,utilization,watts\n":           {"line 1", `"inlet"`},
		"utilization,utilization,watts\n":    {"line 1", "twice"},
		"utilization,inlet,watts\n0.5,hot,1": {"line 2", `"inlet"`, `"hot"`},
		"utilization,inlet,watts\n0.5,NaN,1": {"line 2", `"inlet"`},
		"utilization,inlet,watts\n0.5,20,0":  {"line 2", `"watts"`},
		"utilization,inlet,watts\n0.5,20\n":  {"line 2"},
		"time,utilization,inlet,watts\n5,0.5,20,100\n5,0.5,20,100\n":          {"line 3", "does not follow"},
		"time,utilization,inlet,watts\n5,0.5,20,100\n4,0.5,20,100\n":          {"line 3", "does not follow"},
		"time,utilization,inlet,watts\nyesterday,0.5,20,100\n":                {"line 2", `"time"`},
		"time,utilization,inlet,watts\n5,0.5,20,100\n\"6,0.5,20,100\n":        {"line 3"},
		"timestamp,utilization,inlet,watts\n2026-01-02T03:04:05Z,1,20,1e10\n": {"line 2", `"watts"`},
	} {
		err := read(text)
		if err == nil {
			t.Errorf("%q was read", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v: does not tell %s", text, err, w)
			}
		}
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("time,utilization,inlet,watts\n1,0.5,22,100\n")
	f.Add("watts,utilization\n,\n")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		for s, err := range calibrate.ReadCSV(io.LimitReader(strings.NewReader(text), 1<<16), calibrate.Columns{Inputs: utilization}) {
			if err != nil {
				return
			}
			if n++; !(s.Watts > 0) || math.IsNaN(s.State.Utilization) {
				t.Errorf("sample %d: %+v", n, s)
			}
		}
	})
}

// Trees and the network learn what two inputs do together, and trees rise in each.
func TestLearnersOfShape(t *testing.T) {
	inputs := []power.Input{"a", "b"}
	truth := func(a, b float64) float64 { return 100 + 80*a + 120*a*b }
	rng := rand.New(rand.NewPCG(1, 2))
	s := make([]calibrate.Sample, 3000)
	for i := range s {
		a, b := rng.Float64(), rng.Float64()
		s[i] = calibrate.Sample{State: power.State{Inputs: map[string]float64{"a": a, "b": b}}, Watts: power.Watts(truth(a, b) * (1 + 0.01*rng.NormFloat64()))}
	}
	r, err := calibrate.Fit(seq(s), inputs, calibrate.Options{Steps: true})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range r.Forms {
		if c.Form != "trees" && c.Form != "network" {
			continue
		}
		seen++
		// Noise alone gives 0.8 %.
		if c.Err != nil || c.MAPE > 0.016 {
			t.Errorf("%s: error %.4f, %v", c.Form, c.MAPE, c.Err)
		}
		if c.Form != "trees" {
			continue
		}
		for i := 0.0; i < 1; i += 0.1 {
			last := power.Watts(0)
			for j := 0.0; j <= 1; j += 0.02 {
				w, err := c.Predictor.Predict(t.Context(), power.State{Inputs: map[string]float64{"a": i, "b": j}})
				if err != nil || w < last-0.001 {
					t.Errorf("trees fall at %.2f, %.2f: %v after %v (%v)", i, j, w, last, err)
				}
				last = w
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d of two forms", seen)
	}
	if best := r.Best(); best.MAPE > 0.016 {
		t.Errorf("%s was chosen with %.4f", best.Form, best.MAPE)
	}
}
