package power

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Bounds on an [MLP], so that a foreign file cannot ask for unbounded memory or work.
const (
	MaxLayers  = 64
	MaxWeights = 1 << 20
)

// An Activation is what a dense layer applies to each of its sums.
type Activation int

// The activations.
const (
	Identity Activation = iota
	ReLU                // max(x, 0)
	Tanh
	Sigmoid // 1/(1 + e^−x)
)

// A Layer is a dense layer: output i is Activation(Bias[i] + Σ Weights[i][j]·input j).
type Layer struct {
	Weights    [][]float64
	Bias       []float64
	Activation Activation
}

// A Network holds the parameters of an [MLP]. Input j enters the first layer as (x − Shift[j]) / Scale[j]; the
// last layer has one output y, and the watts are OutputShift + OutputScale·y. So what a network was trained
// on, and what its user sees, are plain units.
type Network struct {
	Inputs       []Input
	Shift, Scale []float64 // of each input; nil means 0 and 1
	Layers       []Layer
	OutputShift  float64
	OutputScale  float64 // 0 means 1
}

// MLP is a multilayer perceptron: any number of dense layers. It does not clamp: see [NewBounded].
type MLP struct {
	net    Network
	shift  []float64
	factor []float64 // 1/Scale
	layers []dense
	width  int // of the widest layer, inputs included, padded
}

// block is how many sums of a layer run side by side: enough to hide the time that one addition
// takes, and no more than fit in registers.
const block = 6

// dense is a layer with its weights in blocks of outputs: w[b·in+j][k] belongs to output block·b+k and input j.
// A layer of one output keeps its weights in one row instead.
type dense struct {
	in, out    int // out is padded to whole blocks
	w          [][block]float64
	bias       []float64
	row        []float64
	activation Activation
}

// NewMLP returns the network, whose slices are copied. Shapes must fit and every number be finite.
func NewMLP(n Network) (*MLP, error) {
	if len(n.Inputs) == 0 || len(n.Inputs) > MaxInputs {
		return nil, fmt.Errorf("MLP has %d inputs: want 1 to %d", len(n.Inputs), MaxInputs)
	}
	if len(n.Layers) == 0 || len(n.Layers) > MaxLayers {
		return nil, fmt.Errorf("MLP has %d layers: want 1 to %d", len(n.Layers), MaxLayers)
	}
	m := &MLP{net: clone(n), width: padded(len(n.Inputs))}
	if err := m.scaling(); err != nil {
		return nil, err
	}
	in, total := len(n.Inputs), 0
	for i, l := range n.Layers {
		if len(l.Weights) == 0 || len(l.Weights) != len(l.Bias) {
			return nil, fmt.Errorf("MLP, layer %d: %d rows of weights and %d biases", i, len(l.Weights), len(l.Bias))
		}
		if total += (in + 1) * len(l.Weights); total > MaxWeights {
			return nil, fmt.Errorf("MLP, layer %d: more than %d weights in all", i, MaxWeights)
		}
		if l.Activation < Identity || l.Activation > Sigmoid {
			return nil, fmt.Errorf("MLP, layer %d: activation %d is not known", i, l.Activation)
		}
		for k, row := range l.Weights {
			if len(row) != in {
				return nil, fmt.Errorf("MLP, layer %d, output %d: %d weights for %d inputs", i, k, len(row), in)
			}
			if !slices.ContainsFunc(row, notFinite) && finite(l.Bias[k]) {
				continue
			}
			return nil, fmt.Errorf("MLP, layer %d, output %d: a weight or the bias is not finite", i, k)
		}
		m.layers = append(m.layers, pack(l, in))
		in = len(l.Weights)
		m.width = max(m.width, padded(in))
	}
	if in != 1 {
		return nil, fmt.Errorf("MLP: the last layer has %d outputs: want 1, the watts", in)
	}
	return m, nil
}

func notFinite(v float64) bool { return !finite(v) }

func padded(n int) int { return (n + block - 1) / block * block }

// scaling checks and prepares what maps units to the network's numbers and back.
func (m *MLP) scaling() error {
	n := &m.net
	inputs := make(map[Input]bool)
	for j, in := range n.Inputs {
		if in == "" || inputs[in] {
			return fmt.Errorf("MLP, input %d: %q is empty or given twice", j, in)
		}
		inputs[in] = true
	}
	if n.Shift == nil {
		n.Shift = make([]float64, len(n.Inputs))
	}
	if n.Scale == nil {
		n.Scale = slices.Repeat([]float64{1}, len(n.Inputs))
	}
	if n.OutputScale == 0 {
		n.OutputScale = 1
	}
	if len(n.Shift) != len(n.Inputs) || len(n.Scale) != len(n.Inputs) {
		return fmt.Errorf("MLP: %d shifts and %d scales for %d inputs", len(n.Shift), len(n.Scale), len(n.Inputs))
	}
	if !finite(n.OutputShift) || !finite(n.OutputScale) {
		return fmt.Errorf("MLP: output shift %v or scale %v is not finite", n.OutputShift, n.OutputScale)
	}
	for j, s := range n.Scale {
		if f := 1 / s; !finite(s) || !finite(f) || !finite(n.Shift[j]) {
			return fmt.Errorf("MLP, input %q: shift %v, scale %v", n.Inputs[j], n.Shift[j], s)
		}
		m.factor = append(m.factor, 1/s)
	}
	m.shift = n.Shift
	return nil
}

