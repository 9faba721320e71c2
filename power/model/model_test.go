package model_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/power/powertest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// models returns one of every form, with every field of a model used somewhere.
func models() []*model.Model {
	curve := must(power.EvenPiecewise(50.1, 80, 1/3.0*300, 130))
	warm := power.R410InletResponse()
	warm.Outside = power.Reject
	warm.FanLimit = 3
	return append(learned(),
		&model.Model{Name: "linear", Form: power.Linear{Idle: 0.1 + 0.2, Peak: 300}},
		&model.Model{Name: "fan", Form: power.Fan{Idle: 50, Peak: 300, Exponent: 1.7}},
		&model.Model{Name: "exponential", Form: power.Exponential{K0: 471.7412504314313, K1: -91.50493019588365, K2: -0.07186049052516228}},
		&model.Model{Name: "piecewise", Form: curve, Prior: true, Outside: power.Reject},
		&model.Model{Name: "inlet", Form: must(power.NewInlet(curve, warm)),
			Domain:  power.Domain{power.InputUtilization: {Low: 0.05, High: 1}, power.InputInletTemp: {Low: math.Inf(-1), High: 36}},
			Outside: power.Reject},
		&model.Model{Name: "pressure", Form: must(power.NewPressure(curve, power.Pressure{PerPascal: -0.3, Reference: 5, Low: 0, High: 20}))},
		&model.Model{Name: "gpu", Form: must(power.NewGPU(must(power.NewInlet(curve, power.PublishedInletResponse())),
			power.GPU{Input: "gpu", Count: 8, Idle: 55, Active: 400, Limit: 400})),
			Units: map[power.Input]string{"gpu": "ratio"}},
		&model.Model{Name: "ridge", Form: must(power.NewPolynomial([]power.Term{
			{Coefficient: 171.3},
			{Coefficient: 1e-9, Factors: []power.Factor{{Input: "cycles", Exponent: 1}}},
			{Coefficient: 3e-4, Factors: []power.Factor{{Input: "cycles", Exponent: 0.5}}},
			{Coefficient: 20, Factors: []power.Factor{{Input: power.InputUtilization, Exponent: 2}, {Input: power.InputInletTemp, Exponent: 1}}},
		})),
			Units:     map[power.Input]string{"cycles": "cycles per second"},
			Intervals: []power.Band{{Level: 0.9, Below: 3.5, Above: 4, BelowShare: 0.01, AboveShare: 0.02}},
			Fitted: &model.Fitted{Source: "readings <of> BMC & Kepler", Server: "node-7", Samples: 1468,
				From: time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC), To: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)},
			Error:   &model.Error{Method: "5 time blocks", MAPE: 4.1, RMSE: 11.25, Samples: 734},
			Learner: []byte(`{"gain":[1,2.5,{"a":null}],"t":"x"}`)},
		&model.Model{Name: "bounded", Form: must(power.NewBounded(curve, power.Domain{power.InputUtilization: {Low: 0, High: 0.8}}, power.Reject))},
	)
}

func state(u float64) power.State {
	return power.State{Node: "n", Utilization: u, InletTemp: new(power.Celsius(30)), PressureDelta: new(power.Pascals(7)),
		Inputs: map[string]float64{"gpu": 0.4, "cycles": 2e9}}
}

func TestWrittenAndReadBackExactly(t *testing.T) {
	for _, m := range models() {
		t.Run(m.Name, func(t *testing.T) {
			first, err := model.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			back, err := model.Unmarshal(first)
			if err != nil {
				t.Fatalf("%v in\n%s", err, first)
			}
			second, err := model.Marshal(back)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first, second) {
				t.Errorf("written again it differs:\n%s\n%s", first, second)
			}
			if back.Prior != m.Prior || back.Outside != m.Outside || len(back.Intervals) != len(m.Intervals) ||
				!bytes.Equal(back.Learner, m.Learner) {
				t.Errorf("read back %+v, want %+v", back, m)
			}
			if m.Fitted != nil && *back.Fitted != *m.Fitted || m.Error != nil && *back.Error != *m.Error {
				t.Errorf("read back %+v %+v, want %+v %+v", back.Fitted, back.Error, m.Fitted, m.Error)
			}
			p, q := must(m.Predictor()), must(back.Predictor())
			for u := -0.1; u < 1.2; u += 0.07 {
				a, errA := p.Predict(t.Context(), state(u))
				b, errB := q.Predict(t.Context(), state(u))
				if a != b || (errA == nil) != (errB == nil) {
					t.Errorf("at %v: %v %v, read back %v %v", u, a, errA, b, errB)
				}
			}
			if err := powertest.TestPredictor(q, state(0.3), state(0.71)); err != nil {
				t.Error(err)
			}
		})
	}
}

const small = `{"format":"leastwatt.model/1","name":"a","inputs":[{"name":"utilization","unit":"ratio"}],"form":{"kind":"linear","idle":1,"peak":2}}`

