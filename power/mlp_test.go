package power_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

// network returns random layers of the given widths, inputs first.
func network(a power.Activation, widths ...int) power.Network {
	r := rand.New(rand.NewPCG(7, uint64(widths[0])))
	n := power.Network{OutputShift: 200, OutputScale: 10}
	for i := range widths[0] {
		n.Inputs = append(n.Inputs, []power.Input{power.InputUtilization, power.InputInletTemp, power.InputPressureDelta, "gpu", "cycles"}[i])
		n.Shift, n.Scale = append(n.Shift, r.Float64()), append(n.Scale, 1+r.Float64())
	}
	for i, out := range widths[1:] {
		l := power.Layer{Activation: a}
		if i == len(widths)-2 {
			l.Activation = power.Identity
		}
		for range out {
			row := make([]float64, widths[i])
			for j := range row {
				row[j] = r.NormFloat64() / math.Sqrt(float64(widths[i]))
			}
			l.Weights, l.Bias = append(l.Weights, row), append(l.Bias, r.NormFloat64()/10)
		}
		n.Layers = append(n.Layers, l)
	}
	return n
}

// naive evaluates a network as its definition reads.
func naive(n power.Network, x []float64) float64 {
	a := make([]float64, len(x))
	for j := range x {
		a[j] = (x[j] - n.Shift[j]) / n.Scale[j]
	}
	for _, l := range n.Layers {
		b := make([]float64, len(l.Weights))
		for i, row := range l.Weights {
			b[i] = l.Bias[i]
			for j, w := range row {
				b[i] += w * a[j]
			}
			switch l.Activation {
			case power.ReLU:
				b[i] = math.Max(b[i], 0)
			case power.Tanh:
				b[i] = math.Tanh(b[i])
			case power.Sigmoid:
				b[i] = 1 / (1 + math.Exp(-b[i]))
			}
		}
		a = b
	}
	return n.OutputShift + n.OutputScale*a[0]
}

func TestMLPIsItsDefinition(t *testing.T) {
	for _, a := range []power.Activation{power.Identity, power.ReLU, power.Tanh, power.Sigmoid} {
		for _, widths := range [][]int{{1, 1}, {3, 5, 1}, {3, 64, 64, 1}, {5, 300, 7, 2, 1}} {
			n := network(a, widths...)
			p := must(power.NewMLP(n))
			r := rand.New(rand.NewPCG(1, 1))
			for range 50 {
				u, c, dp, g, cy := r.Float64(), 15+20*r.Float64(), 10*r.Float64(), r.Float64(), r.Float64()
				got, err := p.Predict(t.Context(), power.State{Utilization: u, InletTemp: new(power.Celsius(c)),
					PressureDelta: new(power.Pascals(dp)), Inputs: map[string]float64{"gpu": g, "cycles": cy}})
				want := naive(n, []float64{u, c, dp, g, cy}[:widths[0]])
				if want < 0 {
					if err == nil {
						t.Fatalf("%v %v: %v, want an error for %v", a, widths, got, want)
					}
				} else if err != nil || math.Abs(float64(got)-want) > 1e-9*want {
					t.Fatalf("%v %v: %v, %v; want %v", a, widths, got, err, want)
				}
			}
		}
	}
}

func TestMLPCopiesItsParameters(t *testing.T) {
	n := network(power.ReLU, 3, 4, 1)
	p := must(power.NewMLP(n))
	want := p.Network().Layers[0].Weights[0][0]
	n.Layers[0].Weights[0][0] = 99
	p.Network().Layers[0].Weights[0][0] = 98
	if got := p.Network().Layers[0].Weights[0][0]; got != want {
		t.Errorf("a weight became %v", got)
	}
}

func TestNewMLPRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*power.Network){
		"no inputs":    func(n *power.Network) { n.Inputs = nil },
		"input twice":  func(n *power.Network) { n.Inputs[1] = n.Inputs[0] },
		"no layers":    func(n *power.Network) { n.Layers = nil },
		"layers":       func(n *power.Network) { n.Layers = make([]power.Layer, 1000) },
		"shape":        func(n *power.Network) { n.Layers[1].Weights[0] = []float64{1} },
		"biases":       func(n *power.Network) { n.Layers[0].Bias = nil },
		"outputs":      func(n *power.Network) { n.Layers = n.Layers[:1] },
		"NaN weight":   func(n *power.Network) { n.Layers[0].Weights[1][1] = math.NaN() },
		"NaN bias":     func(n *power.Network) { n.Layers[0].Bias[1] = math.Inf(1) },
		"activation":   func(n *power.Network) { n.Layers[0].Activation = 17 },
		"scale 0":      func(n *power.Network) { n.Scale[0] = 0 },
		"scale count":  func(n *power.Network) { n.Scale = n.Scale[:1] },
		"shift":        func(n *power.Network) { n.Shift[0] = math.NaN() },
		"output scale": func(n *power.Network) { n.OutputScale = math.Inf(1) },
	} {
		n := network(power.ReLU, 3, 4, 1)
		spoil(&n)
		if _, err := power.NewMLP(n); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func ExampleMLP() {
	// One hidden layer of two units bends the line at half load.
	p, err := power.NewMLP(power.Network{
		Inputs: []power.Input{power.InputUtilization},
		Layers: []power.Layer{
			{Weights: [][]float64{{1}, {1}}, Bias: []float64{0, -0.5}, Activation: power.ReLU},
			{Weights: [][]float64{{100, 200}}, Bias: []float64{50}},
		},
	})
	if err != nil {
		panic(err)
	}
	for _, u := range []float64{0, 0.5, 1} {
		w, err := p.Predict(context.Background(), power.State{Utilization: u})
		fmt.Println(w, err)
	}
	// Output:
	// 50.00 W <nil>
	// 100.00 W <nil>
	// 250.00 W <nil>
}

func BenchmarkMLP(b *testing.B) {
	p := must(power.NewMLP(network(power.ReLU, 3, 64, 64, 1)))
	ctx := b.Context()
	s := power.State{Node: "n", Utilization: 0.4, InletTemp: new(power.Celsius(25)), PressureDelta: new(power.Pascals(2))}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Predict(ctx, s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPredictAllPiecewise(b *testing.B) {
	c := must(power.EvenPiecewise(50, 80, 90, 100, 110, 120, 130, 140, 160, 180, 200))
	states, out := make([]power.State, 10_000), make([]power.Estimate, 10_000)
	for i := range states {
		states[i].Utilization = math.Mod(float64(i)*0.0937, 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		power.PredictAll(b.Context(), c, states, out)
	}
}

func BenchmarkPredictAllByNode(b *testing.B) {
	models := map[string]power.Predictor{}
	states, out := make([]power.State, 10_000), make([]power.Estimate, 10_000)
	for i := range states {
		name := fmt.Sprintf("node-%05d", i)
		models[name] = must(power.EvenPiecewise(50, 80, 90, 100, 110, 120, 130, 140, 160, 180, 200))
		states[i] = power.State{Node: name, Utilization: math.Mod(float64(i)*0.0937, 1)}
	}
	p := power.NewByNode(models, nil)
	b.ReportAllocs()
	for b.Loop() {
		power.PredictAll(b.Context(), p, states, out)
	}
}
