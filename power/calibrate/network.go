package calibrate

import (
	"math"
	"math/rand/v2"

	"github.com/leastwatt/leastwatt/power"
)

// The network: one layer of tanh, enough for a curve and for what a few inputs do together.
const (
	hidden     = 12
	epochs     = 300
	networkMax = 1000 // samples it is trained on, evenly spread
)

// fitNetwork trains a small multilayer perceptron on relative errors with Huber's loss by Adam (Kingma and Ba,
// ICLR 2015), all samples at a time. It starts from the same weights each time.
func fitNetwork(t *table, rows []int) (power.Predictor, error) {
	if stride := (len(rows) + networkMax - 1) / networkMax; stride > 1 {
		var some []int
		for i := 0; i < len(rows); i += stride {
			some = append(some, rows[i])
		}
		rows = some
	}
	n := &network{inputs: len(t.inputs)}
	out := power.Network{Inputs: t.inputs}
	x := make([][]float64, len(rows))
	for i := range x {
		x[i] = make([]float64, n.inputs)
	}
	for k := range t.inputs {
		mean, sd := meanAndSD(pick(t.x[k], rows))
		out.Shift, out.Scale = append(out.Shift, mean), append(out.Scale, sd)
		for i, r := range rows {
			x[i][k] = (t.x[k][r] - mean) / sd
		}
	}
	y := pick(t.y, rows)
	out.OutputShift, out.OutputScale = meanAndSD(y)
	n.train(x, y, out.OutputShift, out.OutputScale)
	first := power.Layer{Activation: power.Tanh}
	last := power.Layer{Bias: []float64{n.p[len(n.p)-1]}, Weights: [][]float64{make([]float64, hidden)}}
	for h := range hidden {
		w := n.row(h)
		first.Weights, first.Bias = append(first.Weights, append([]float64(nil), w[:n.inputs]...)), append(first.Bias, w[n.inputs])
		last.Weights[0][h] = n.out(h)
	}
	out.Layers = []power.Layer{first, last}
	return power.NewMLP(out)
}

func meanAndSD(v []float64) (mean, sd float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		sd += (x - mean) * (x - mean) / float64(len(v))
	}
	if sd = math.Sqrt(sd); sd == 0 {
		sd = 1
	}
	return mean, sd
}

// A network has for each hidden unit its weights and bias, then the output's weights, then its bias.
type network struct {
	inputs int
	p      []float64
}

func (n *network) row(h int) []float64 { return n.p[h*(n.inputs+1) : (h+1)*(n.inputs+1)] }
func (n *network) out(h int) float64   { return n.p[hidden*(n.inputs+1)+h] }

func (n *network) train(x [][]float64, y []float64, shift, scale float64) {
	rng := rand.New(rand.NewPCG(1, 1))
	n.p = make([]float64, hidden*(n.inputs+2)+1)
	for i := range n.p[:len(n.p)-1] {
		n.p[i] = rng.NormFloat64() / math.Sqrt(float64(n.inputs+1))
	}
	grad, m, v := make([]float64, len(n.p)), make([]float64, len(n.p)), make([]float64, len(n.p))
	const rate, b1, b2, decay = 0.02, 0.9, 0.999, 1e-4
	c1, c2 := 1.0, 1.0
	for e := range epochs {
		clear(grad)
		n.gradient(x, y, shift, scale, grad)
		c1, c2 = c1*b1, c2*b2
		step := rate * (1 - 0.95*float64(e)/epochs)
		for i, g := range grad {
			g += decay * n.p[i]
			m[i], v[i] = b1*m[i]+(1-b1)*g, b2*v[i]+(1-b2)*g*g
			n.p[i] -= step * (m[i] / (1 - c1)) / (math.Sqrt(v[i]/(1-c2)) + 1e-8)
		}
	}
}

// gradient adds the loss's derivatives by all parameters.
func (n *network) gradient(x [][]float64, y []float64, shift, scale float64, grad []float64) {
	var act [hidden]float64
	const delta = 0.03 // relative error at which Huber's loss turns linear
	first := hidden * (n.inputs + 1)
	for i, row := range x {
		sum := n.p[len(n.p)-1]
		for h := range hidden {
			w := n.row(h)
			a := w[n.inputs]
			for k, xv := range row {
				a += w[k] * xv
			}
			act[h] = math.Tanh(a)
			sum += n.out(h) * act[h]
		}
		d := min(max((shift+scale*sum-y[i])/y[i], -delta), delta) * scale / y[i] / float64(len(x)) * 100
		grad[len(grad)-1] += d
		for h := range hidden {
			grad[first+h] += d * act[h]
			back := d * n.out(h) * (1 - act[h]*act[h])
			g := grad[h*(n.inputs+1):]
			for k, xv := range row {
				g[k] += back * xv
			}
			g[n.inputs] += back
		}
	}
}