func TestUnmarshalRefuses(t *testing.T) {
	edit := func(old, new string) string {
		out := strings.Replace(small, old, new, 1)
		if out == small {
			t.Fatalf("%q is not in the small model", old)
		}
		return out
	}
	if _, err := model.Unmarshal([]byte(small)); err != nil {
		t.Fatal(err)
	}
	deep := `{"kind":"linear","idle":1,"peak":2}`
	for range 20 {
		deep = `{"kind":"bounded","domain":[],"base":` + deep + `}`
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "unexpected EOF"},
		"cut off":          {small[:60], "unexpected EOF"},
		"text after it":    {small + "{}", "after the value"},
		"an array":         {"[1]", "want an object"},
		"not UTF-8":        {edit(`"a"`, "\"\xff\""), "UTF-8"},
		"other format":     {edit("model/1", "model/2"), "format"},
		"no name":          {edit(`"name":"a",`, ``), "name: missing"},
		"empty name":       {edit(`"name":"a"`, `"name":""`), "no name"},
		"unknown field":    {edit(`"name"`, `"colour":1,"name"`), "colour: unknown field"},
		"unknown in form":  {edit(`"idle"`, `"ilde":1,"idle"`), "form.ilde: unknown field"},
		"other case":       {edit(`"idle"`, `"Idle"`), "form.idle: missing"},
		"field twice":      {edit(`"idle":1`, `"idle":1,"idle":2`), "twice"},
		"missing field":    {edit(`"idle":1,`, ``), "form.idle: missing"},
		"null":             {edit(`"idle":1`, `"idle":null`), "form.idle: null"},
		"text for number":  {edit(`"idle":1`, `"idle":"1"`), "form.idle: want float64"},
		"NaN":              {edit(`"idle":1`, `"idle":NaN`), "invalid character"},
		"too large":        {edit(`"idle":1`, `"idle":1e999`), "form.idle"},
		"negative":         {edit(`"idle":1`, `"idle":-1`), "idle is -1"},
		"unknown kind":     {edit(`"linear"`, `"crystal ball"`), "form.kind"},
		"no form":          {`{"format":"leastwatt.model/1","name":"a","inputs":[]}`, "form"},
		"unlisted input":   {edit(`{"name":"utilization","unit":"ratio"}`, ``), "needs \"utilization\""},
		"input not needed": {edit(`[{`, `[{"name":"inlet","unit":"celsius"},{`), "does not need \"inlet\""},
		"wrong unit":       {edit(`"ratio"`, `"percent"`), "is ratio, not percent"},
		"no unit":          {edit(`"ratio"`, `""`), "unit"},
		"domain reversed":  {edit(`"form"`, `"domain":[{"input":"utilization","low":1,"high":0}],"form"`), "domain"},
		"outside":          {edit(`"form"`, `"outside":"guess","form"`), "outside"},
		"interval":         {edit(`"form"`, `"intervals":[{"level":2,"below":1,"above":1,"belowShare":0,"aboveShare":0}],"form"`), "level 2"},
		"error":            {edit(`"form"`, `"error":{"mape":-1,"rmse":0},"form"`), "error of -1"},
		"knots":            {edit(`"kind":"linear","idle":1,"peak":2`, `"kind":"piecewise","utilization":[0,1],"watts":[1]`), "2 utilizations but 1 watts"},
		"null knot":        {edit(`"kind":"linear","idle":1,"peak":2`, `"kind":"piecewise","utilization":[0,1],"watts":[1,null]`), "watts[1]: null"},
		"no base":          {edit(`"kind":"linear","idle":1,"peak":2`, `"kind":"bounded","domain":[]`), "base: missing"},
		"wrapped too deep": {edit(`{"kind":"linear","idle":1,"peak":2}`, deep), "wrapped"},
		"nested too deep":  {strings.Repeat("[", 100000), "nested"},
		"too long":         {strings.Repeat(" ", model.MaxSize+1), "at most"},
	} {
		if m, err := model.Unmarshal([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want an error with %q", name, m, err, c.want)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	for name, m := range map[string]*model.Model{
		"no name":       {Form: power.Linear{}},
		"no form":       {Name: "a"},
		"NaN":           {Name: "a", Form: power.Linear{Idle: power.Watts(math.NaN())}},
		"by node":       {Name: "a", Form: power.NewByNode(nil, nil)},
		"no unit":       {Name: "a", Form: must(power.PolynomialOf("cycles", 1, 2))},
		"foreign unit":  {Name: "a", Form: power.Linear{}, Units: map[power.Input]string{"cycles": "1/s"}},
		"other unit":    {Name: "a", Form: power.Linear{}, Units: map[power.Input]string{power.InputUtilization: "percent"}},
		"learner state": {Name: "a", Form: power.Linear{}, Learner: []byte(`{"a":1,"a":2}`)},
	} {
		if out, err := model.Marshal(m); err == nil {
			t.Errorf("%s: written as %s", name, out)
		}
	}
}

func TestFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "m.json")
	for _, m := range models() {
		if err := model.WriteFile(name, m); err != nil {
			t.Fatal(err)
		}
		back, err := model.ReadFile(name)
		if err != nil || back.Name != m.Name {
			t.Errorf("read %v, %v; want %s", back, err, m.Name)
		}
	}
	if e, err := os.ReadDir(filepath.Dir(name)); err != nil || len(e) != 1 {
		t.Errorf("left behind: %v, %v", e, err)
	}
	if err := os.WriteFile(name, []byte(`{"format":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := model.ReadFile(name); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "format") {
		t.Errorf("%v: want the file and the field", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, m := range models() {
		f.Add(must(model.Marshal(m)))
	}
	f.Add([]byte(small))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := model.Unmarshal(data)
		if err != nil {
			return
		}
		first, err := model.Marshal(m)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		again, err := model.Unmarshal(first)
		if err != nil {
			t.Fatalf("%v in\n%s", err, first)
		}
		if second := must(model.Marshal(again)); !bytes.Equal(first, second) {
			t.Fatalf("not stable:\n%s\n%s", first, second)
		}
		p, err := m.Predictor()
		if err != nil {
			t.Fatal(err)
		}
		if w, err := p.Predict(t.Context(), state(0.4)); err == nil && !(w >= 0 && w <= math.MaxFloat64) {
			t.Fatalf("%v and no error", w)
		}
	})
}
