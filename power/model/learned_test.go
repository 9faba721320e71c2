package model_test

import (
	"math"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

// learned returns the forms with many parameters.
func learned() []*model.Model {
	units := map[power.Input]string{"cycles": "cycles per second"}
	return []*model.Model{
		{Name: "mlp", Units: units, Form: must(power.NewMLP(power.Network{
			Inputs: []power.Input{power.InputUtilization, "cycles"},
			Shift:  []float64{0.5, 1e9}, Scale: []float64{0.29, 7.123456789e8},
			Layers: []power.Layer{
				{Weights: [][]float64{{1.0 / 3, -2}, {0.1, 0.2}, {math.Pi, 1e-300}}, Bias: []float64{0, 1, -1}, Activation: power.Tanh},
				{Weights: [][]float64{{1, 2, 3}, {4, 5, 6}}, Bias: []float64{0, 0}, Activation: power.ReLU},
				{Weights: [][]float64{{1, 2}, {0.5, 1}}, Bias: []float64{0, 0}, Activation: power.Sigmoid},
				{Weights: [][]float64{{1, 2}}, Bias: []float64{0.25}},
			},
			OutputShift: 180, OutputScale: 12.5,
		}))},
		{Name: "trees", Units: units, Form: must(power.NewTrees(power.Ensemble{
			Inputs: []power.Input{power.InputUtilization, "cycles"},
			Base:   0.5,
			Trees: []power.Tree{
				{Left: []int32{1, -1, 3, -1, -1}, Right: []int32{2, -1, 4, -1, -1}, Feature: []int32{0, 0, 1, 0, 0},
					Value: []float32{0.1, 117.55801, 1.9999999e9, 179.08789, 1e-30}, MissingLeft: []bool{true, false, false, false, true}},
				{Left: []int32{-1}, Right: []int32{-1}, Feature: []int32{0}, Value: []float32{16777217}},
			},
		}))},
	}
}

func TestUnmarshalRefusesLearned(t *testing.T) {
	for _, m := range learned() {
		text := string(must(model.Marshal(m)))
		for old, new := range map[string]string{
			`"tanh"`:                `"swish"`,
			`[0.1,0.2]`:             `[0.1]`,
			`[4,5,6]`:               `[4,null,6]`,
			`"bias": [0,1,-1]`:      `"bias": null`,
			`[0.5,1000000000]`:      `[0.5]`,
			`"left": [1,-1,3,-1,-1`: `"left": [0,-1,3,-1,-1`,
			`"right": [2,-1,4`:      `"right": [1,-1,4`,
			`"feature": [0,0,1`:     `"feature": [0,0,2`,
			`"left": [1,`:           `"left": [null,`,
			`16777216`:              `1e39`,
			`"base": 0.5`:           `"base": "0.5"`,
		} {
			bad := strings.Replace(text, old, new, 1)
			if bad == text {
				continue // it is in the other model
			}
			if _, err := model.Unmarshal([]byte(bad)); err == nil {
				t.Errorf("%s: %s instead of %s is accepted", m.Name, new, old)
			} else if !strings.Contains(err.Error(), "form") {
				t.Errorf("%s: %v: want the path", m.Name, err)
			}
		}
	}
}