func clone(n Network) Network {
	n.Inputs, n.Shift, n.Scale = slices.Clone(n.Inputs), slices.Clone(n.Shift), slices.Clone(n.Scale)
	n.Layers = slices.Clone(n.Layers)
	for i := range n.Layers {
		l := &n.Layers[i]
		l.Bias, l.Weights = slices.Clone(l.Bias), slices.Clone(l.Weights)
		for k := range l.Weights {
			l.Weights[k] = slices.Clone(l.Weights[k])
		}
	}
	return n
}

func pack(l Layer, in int) dense {
	out := padded(len(l.Weights))
	d := dense{in: in, out: out, bias: make([]float64, out), activation: l.Activation}
	copy(d.bias, l.Bias)
	if len(l.Weights) == 1 {
		d.row = slices.Clone(l.Weights[0])
		return d
	}
	d.w = make([][block]float64, in*out/block)
	for i, row := range l.Weights {
		for j, w := range row {
			d.w[i/block*in+j][i%block] = w
		}
	}
	return d
}

// apply writes the layer's outputs for the inputs x to y.
func (d *dense) apply(x, y []float64) {
	x = x[:d.in]
	if d.row != nil {
		y[0] = d.activation.of(d.bias[0] + dot(d.row, x))
		return
	}
	for b := 0; b < d.out; b += block {
		w := d.w[b/block*d.in:][:len(x)]
		s := (*[block]float64)(d.bias[b:])
		s0, s1, s2, s3, s4, s5 := s[0], s[1], s[2], s[3], s[4], s[5]
		for j, v := range x {
			c := &w[j]
			s0 += c[0] * v
			s1 += c[1] * v
			s2 += c[2] * v
			s3 += c[3] * v
			s4 += c[4] * v
			s5 += c[5] * v
		}
		out := (*[block]float64)(y[b:])
		*out = [block]float64{s0, s1, s2, s3, s4, s5}
		d.activation.all(out)
	}
}

// dot is the sum of the products, in four parts that run side by side.
func dot(w, x []float64) float64 {
	w = w[:len(x)]
	var s0, s1, s2, s3 float64
	j := 0
	for ; j+4 <= len(x); j += 4 {
		s0 += w[j] * x[j]
		s1 += w[j+1] * x[j+1]
		s2 += w[j+2] * x[j+2]
		s3 += w[j+3] * x[j+3]
	}
	for ; j < len(x); j++ {
		s0 += w[j] * x[j]
	}
	return s0 + s1 + s2 + s3
}

func (a Activation) all(v *[block]float64) {
	switch a {
	case Identity:
	case ReLU:
		for i, x := range v {
			v[i] = max(x, 0)
		}
	default:
		for i, x := range v {
			v[i] = a.of(x)
		}
	}
}

func (a Activation) of(x float64) float64 {
	switch a {
	case ReLU:
		return max(x, 0)
	case Tanh:
		return math.Tanh(x)
	case Sigmoid:
		return 1 / (1 + math.Exp(-x))
	}
	return x
}

// Predict implements [Predictor]. Up to a width of 126 it does not allocate.
func (m *MLP) Predict(_ context.Context, s State) (Watts, error) {
	var stack [2 * 128]float64
	buf := stack[:]
	if 2*m.width > len(buf) {
		buf = make([]float64, 2*m.width)
	}
	x, y := buf[:m.width:m.width], buf[m.width:2*m.width]
	for j, in := range m.net.Inputs {
		v, err := s.Value(in)
		if err != nil {
			return 0, err
		}
		x[j] = (v - m.shift[j]) * m.factor[j]
	}
	for i := range m.layers {
		m.layers[i].apply(x, y)
		x, y = y, x
	}
	return check(&s, m.net.OutputShift+m.net.OutputScale*x[0])
}

// Network returns a copy of the parameters.
func (m *MLP) Network() Network { return clone(m.net) }

// Inputs implements [InputLister].
func (m *MLP) Inputs() []Input { return slices.Clone(m.net.Inputs) }
