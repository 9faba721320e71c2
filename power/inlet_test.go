package power_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

func inlet(t *testing.T, base power.Predictor, r power.InletResponse) *power.Inlet {
	t.Helper()
	p, err := power.NewInlet(base, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func atInlet(t *testing.T, p power.Predictor, c float64) float64 {
	t.Helper()
	w, err := p.Predict(t.Context(), power.State{Node: "n", InletTemp: new(power.Celsius(c))})
	if err != nil {
		t.Fatalf("at %v °C: %v", c, err)
	}
	return float64(w)
}

// The readings are those of McManis, Green Revolution Cooling, 17 June 2016, table 1.
func TestR410InletResponse(t *testing.T) {
	p := inlet(t, power.Linear{Idle: 137.7, Peak: 137.7}, power.R410InletResponse())
	for c, want := range map[float64]float64{27: 137.7, 29: 139.4, 31: 141.5, 33: 144.05, 35: 148.4, 37: 154} {
		if got := atInlet(t, p, c); math.Abs(got-want) > 0.5 {
			t.Errorf("at %v °C: %.2f W, measured %.2f", c, got, want)
		}
	}
}

// Coroamă (arXiv:2509.26163) gives 0.35 to 0.5 % per °C between 23 and 30 °C.
func TestPublishedInletResponse(t *testing.T) {
	p := inlet(t, power.Linear{Idle: 200, Peak: 400}, power.PublishedInletResponse())
	if got := atInlet(t, p, 23); got != 200 {
		t.Errorf("at the reference %v, want the base's 200", got)
	}
	for c := 24.0; c <= 30; c++ {
		rise := (atInlet(t, p, c) - atInlet(t, p, c-1)) / 200
		if rise < 0.0035 || rise > 0.005 {
			t.Errorf("from %v to %v °C: %.3f %%", c-1, c, 100*rise)
		}
	}
	if got := atInlet(t, p, 10); got != 200 {
		t.Errorf("below its range %v, want it clamped to 200", got)
	}
	if a, b := atInlet(t, p, 45), atInlet(t, p, 30); a != b {
		t.Errorf("above its range %v, want it clamped to %v", a, b)
	}
}

// The fan affinity laws: twice the speed takes eight times the power.
func TestInletFansFollowTheCubeLaw(t *testing.T) {
	r := power.InletResponse{Reference: 20, Fan: 10, FanKnee: 25, FanGain: 0.1, Low: 0, High: 60}
	p := inlet(t, power.Linear{Idle: 100}, r)
	for c, want := range map[float64]float64{20: 100, 25: 100, 35: 100 + 10*(8-1), 45: 100 + 10*(27-1)} {
		if got := atInlet(t, p, c); math.Abs(got-want) > 1e-9 {
			t.Errorf("at %v °C: %v, want %v", c, got, want)
		}
	}
	r.FanLimit = 2
	if got := atInlet(t, inlet(t, power.Linear{Idle: 100}, r), 60); math.Abs(got-170) > 1e-9 {
		t.Errorf("at full fan speed %v, want 170", got)
	}
}

func TestInletOutsideAndMissing(t *testing.T) {
	r := power.PublishedInletResponse()
	r.Outside = power.Reject
	p := inlet(t, power.Linear{Idle: 100}, r)
	if _, err := p.Predict(t.Context(), power.State{InletTemp: new(power.Celsius(35))}); !errors.Is(err, power.ErrDomain) {
		t.Errorf("at 35 °C: %v, want ErrDomain", err)
	}
	if _, err := p.Predict(t.Context(), power.State{}); !errors.Is(err, power.ErrMissingInput) {
		t.Errorf("no inlet: %v, want ErrMissingInput", err)
	}
}

func TestInletRefuses(t *testing.T) {
	if _, err := power.NewInlet(nil, power.PublishedInletResponse()); !errors.Is(err, power.ErrNoModel) {
		t.Errorf("no base: %v, want ErrNoModel", err)
	}
	for name, spoil := range map[string]func(*power.InletResponse){
		"NaN":          func(r *power.InletResponse) { r.PerDegree = math.NaN() },
		"upside down":  func(r *power.InletResponse) { r.High = r.Low - 1 },
		"slowing fans": func(r *power.InletResponse) { r.FanLimit = 0.5 },
		"negative fan": func(r *power.InletResponse) { r.Fan = -1 },
		"outside":      func(r *power.InletResponse) { r.Outside = 7 },
	} {
		r := power.PublishedInletResponse()
		spoil(&r)
		if _, err := power.NewInlet(power.Linear{}, r); err == nil {
			t.Errorf("%s: accepted %+v", name, r)
		}
	}
}

func ExampleInlet() {
	server, err := power.FindServer("PowerEdge R740")
	if err != nil {
		panic(err)
	}
	p, err := power.NewInlet(server.Curve(), power.PublishedInletResponse())
	if err != nil {
		panic(err)
	}
	for _, c := range []power.Celsius{23, 28} {
		w, err := p.Predict(context.Background(), power.State{Utilization: 0.5, InletTemp: &c})
		fmt.Println(c, w, err)
	}
	// Output:
	// 23.0 °C 224.00 W <nil>
	// 28.0 °C 228.76 W <nil>
}
