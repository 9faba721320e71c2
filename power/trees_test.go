package power_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

// shared returns a file of the shared folder beside the repository, or skips the test.
func shared(t testing.TB, path string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Skip("no go.work above this test: cannot find ../shared")
		}
		dir = parent
	}
	data, err := os.ReadFile(filepath.Join(dir, "..", "shared", path))
	if err != nil {
		t.Skipf("needs ../shared/%s beside the repository: %v", path, err)
	}
	return data
}

var features = []power.Input{power.InputUtilization, "cycles", "misses"}

// XGBoost 1.7.4 itself gave these predictions for these rows (samples/xgboost/xgb_model.expected).
func TestTreesAreXGBoost(t *testing.T) {
	p, err := power.ReadXGBoost(bytes.NewReader(shared(t, "samples/xgboost/xgb_model.json")), features)
	if err != nil {
		t.Fatal(err)
	}
	nan := float32(math.NaN())
	for _, c := range []struct {
		row  [3]float32
		want float32
	}{{[3]float32{.1, .2, .3}, 117.55801}, {[3]float32{.9, .5, .7}, 243.93521}, {[3]float32{.5, nan, .5}, 179.08789}} {
		got, err := p.Margin(c.row[:])
		if err != nil || got != c.want {
			t.Errorf("%v: %v, %v; XGBoost says %v", c.row, got, err, c.want)
		}
		if c.row[1] != c.row[1] {
			continue
		}
		w, err := p.Predict(t.Context(), power.State{Utilization: float64(c.row[0]), Inputs: map[string]float64{"cycles": float64(c.row[1]), "misses": float64(c.row[2])}})
		if err != nil || w != power.Watts(c.want) {
			t.Errorf("%v: Predict %v, %v; XGBoost says %v", c.row, w, err, c.want)
		}
	}
}

// forest returns random trees, complete to the given depth or with leaves at any depth.
func forest(trees, depth int, complete bool, inputs ...power.Input) power.Ensemble {
	r := rand.New(rand.NewPCG(3, uint64(depth)))
	e := power.Ensemble{Inputs: inputs, Base: 100}
	for range trees {
		var tree power.Tree
		var grow func(d int) int32
		grow = func(d int) int32 {
			i := len(tree.Left)
			tree.Left, tree.Right = append(tree.Left, -1), append(tree.Right, -1)
			tree.Feature = append(tree.Feature, int32(r.IntN(len(inputs))))
			tree.Value = append(tree.Value, r.Float32())
			tree.MissingLeft = append(tree.MissingLeft, r.IntN(2) == 0)
			if d > 0 && (complete || r.IntN(4) > 0) {
				left := grow(d - 1)
				right := grow(d - 1)
				tree.Left[i], tree.Right[i] = left, right
			}
			return int32(i)
		}
		grow(depth)
		e.Trees = append(e.Trees, tree)
	}
	return e
}

// The walk side by side must answer as the plain one, at thresholds too.
func TestTreesWalkIsItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for trees := range 10 {
		e := forest(trees, 7, trees%2 == 0, features...)
		p := must(power.NewTrees(e))
		for range 300 {
			x := [3]float32{r.Float32(), r.Float32(), r.Float32()}
			if trees > 0 && r.IntN(2) == 0 {
				v := e.Trees[0].Value
				x[r.IntN(3)] = v[r.IntN(len(v))]
			}
			want := e.Base
			for _, tree := range e.Trees {
				i := int32(0)
				for tree.Left[i] >= 0 {
					if x[tree.Feature[i]] < tree.Value[i] {
						i = tree.Left[i]
					} else {
						i = tree.Right[i]
					}
				}
				want += tree.Value[i]
			}
			w, err := p.Predict(t.Context(), power.State{Utilization: float64(x[0]), Inputs: map[string]float64{"cycles": float64(x[1]), "misses": float64(x[2])}})
			if err != nil || float32(w) != want {
				t.Fatalf("%d trees at %v: %v, %v; want %v", trees, x, w, err, want)
			}
			if m, err := p.Margin(x[:]); err != nil || m != want {
				t.Fatalf("%d trees at %v: margin %v, %v; want %v", trees, x, m, err, want)
			}
		}
	}
}

