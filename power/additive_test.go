package power_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

func TestGPUIsClippedAtItsLimit(t *testing.T) {
	base := power.Linear{Idle: 100, Peak: 200}
	p := must(power.NewGPU(base, power.GPU{Input: "gpu", Count: 4, Idle: 50, Active: 300, Limit: 250}))
	for a, want := range map[float64]float64{0: 300, 0.5: 100 + 4*200, 1: 100 + 4*250, 9: 100 + 4*250, -1: 300} {
		w, err := p.Predict(t.Context(), power.State{Inputs: map[string]float64{"gpu": a}})
		if err != nil || math.Abs(float64(w)-want) > 1e-9 {
			t.Errorf("activity %v: %v, %v; want %v", a, w, err, want)
		}
	}
	strict := must(power.NewGPU(base, power.GPU{Input: "gpu", Count: 1, Out: power.Reject}))
	if _, err := strict.Predict(t.Context(), power.State{Inputs: map[string]float64{"gpu": 1.1}}); !errors.Is(err, power.ErrDomain) {
		t.Errorf("activity 1.1: %v, want ErrDomain", err)
	}
	if _, err := p.Predict(t.Context(), power.State{}); !errors.Is(err, power.ErrMissingInput) {
		t.Errorf("no activity: %v, want ErrMissingInput", err)
	}
}

func TestPressure(t *testing.T) {
	p := must(power.NewPressure(power.Linear{Idle: 100}, power.Pressure{PerPascal: -0.5, Reference: 4, Low: 0, High: 10}))
	for dp, want := range map[float64]float64{4: 100, 10: 97, 50: 97, 0: 102} {
		w, err := p.Predict(t.Context(), power.State{PressureDelta: new(power.Pascals(dp))})
		if err != nil || math.Abs(float64(w)-want) > 1e-9 {
			t.Errorf("%v Pa: %v, %v; want %v", dp, w, err, want)
		}
	}
}

func TestAdditiveRefuses(t *testing.T) {
	good := power.GPU{Input: "gpu", Count: 1}
	for name, spoil := range map[string]func(*power.GPU){
		"no input":  func(g *power.GPU) { g.Input = "" },
		"no GPU":    func(g *power.GPU) { g.Count = 0 },
		"NaN":       func(g *power.GPU) { g.Active = power.Watts(math.NaN()) },
		"negative":  func(g *power.GPU) { g.Limit = -1 },
		"what else": func(g *power.GPU) { g.Out = 9 },
	} {
		g := good
		spoil(&g)
		if _, err := power.NewGPU(power.Linear{}, g); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := power.NewPressure(power.Linear{}, power.Pressure{Low: 1}); err == nil {
		t.Error("an empty range of pressure is accepted")
	}
	if _, err := power.NewGPU(nil, good); !errors.Is(err, power.ErrNoModel) {
		t.Errorf("no base: %v", err)
	}
}

func ExampleGPU() {
	server := power.Linear{Idle: 200, Peak: 600}
	p, err := power.NewGPU(server, power.GPU{Input: "gpu", Count: 8, Idle: 60, Active: 400, Limit: 400})
	if err != nil {
		panic(err)
	}
	w, err := p.Predict(context.Background(), power.State{Utilization: 0.25, Inputs: map[string]float64{"gpu": 0.5}})
	fmt.Println(w, err)
	// Output: 2380.00 W <nil>
}

func ExamplePressure() {
	p, err := power.NewPressure(power.Linear{Idle: 60, Peak: 300}, power.Pressure{PerPascal: -0.25, Low: 0, High: 20})
	if err != nil {
		panic(err)
	}
	w, err := p.Predict(context.Background(), power.State{Utilization: 0.5, PressureDelta: new(power.Pascals(8))})
	fmt.Println(w, err)
	// Output: 178.00 W <nil>
}
