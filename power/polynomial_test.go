package power_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

func TestPolynomialSumsItsTerms(t *testing.T) {
	p := must(power.NewPolynomial([]power.Term{
		{Coefficient: 50},
		{Coefficient: 2, Factors: []power.Factor{{Input: "misses", Exponent: 0.5}}},
		{Coefficient: 3, Factors: []power.Factor{{Input: power.InputUtilization, Exponent: 3}, {Input: power.InputInletTemp, Exponent: 1}}},
		{Coefficient: 4, Factors: []power.Factor{{Input: power.InputUtilization, Exponent: 1.5}}},
		{Coefficient: -1, Factors: []power.Factor{{Input: power.InputPressureDelta, Exponent: 2}}},
	}))
	s := power.State{Utilization: 0.25, InletTemp: new(power.Celsius(20)), PressureDelta: new(power.Pascals(3)), Inputs: map[string]float64{"misses": 100}}
	want := 50 + 2*10 + 3*0.25*0.25*0.25*20 + 4*0.125 - 9.0
	if w, err := p.Predict(t.Context(), s); err != nil || math.Abs(float64(w)-want) > 1e-9 {
		t.Errorf("%v, %v; want %v", w, err, want)
	}
	s.Inputs["misses"] = -1
	if _, err := p.Predict(t.Context(), s); !errors.Is(err, power.ErrNotFinite) {
		t.Errorf("the root of a negative counter: %v, want ErrNotFinite", err)
	}
}

func TestPolynomialTakesManyInputs(t *testing.T) {
	var terms []power.Term
	inputs := map[string]float64{}
	for i := range 100 {
		name := fmt.Sprint("counter", i)
		inputs[name] = 1
		terms = append(terms, power.Term{Coefficient: 1, Factors: []power.Factor{{Input: power.Input(name), Exponent: 1}}})
	}
	if w, err := must(power.NewPolynomial(terms)).Predict(t.Context(), power.State{Inputs: inputs}); err != nil || w != 100 {
		t.Errorf("%v, %v; want 100", w, err)
	}
}

func TestPolynomialRefuses(t *testing.T) {
	for name, terms := range map[string][]power.Term{
		"no terms":     nil,
		"NaN":          {{Coefficient: math.NaN()}},
		"infinite":     {{Coefficient: 1, Factors: []power.Factor{{Input: "a", Exponent: math.Inf(1)}}}},
		"no name":      {{Coefficient: 1, Factors: []power.Factor{{Exponent: 1}}}},
		"many factors": {{Coefficient: 1, Factors: make([]power.Factor, 100)}},
		"many terms":   make([]power.Term, power.MaxTerms+1),
	} {
		if _, err := power.NewPolynomial(terms); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func ExamplePolynomialOf() {
	cubic, err := power.PolynomialOf(power.InputUtilization, 60, 400, -350, 190)
	if err != nil {
		panic(err)
	}
	w, err := cubic.Predict(context.Background(), power.State{Utilization: 0.5})
	fmt.Println(w, err)
	// Output: 196.25 W <nil>
}
