package compat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/controllers"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
)

// Labels makes profiles of nodes that bear the labels of WAO's first version: ambient/max, ambient/min, cpu1/…, cpu2/…
// in degrees Celsius, and tensorflow/host, …/name and …/version. Their temperatures come from ipmi_exporter on port 9290
// of the node. Its models are asked by TensorFlow Serving's REST interface; the label …/port, of gRPC, is not looked at.
type Labels struct {
	// Model is the model's name where a node has no label tensorflow/name.
	Model string

	// Port is TensorFlow Serving's port for REST; 0 means 8501.
	Port int
}

const (
	hostLabel    = "tensorflow/host"
	nameLabel    = "tensorflow/name"
	versionLabel = "tensorflow/version"
	exporterPort = "9290"
	roundTo      = 0.1 // WAO v1 rounds all features to tenths
)

// Want implements [controllers.Maker].
func (l *Labels) Want(_ context.Context, _ client.Reader, n *v1.Node) (*controllers.Wanted, error) {
	if n.Labels[hostLabel] == "" {
		return nil, nil
	}
	w := &controllers.Wanted{By: "NodeLabels/tensorflow"}
	w.Profile.Spec, w.Err = l.Profile(n)
	return w, nil
}

// Profile returns what a node's labels say.
func (l *Labels) Profile(n *v1.Node) (v1alpha1.NodeProfileSpec, error) {
	var spec v1alpha1.NodeProfileSpec
	address := profiles.Machine(n).Address
	if address == "" {
		return spec, errors.New("the node has no internal address, where ipmi_exporter would answer")
	}
	name := cmp.Or(n.Labels[nameLabel], l.Model)
	if name == "" {
		return spec, fmt.Errorf("label %s is missing, and no name was given for nodes without it", nameLabel)
	}
	features := []v1alpha1.Feature{{Input: string(power.InputUtilization), Scale: new(1.0), Step: roundTo}}
	for _, f := range []struct{ label, input string }{
		{"ambient", string(power.InputInletTemp)}, {"cpu1", "cpu1_temp_celsius"}, {"cpu2", "cpu2_temp_celsius"}} {
		low, err := degrees(n, f.label+"/min")
		if err != nil {
			return spec, err
		}
		high, err := degrees(n, f.label+"/max")
		if err != nil {
			return spec, err
		}
		x, err := inference.MinMax(power.Input(f.input), low, high, roundTo)
		if err != nil {
			return spec, fmt.Errorf("labels %s/min and %s/max: %w", f.label, f.label, err)
		}
		features = append(features, v1alpha1.Feature{Input: f.input, Scale: new(x.Scale), Offset: x.Offset, Step: x.Step})
	}
	spec.Sensors = []v1alpha1.Sensor{{Type: "ipmi-exporter", URL: "http://" + net.JoinHostPort(address, exporterPort) + "/metrics",
		Sensors: map[string]string{"inlet_temp_celsius": "Ambient", "cpu1_temp_celsius": "CPU1", "cpu2_temp_celsius": "CPU2"}}}
	spec.Model = &v1alpha1.ModelReference{Remote: &v1alpha1.RemoteModel{Protocol: "tensorflowInputs",
		URL:  "http://" + net.JoinHostPort(n.Labels[hostLabel], strconv.Itoa(cmp.Or(l.Port, 8501))),
		Name: name, Version: n.Labels[versionLabel], Features: features}}
	return spec, nil
}

func degrees(n *v1.Node, label string) (float64, error) {
	text, ok := n.Labels[label]
	if !ok {
		return 0, fmt.Errorf("label %s is missing: want degrees Celsius", label)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("label %s is %q: want degrees Celsius", label, text)
	}
	return v, nil
}
