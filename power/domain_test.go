package power_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

func TestBoundedClampsAndRejects(t *testing.T) {
	d := power.Domain{power.InputUtilization: {Low: 0.2, High: 0.8}}
	base := power.Linear{Idle: 0, Peak: 100}
	c := must(power.NewBounded(base, d, power.Clamp))
	r := must(power.NewBounded(base, d, power.Reject))
	d[power.InputUtilization] = power.Range{Low: 0, High: 1} // the domain was copied
	for _, u := range []float64{0, 1} {
		want := 20 + 60*u
		if got := at(t, c, u); math.Abs(got-want) > 1e-9 {
			t.Errorf("clamped at %v: %v, want %v", u, got, want)
		}
		if _, err := r.Predict(t.Context(), power.State{Utilization: u}); !errors.Is(err, power.ErrDomain) {
			t.Errorf("rejecting at %v: %v, want ErrDomain", u, err)
		}
	}
	if got := at(t, r, 0.5); got != 50 {
		t.Errorf("inside: %v, want 50", got)
	}
	got, known := power.DomainOf(c)
	if want := (power.Range{Low: 0.2, High: 0.8}); !known || got[power.InputUtilization] != want {
		t.Errorf("domain %v, want %v", got, want)
	}
}

func TestBoundedRefuses(t *testing.T) {
	for name, d := range map[string]power.Domain{
		"upside down": {power.InputInletTemp: {Low: 30, High: 20}},
		"NaN":         {power.InputInletTemp: {Low: math.NaN(), High: 20}},
	} {
		if _, err := power.NewBounded(power.Linear{}, d, power.Clamp); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := power.NewBounded(nil, nil, power.Clamp); !errors.Is(err, power.ErrNoModel) {
		t.Errorf("no base: %v", err)
	}
}

func TestInletDomainIsWhatBothShare(t *testing.T) {
	inner := must(power.NewInlet(power.Linear{Peak: 1}, power.R410InletResponse()))
	d, _ := power.DomainOf(must(power.NewInlet(inner, power.PublishedInletResponse())))
	if want := (power.Range{Low: 27, High: 30}); d[power.InputInletTemp] != want {
		t.Errorf("inlet %v, want %v", d[power.InputInletTemp], want)
	}
}

func TestIntervals(t *testing.T) {
	p := must(power.NewBanded(power.Linear{Idle: 100, Peak: 200}, []power.Band{
		{Level: 0.9, Below: 5, Above: 10, BelowShare: 0.1, AboveShare: 0.1},
		{Level: 0.5, Below: 1, Above: 2},
	}))
	s := power.State{Utilization: 0}
	for level, want := range map[float64]power.Interval{
		0.5: {Low: 99, High: 102}, 0.3: {Low: 99, High: 102}, 0.9: {Low: 85, High: 120}, 0.7: {Low: 85, High: 120},
	} {
		got, err := power.PredictInterval(t.Context(), p, s, level)
		if err != nil || got != want {
			t.Errorf("level %v: %v, %v; want %v", level, got, err, want)
		}
	}
	if _, err := power.PredictInterval(t.Context(), p, s, 0.99); !errors.Is(err, power.ErrNoInterval) {
		t.Errorf("level 0.99: %v, want ErrNoInterval", err)
	}
	if _, err := power.PredictInterval(t.Context(), power.Linear{}, s, 0.9); !errors.Is(err, power.ErrNoInterval) {
		t.Errorf("a model without intervals: %v, want ErrNoInterval", err)
	}
	for name, bands := range map[string][]power.Band{
		"level twice": {{Level: 0.5}, {Level: 0.5, Below: 1}},
		"narrower":    {{Level: 0.5, Below: 2}, {Level: 0.9, Below: 1}},
		"level 1":     {{Level: 1}},
		"negative":    {{Level: 0.5, Above: -1}},
		"NaN":         {{Level: 0.5, AboveShare: math.NaN()}},
	} {
		if _, err := power.NewBanded(power.Linear{}, bands); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func ExampleBounded() {
	p, err := power.NewBounded(power.Linear{Idle: 60, Peak: 300}, power.Domain{power.InputUtilization: {Low: 0, High: 0.6}}, power.Reject)
	if err != nil {
		panic(err)
	}
	_, err = p.Predict(context.Background(), power.State{Node: "a", Utilization: 0.9})
	fmt.Println(err)
	// Output: node "a": input "utilization" is 0.9, outside 0 to 0.6: outside the model's domain
}

func ExamplePredictInterval() {
	p, err := power.NewBanded(power.Linear{Idle: 60, Peak: 300}, []power.Band{{Level: 0.9, BelowShare: 0.04, AboveShare: 0.05}})
	if err != nil {
		panic(err)
	}
	in, err := power.PredictInterval(context.Background(), p, power.State{Utilization: 0.5}, 0.9)
	fmt.Println(in.Low, in.High, err)
	// Output: 172.80 W 189.00 W <nil>
}