func TestNewTreesRefuses(t *testing.T) {
	leaf := func() power.Tree {
		return power.Tree{Left: []int32{1, -1, -1}, Right: []int32{2, -1, -1}, Feature: []int32{0, 0, 0}, Value: []float32{.5, 1, 2}}
	}
	chain := power.Tree{}
	for i := range int32(100) {
		chain.Left = append(chain.Left, 2*i+2, -1)
		chain.Right = append(chain.Right, 2*i+1, -1)
		chain.Feature = append(chain.Feature, 0, 0)
		chain.Value = append(chain.Value, 1, 1)
	}
	chain.Left[198] = -1
	for name, spoil := range map[string]func(*power.Ensemble){
		"cycle":          func(e *power.Ensemble) { e.Trees[0].Left[0] = 0 },
		"one child":      func(e *power.Ensemble) { e.Trees[0].Right[0] = -1 },
		"shared child":   func(e *power.Ensemble) { e.Trees[0].Right[0] = 1 },
		"out of range":   func(e *power.Ensemble) { e.Trees[0].Left[0] = 3 },
		"below":          func(e *power.Ensemble) { e.Trees[0].Left[0] = -2 },
		"feature":        func(e *power.Ensemble) { e.Trees[0].Feature[0] = 1 },
		"NaN":            func(e *power.Ensemble) { e.Trees[0].Value[2] = float32(math.NaN()) },
		"base":           func(e *power.Ensemble) { e.Base = float32(math.Inf(1)) },
		"lengths":        func(e *power.Ensemble) { e.Trees[0].Value = e.Trees[0].Value[:2] },
		"missing":        func(e *power.Ensemble) { e.Trees[0].MissingLeft = []bool{true} },
		"empty tree":     func(e *power.Ensemble) { e.Trees[0] = power.Tree{} },
		"no inputs":      func(e *power.Ensemble) { e.Inputs = nil },
		"input twice":    func(e *power.Ensemble) { e.Inputs = []power.Input{"a", "a"} },
		"too deep":       func(e *power.Ensemble) { e.Trees[0] = chain },
		"too many trees": func(e *power.Ensemble) { e.Trees = make([]power.Tree, power.MaxTrees+1) },
	} {
		e := power.Ensemble{Inputs: []power.Input{power.InputUtilization}, Trees: []power.Tree{leaf()}}
		spoil(&e)
		if _, err := power.NewTrees(e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

const tinyXGBoost = `{"learner":{"feature_names":["utilization"],"gradient_booster":{"name":"gbtree","model":{"trees":[
{"default_left":[1,0,0],"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_conditions":[5E-1,6E1,1.2E2],
"split_indices":[0,0,0],"split_type":[0,0,0]}]}},"learner_model_param":{"base_score":"[5E-1]","num_class":"0",
"num_feature":"1","num_target":"1"},"objective":{"name":"reg:squarederror"}},"version":[3,0,0]}`

func TestReadXGBoostRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":       "",
		"not JSON":    "binf",
		"no learner":  "{}",
		"no model":    `{"learner":{"gradient_booster":{"name":"gbtree"}}}`,
		"dart":        strings.Replace(tinyXGBoost, "gbtree", "dart", 1),
		"objective":   strings.Replace(tinyXGBoost, "reg:squarederror", "binary:logistic", 1),
		"classes":     strings.Replace(tinyXGBoost, `"num_class":"0"`, `"num_class":"3"`, 1),
		"base":        strings.Replace(tinyXGBoost, `"[5E-1]"`, `"[1,2]"`, 1),
		"features":    strings.Replace(tinyXGBoost, `"num_feature":"1"`, `"num_feature":"2"`, 1),
		"categories":  strings.Replace(tinyXGBoost, `"split_type":[0`, `"split_type":[1`, 1),
		"cycle":       strings.Replace(tinyXGBoost, `"left_children":[1`, `"left_children":[0`, 1),
		"NaN":         strings.Replace(tinyXGBoost, `5E-1,6E1`, `NaN,6E1`, 1),
		"overflow":    strings.Replace(tinyXGBoost, `5E-1,6E1`, `5E99,6E1`, 1),
		"a flag of 2": strings.Replace(tinyXGBoost, `"default_left":[1`, `"default_left":[2`, 1),
		"deep":        strings.Repeat(`{"learner":`, 1<<20),
		"100 MB":      `{"x":"` + strings.Repeat("x", 100<<20) + `"}`,
	} {
		if _, err := power.ReadXGBoost(strings.NewReader(text), nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzReadXGBoost(f *testing.F) {
	f.Add([]byte(tinyXGBoost), float32(0.3))
	f.Fuzz(func(t *testing.T, data []byte, x float32) {
		p, err := power.ReadXGBoost(bytes.NewReader(data), nil)
		if err != nil {
			return
		}
		row := make([]float32, len(p.Inputs()))
		state := power.State{Inputs: map[string]float64{}}
		for i, in := range p.Inputs() {
			row[i] = x
			state.Inputs[string(in)] = float64(x)
		}
		if _, err := p.Margin(row); err != nil {
			t.Fatal(err)
		}
		if w, err := p.Predict(t.Context(), state); err == nil && !(w >= 0 && w <= math.MaxFloat64) {
			t.Fatalf("%v and no error", w)
		}
	})
}

func ExampleReadXGBoost() {
	p, err := power.ReadXGBoost(strings.NewReader(tinyXGBoost), nil) // takes the file's own feature names
	if err != nil {
		panic(err)
	}
	for _, u := range []float64{0.2, 0.8} {
		w, err := p.Predict(context.Background(), power.State{Utilization: u})
		fmt.Println(w, err)
	}
	// Output:
	// 60.50 W <nil>
	// 120.50 W <nil>
}

func BenchmarkTrees(b *testing.B) {
	p := must(power.NewTrees(forest(100, 6, true, power.InputUtilization, power.InputInletTemp, power.InputPressureDelta)))
	ctx := b.Context()
	r := rand.New(rand.NewPCG(1, 1))
	states := make([]power.State, 64)
	for i := range states {
		states[i] = power.State{Utilization: r.Float64(), InletTemp: new(power.Celsius(r.Float64())), PressureDelta: new(power.Pascals(r.Float64()))}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := p.Predict(ctx, states[i%64]); err != nil {
			b.Fatal(err)
		}
	}
}
