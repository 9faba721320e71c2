package power_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

func at(t *testing.T, p power.Predictor, u float64) float64 {
	t.Helper()
	w, err := p.Predict(t.Context(), power.State{Node: "n", Utilization: u})
	if err != nil {
		t.Fatalf("at utilization %v: %v", u, err)
	}
	return float64(w)
}

// PEAKS' documentation gives these coefficients; the costs are those its formula gives.
func TestExponentialIsPEAKS(t *testing.T) {
	p := power.Exponential{K0: 471.7412504314313, K1: -91.50493019588365, K2: -0.07186049052516228}
	for _, c := range []struct{ from, to, want float64 }{
		{0, 1, 91.435654157550},
		{0.2, 0.3, 11.143557716109},
	} {
		if got := at(t, p, c.to) - at(t, p, c.from); math.Abs(got-c.want) > 1e-10 {
			t.Errorf("%v→%v costs %.12f W, want %.12f", c.from, c.to, got, c.want)
		}
	}
}

func TestFormsOfUtilization(t *testing.T) {
	for name, p := range map[string]power.Predictor{
		"linear":      power.Linear{Idle: 50, Peak: 150},
		"fan":         power.Fan{Idle: 50, Peak: 150},
		"exponential": power.Exponential{K0: 150, K1: -100, K2: -0.05},
	} {
		t.Run(name, func(t *testing.T) {
			if got := at(t, p, 0); math.Abs(got-50) > 1e-9 {
				t.Errorf("idle %v, want 50", got)
			}
			if a, b := at(t, p, -1), at(t, p, 0); a != b {
				t.Errorf("below idle %v, want it clamped to %v", a, b)
			}
			if a, b := at(t, p, 7), at(t, p, 1); a != b {
				t.Errorf("above full load %v, want it clamped to %v", a, b)
			}
			for u := 0.0; u < 1; u += 0.01 {
				if at(t, p, u+0.01) < at(t, p, u) {
					t.Errorf("falls at %v", u)
				}
			}
			if _, err := p.Predict(t.Context(), power.State{Utilization: math.NaN()}); !errors.Is(err, power.ErrMissingInput) {
				t.Errorf("NaN utilization: %v, want ErrMissingInput", err)
			}
		})
	}
}

// Fan, Weber and Barroso's model lies above the line between its ends by (u − u^1.4) of the span.
func TestFanPublishedExponent(t *testing.T) {
	p := power.Fan{Idle: 100, Peak: 200}
	if got, want := at(t, p, 0.5), 100+100*(1-math.Pow(0.5, 1.4)); math.Abs(got-want) > 1e-9 {
		t.Errorf("at half load %v, want %v", got, want)
	}
	if got := at(t, p, 1); got != 200 {
		t.Errorf("at full load %v, want 200", got)
	}
}

func TestParametersThatMakeNoSenseEndInAnError(t *testing.T) {
	for name, p := range map[string]power.Predictor{
		"linear":      power.Linear{Idle: power.Watts(math.NaN())},
		"fan":         power.Fan{Peak: -5},
		"exponential": power.Exponential{K1: 1, K2: 100},
	} {
		if _, err := p.Predict(t.Context(), power.State{Utilization: 1}); !errors.Is(err, power.ErrNotFinite) {
			t.Errorf("%s: %v, want ErrNotFinite", name, err)
		}
	}
}

func ExampleExponential() {
	p := power.Exponential{K0: 471.74, K1: -91.505, K2: -0.07186}
	before, _ := p.Predict(context.Background(), power.State{Utilization: 0.2})
	after, _ := p.Predict(context.Background(), power.State{Utilization: 0.3})
	fmt.Println(after - before)
	// Output: 11.14 W
}

func ExampleLinear() {
	w, err := power.Linear{Idle: 60, Peak: 300}.Predict(context.Background(), power.State{Utilization: 0.25})
	fmt.Println(w, err)
	// Output: 120.00 W <nil>
}

func ExampleFan() {
	w, err := power.Fan{Idle: 60, Peak: 300}.Predict(context.Background(), power.State{Utilization: 0.25})
	fmt.Println(w, err)
	// Output: 145.54 W <nil>
}
