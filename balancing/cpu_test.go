package balancing_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/balancing"
)

func TestParseCPU(t *testing.T) {
	for text, want := range map[string]float64{"100m": 0.1, "0.1": 0.1, "1": 1, "250u": 250e-6, "5e-3": 0.005, " 2 ": 2, "1500n": 1.5e-6} {
		if got, err := balancing.ParseCPU(text); err != nil || math.Abs(got-want) > 1e-12 {
			t.Errorf("%q is %v, %v: want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"abc", "-5", "1e99", "1e999", "0", "", "m", "NaN", "Inf", "0x10", "1_000", "1e-999", strings.Repeat("1", 1000), "100M"} {
		if got, err := balancing.ParseCPU(text); err == nil {
			t.Errorf("%q is %v: want an error", text, got)
		}
	}
}

func TestCPUFromAnnotations(t *testing.T) {
	both := map[string]string{balancing.CPUAnnotation: "20m", balancing.WAOCPUAnnotation: "100m"}
	if got, err := balancing.CPUFromAnnotations(both); err != nil || got != 0.02 {
		t.Errorf("ours beside WAO's: %v, %v", got, err)
	}
	if got, err := balancing.CPUFromAnnotations(map[string]string{balancing.WAOCPUAnnotation: "100m"}); err != nil || got != 0.1 {
		t.Errorf("WAO's alone: %v, %v", got, err)
	}
	if _, err := balancing.CPUFromAnnotations(nil); !errors.Is(err, balancing.ErrNoCPU) {
		t.Errorf("none: %v", err)
	}
	for _, bad := range []string{"abc", "-5", "1e99"} {
		_, err := balancing.CPUFromAnnotations(map[string]string{balancing.WAOCPUAnnotation: bad})
		if err == nil || !strings.Contains(err.Error(), balancing.WAOCPUAnnotation) || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: the error does not name annotation and value: %v", bad, err)
		}
	}
}

func FuzzParseCPU(f *testing.F) {
	for _, s := range []string{"100m", "abc", "-5", "1e99", "0.1", "9e-9n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := balancing.ParseCPU(s); err == nil && !(v > 0 && v <= balancing.MaxCPU) {
			t.Errorf("%q is %v", s, v)
		}
	})
}

// The interval must hold the truth about as often as it says.
func TestCPULearnerCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const truth, idle = 0.03, 0.4
	held, known := 0, 0
	for range 500 {
		var l balancing.CPULearner
		for range 30 {
			rate := 20 + 80*r.Float64()
			if err := l.Observe(rate, idle+truth*rate+0.2*max(r.NormFloat64(), -3)); err != nil {
				t.Fatal(err)
			}
		}
		i, err := l.CPU()
		if err != nil {
			continue
		}
		known++
		if i.Low <= truth && truth <= i.High {
			held++
		}
	}
	if known < 450 || float64(held) < 0.9*float64(known) {
		t.Errorf("the interval held the truth in %d of %d runs: want about 95 %%", held, known)
	}
}

func TestCPULearnerFollows(t *testing.T) {
	var l balancing.CPULearner
	if _, err := l.CPU(); !errors.Is(err, balancing.ErrNotLearned) {
		t.Errorf("nothing seen: %v", err)
	}
	for i := range 200 {
		if err := l.Observe(50, 2); err != nil {
			t.Fatal(i, err)
		}
	}
	if i, err := l.CPU(); !errors.Is(err, balancing.ErrNotLearned) {
		t.Errorf("a rate that never moved gives %v, %v", i, err)
	}
	l = balancing.CPULearner{Memory: 20}
	for phase, cpu := range []float64{0.05, 0.01} {
		for i := range 300 {
			rate := float64(10 + i%37)
			if err := l.Observe(rate, 1+cpu*rate); err != nil {
				t.Fatal(err)
			}
		}
		if i, err := l.CPU(); err != nil || math.Abs(i.Estimate-cpu) > 1e-3*cpu {
			t.Errorf("phase %d: learned %v, %v: want %v", phase, i, err, cpu)
		}
	}
	if err := l.Observe(math.NaN(), 1); err == nil {
		t.Error("NaN is taken")
	}
}
