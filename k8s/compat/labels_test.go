package compat_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/leastwatt/leastwatt/k8s/compat"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
)

// The label ranges ambient 11.5–36.5, cpu1 24–42, cpu2 23–49 make 0.5, 0.5, 0.5 of 24, 33 and 36 degrees.
func TestLabels(t *testing.T) {
	labels := map[string]string{"ambient/max": "36.5", "ambient/min": "11.5", "cpu1/max": "42", "cpu1/min": "24", "cpu2/max": "49", "cpu2/min": "23",
		"tensorflow/host": "10.0.0.9"}
	l := &compat.Labels{Model: "power"}
	spec, err := l.Profile(node("n1", "10.0.0.1", labels))
	if err != nil {
		t.Fatal(err)
	}
	r := spec.Model.Remote
	if spec.Sensors[0].URL != "http://10.0.0.1:9290/metrics" || r.URL != "http://10.0.0.9:8501" || r.Name != "power" || r.Protocol != "tensorflowInputs" {
		t.Errorf("%+v %+v", spec.Sensors, r)
	}
	var features []inference.Feature
	for _, f := range r.Features {
		features = append(features, inference.Feature{Input: power.Input(f.Input), Scale: *f.Scale, Offset: f.Offset, Step: f.Step})
	}
	asked := &row{}
	p, err := inference.New(asked, features, inference.PredictorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	state := power.State{Utilization: 0.32, InletTemp: new(power.Celsius(24)), Inputs: map[string]float64{"cpu1_temp_celsius": 33, "cpu2_temp_celsius": 36}}
	if _, err := p.Predict(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]float64{0.3, 0.5, 0.5, 0.5}, asked.last, cmpopts.EquateApprox(0, 1e-9)); d != "" {
		t.Error(d)
	}
	for change, want := range map[string]string{"ambient/max=11.5": "ambient", "ambient/max=36.5°C": `"36.5°C": want degrees`, "cpu2/min=": "cpu2/min", "tensorflow/name=x": ""} {
		key, value, _ := strings.Cut(change, "=")
		other := map[string]string{}
		maps.Copy(other, labels)
		if other[key] = value; value == "" {
			delete(other, key)
		}
		if _, err := l.Profile(node("n1", "10.0.0.1", other)); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
	if w, err := l.Want(t.Context(), nil, node("n2", "10.0.0.1", nil)); w != nil || err != nil {
		t.Error("a node without labels", w, err)
	}
}
