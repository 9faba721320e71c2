package model

import (
	"slices"

	"github.com/leastwatt/leastwatt/power"
)

// activations are the names of power's activations in a file, each at its own number.
var activations = []string{power.Identity: "identity", power.ReLU: "relu", power.Tanh: "tanh", power.Sigmoid: "sigmoid"}

type fileMLP struct {
	Kind        string        `json:"kind"`
	Inputs      []power.Input `json:"inputs"`
	Shift       []float64     `json:"shift"`
	Scale       []float64     `json:"scale"`
	Layers      []fileLayer   `json:"layers"`
	OutputShift float64       `json:"outputShift"`
	OutputScale float64       `json:"outputScale"`
}

type fileLayer struct {
	Activation string      `json:"activation"`
	Bias       []float64   `json:"bias"`
	Weights    [][]float64 `json:"weights"`
}

func encodeMLP(p *power.MLP) any {
	n := p.Network()
	f := fileMLP{Kind: "mlp", Inputs: n.Inputs, Shift: n.Shift, Scale: n.Scale, OutputShift: n.OutputShift, OutputScale: n.OutputScale}
	for _, l := range n.Layers {
		f.Layers = append(f.Layers, fileLayer{activations[l.Activation], l.Bias, l.Weights})
	}
	return f
}

func readMLP(o *object, _ power.Predictor) (power.Predictor, error) {
	n := power.Network{
		Inputs:      o.names("inputs"),
		Shift:       o.numbers("shift"),
		Scale:       o.numbers("scale"),
		OutputShift: o.number("outputShift"),
		OutputScale: o.number("outputScale"),
	}
	for _, l := range o.list("layers", power.MaxLayers) {
		a := l.text("activation")
		k := slices.Index(activations, a)
		if k < 0 {
			l.d.fail(l.at("activation"), "%q is not known: want one of %v", a, activations)
		}
		layer := power.Layer{Activation: power.Activation(k), Bias: l.numbers("bias")}
		l.into("weights", &layer.Weights) // a null row or weight would read as nothing or 0
		l.noNull("weights")
		l.done()
		n.Layers = append(n.Layers, layer)
	}
	return checked(power.NewMLP(n))
}

type fileTrees struct {
	Kind   string        `json:"kind"`
	Inputs []power.Input `json:"inputs"`
	Base   float32       `json:"base"`
	Trees  []fileTree    `json:"trees"`
}

type fileTree struct {
	Left        []int32   `json:"left"`
	Right       []int32   `json:"right"`
	Feature     []int32   `json:"feature"`
	Value       []float32 `json:"value"`
	MissingLeft []bool    `json:"missingLeft,omitzero"`
}

func encodeTrees(p *power.Trees) any {
	e := p.Ensemble()
	f := fileTrees{Kind: "trees", Inputs: e.Inputs, Base: e.Base, Trees: []fileTree{}}
	for _, t := range e.Trees {
		f.Trees = append(f.Trees, fileTree(t))
	}
	return f
}

func readTrees(o *object, _ power.Predictor) (power.Predictor, error) {
	e := power.Ensemble{Inputs: o.names("inputs")}
	o.into("base", &e.Base)
	for _, t := range o.list("trees", power.MaxTrees) {
		var tree power.Tree
		t.into("left", &tree.Left)
		t.into("right", &tree.Right)
		t.into("feature", &tree.Feature)
		t.into("value", &tree.Value)
		if t.has("missingLeft") {
			t.into("missingLeft", &tree.MissingLeft)
		}
		for _, name := range []string{"left", "right", "feature", "value", "missingLeft"} {
			t.noNull(name)
		}
		t.done()
		e.Trees = append(e.Trees, tree)
	}
	return checked(power.NewTrees(e))
}
