package power_test

import (
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/powertest"
)

// must is for models whose parameters are part of a test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestEveryFormKeepsTheContract(t *testing.T) {
	curve := must(power.EvenPiecewise(50, 80, 90, 100, 120, 150))
	banded := must(power.NewBanded(curve, []power.Band{{Level: 0.9, Below: 5, Above: 8}, {Level: 0.5, BelowShare: 0, AboveShare: 0, Above: 2}}))
	warm := power.PublishedInletResponse()
	for name, p := range map[string]power.Predictor{
		"linear":      power.Linear{Idle: 50, Peak: 150},
		"fan":         power.Fan{Idle: 50, Peak: 150},
		"exponential": power.Exponential{K0: 150, K1: -100, K2: -0.05},
		"piecewise":   curve,
		"envelope":    curve.EnvelopeFromOff(0),
		"banded":      banded,
		"inlet":       must(power.NewInlet(banded, warm)),
		"inlet twice": must(power.NewInlet(must(power.NewInlet(curve, power.R410InletResponse())), warm)),
		"clamped":     must(power.NewBounded(must(power.NewInlet(banded, warm)), power.Domain{power.InputUtilization: {Low: 0.1, High: 0.9}, power.InputInletTemp: {Low: 24, High: 26}, "gpu": {Low: 0, High: 1}}, power.Clamp)),
		"rejecting":   must(power.NewBounded(banded, power.Domain{power.InputUtilization: {Low: 0, High: 1}}, power.Reject)),
		"polynomial":  must(power.PolynomialOf(power.InputUtilization, 60, 400, -350, 190)),
		"ridge":       must(power.NewPolynomial([]power.Term{{Coefficient: 50}, {Coefficient: 2e-3, Factors: []power.Factor{{Input: "cycles", Exponent: 0.5}, {Input: power.InputInletTemp, Exponent: 1}}}})),
		"pressure":    must(power.NewPressure(banded, power.Pressure{PerPascal: -0.5, Reference: 2, High: 20})),
		"gpu":         must(power.NewGPU(must(power.NewInlet(banded, warm)), power.GPU{Input: "gpu", Count: 4, Idle: 50, Active: 300, Limit: 250})),
		"mlp":         must(power.NewMLP(network(power.ReLU, 4, 20, 7, 1))),
		"trees":       must(power.NewTrees(forest(7, 5, false, power.InputUtilization, "cycles", power.InputInletTemp))),
		"by node": power.NewByNode(map[string]power.Predictor{
			"a": must(power.NewInlet(curve, warm)), "b": power.Linear{Idle: 1, Peak: 2},
		}, banded),
	} {
		t.Run(name, func(t *testing.T) {
			var states []power.State
			for _, node := range []string{"a", "b", "c"} {
				for _, u := range []float64{0, 0.13, 0.5, 1} {
					states = append(states, power.State{
						Node: node, Utilization: u, InletTemp: new(power.Celsius(25 + 3*u)),
						PressureDelta: new(power.Pascals(4 * u)), Inputs: map[string]float64{"gpu": u, "cycles": 1e9 * u},
					})
				}
			}
			if err := powertest.TestPredictor(p, states...); err != nil {
				t.Error(err)
			}
		})
	}
}
