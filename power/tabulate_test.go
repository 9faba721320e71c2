package power_test

import (
	"errors"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

// A curve keeps its own knots through whatever wraps it; sampling would cut its corners.
func TestTabulateKeepsKnots(t *testing.T) {
	knots := []power.Knot{{Utilization: 0, Watts: 50}, {Utilization: 0.037, Watts: 90}, {Utilization: 1, Watts: 200}}
	base := must(power.NewPiecewise(knots))
	warm := must(power.NewInlet(base, power.PublishedInletResponse()))
	gpu := must(power.NewGPU(warm, power.GPU{Input: "gpu", Count: 2, Idle: 50, Active: 200}))
	bounded := must(power.NewBounded(must(power.NewBanded(gpu, nil)), power.Domain{power.InputInletTemp: {Low: 0, High: 28}}, power.Clamp))
	p := power.NewByNode(map[string]power.Predictor{"n": bounded}, nil)
	s := power.State{Node: "n", InletTemp: new(power.Celsius(40)), Inputs: map[string]float64{"gpu": 0.5}}
	c := must(power.Tabulate(t.Context(), p, s, 10))
	for i, k := range c.Knots() {
		want := knots[i].Watts*(1+0.00425*5) + 2*150
		if d := k.Watts - want; len(c.Knots()) != 3 || k.Utilization != knots[i].Utilization || d > 1e-9 || d < -1e-9 {
			t.Fatalf("knots %v, want those of the base at 28 °C, with 300 W of GPUs", c.Knots())
		}
	}
	if same := must(power.Tabulate(t.Context(), base, s, 10)); same != base {
		t.Error("a curve is not its own table")
	}
}

func TestTabulateSamplesTheRest(t *testing.T) {
	p := power.Exponential{K0: 150, K1: -100, K2: -0.05}
	c := must(power.Tabulate(t.Context(), p, power.State{}, 8))
	if n := len(c.Knots()); n != 9 {
		t.Fatalf("%d knots, want 9", n)
	}
	for _, k := range c.Knots() {
		if d := float64(k.Watts) - at(t, p, k.Utilization); d > 1e-9 || d < -1e-9 {
			t.Errorf("at %v: off by %v", k.Utilization, d)
		}
	}
}

func TestTabulateErrors(t *testing.T) {
	warm := must(power.NewInlet(power.Linear{Peak: 1}, power.PublishedInletResponse()))
	if _, err := power.Tabulate(t.Context(), warm, power.State{}, 10); !errors.Is(err, power.ErrMissingInput) {
		t.Errorf("no inlet: %v, want ErrMissingInput", err)
	}
	for _, points := range []int{0, -1, power.MaxKnots} {
		if _, err := power.Tabulate(t.Context(), warm, power.State{}, points); err == nil {
			t.Errorf("%d points: accepted", points)
		}
	}
	if _, err := power.Tabulate(t.Context(), nil, power.State{}, 10); !errors.Is(err, power.ErrNoModel) {
		t.Errorf("no model: %v, want ErrNoModel", err)
	}
	if _, err := power.Tabulate(t.Context(), power.NewByNode(nil, nil), power.State{}, 10); !errors.Is(err, power.ErrNoModel) {
		t.Errorf("no node: %v, want ErrNoModel", err)
	}
	strict := must(power.NewBounded(power.Linear{Peak: 1}, power.Domain{power.InputUtilization: {Low: 0, High: 0.8}}, power.Reject))
	if _, err := power.Tabulate(t.Context(), strict, power.State{}, 10); !errors.Is(err, power.ErrDomain) {
		t.Errorf("refuses above 0.8: %v, want ErrDomain", err)
	}
}
