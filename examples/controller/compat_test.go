package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/controllers"
)

// WAO's objects of both groups become profiles, change them and take them along.
func (s *server) testWAO(t *testing.T) {
	config := object(t, `
apiVersion: node.waok8s.github.io/v1beta1
kind: NodeConfig
metadata: {name: w1, namespace: leastwatt-system}
spec:
  nodeName: w1
  metricsCollector:
    inletTemp: {type: Redfish, endpoint: "https://10.0.0.100", basicAuthSecret: {name: w1-bmc}, fetchInterval: 15s}
    deltaP: {type: DifferentialPressureAPI, endpoint: "http://10.0.0.200:5000", fetchInterval: 15s}
  predictor:
    powerConsumption: {type: V2InferenceProtocol, endpoint: "http://10.0.0.50:8080/v2/models/model1/versions/v0.1.0/infer"}
`)
	template := object(t, `
apiVersion: wao.bitmedia.co.jp/v1beta1
kind: NodeConfigTemplate
metadata: {name: rest, namespace: leastwatt-system}
spec:
  nodeSelector: {matchLabels: {wao: "yes"}}
  template:
    metricsCollector:
      inletTemp: {type: Redfish, endpoint: "https://10.0.100.{{.IPv4.Octet4}}", basicAuthSecret: {name: "bmc-{{.Hostname}}"}, fetchInterval: 15s}
    predictor:
      powerConsumptionEndpointProvider: {type: Redfish, endpoint: "https://10.0.100.{{.IPv4.Octet4}}", basicAuthSecret: {name: "bmc-{{.Hostname}}"}}
`)
	s.apply(t, newNode("w1", "10.0.0.1", map[string]string{"wao": "yes"}), newNode("w2", "10.0.0.2", map[string]string{"wao": "yes"}), config, template)
	_, registry, _ := s.run(t, "--wao")
	until(t, "w1 has what its NodeConfig says", func() bool { return urlOf(s.profile(t, "w1")) == "https://10.0.0.100" })
	p := s.profile(t, "w1")
	if r := p.Spec.Model.Remote; r.URL != "http://10.0.0.50:8080" || r.Name != "model1" || r.Version != "v0.1.0" || p.Spec.Sensors[0].SecretName != "w1-bmc" || p.Spec.Sensors[1].Type != "pressure" ||
		p.Annotations[controllers.MadeBy] != "NodeConfig.node.waok8s.github.io/leastwatt-system/w1" {
		t.Errorf("%+v %+v %v", p.Spec, r, p.Annotations)
	}
	until(t, "w2 has what the template says", func() bool { return urlOf(s.profile(t, "w2")) == "https://10.0.100.2" })
	if p := s.profile(t, "w2"); p.Spec.Sensors[0].SecretName != "bmc-w2" || !p.Spec.Model.Remote.Discover || p.Spec.Model.Remote.URL != "https://10.0.100.2" {
		t.Errorf("%+v", p.Spec)
	}
	fake := object(t, `
apiVersion: node.waok8s.github.io/v1beta1
kind: NodeConfig
metadata: {name: w3, namespace: leastwatt-system}
spec:
  nodeName: w3
  metricsCollector: {inletTemp: {type: Fake, endpoint: "http://10.0.0.100"}}
`)
	s.apply(t, newNode("w3", "10.0.0.3", nil), fake)
	until(t, "that w3 cannot have what its NodeConfig says is counted", func() bool { return problemsBy(t, registry)["NodeConfig.node.waok8s.github.io"] == 1 })
	if err := unstructured.SetNestedStringMap(fake.Object, map[string]string{"type": "DifferentialPressureAPI", "endpoint": "http://127.0.0.1:1"}, "spec", "metricsCollector", "deltaP"); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Update(t.Context(), fake); err != nil {
		t.Fatal(err)
	}
	until(t, "w3 has the term that can be read", func() bool {
		p := s.profile(t, "w3")
		return p != nil && len(p.Spec.Sensors) == 1 && p.Spec.Sensors[0].Name == "deltaP"
	})
	if n := problemsBy(t, registry)["NodeConfig.node.waok8s.github.io"]; n != 1 {
		t.Errorf("%v nodes lack what a NodeConfig asks for: want one, which has a part of it", n)
	}
	if err := s.client.Delete(t.Context(), fake); err != nil {
		t.Fatal(err)
	}
	until(t, "that is over", func() bool { n, ok := problemsBy(t, registry)["NodeConfig.node.waok8s.github.io"]; return ok && n == 0 })
	if err := s.client.Delete(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	until(t, "without its NodeConfig, w1 has what the template says", func() bool { return urlOf(s.profile(t, "w1")) == "https://10.0.100.1" })
	if err := s.client.Delete(t.Context(), template); err != nil {
		t.Fatal(err)
	}
	until(t, "both are gone", func() bool { return s.profile(t, "w1") == nil && s.profile(t, "w2") == nil })
}

// problemsBy returns of how many nodes the profile is not what is asked for, by what asks.
func problemsBy(t *testing.T, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := make(map[string]float64)
	for _, f := range families {
		if f.GetName() == "leastwatt_profile_problems" {
			for _, m := range f.GetMetric() {
				n[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return n
}

// The labels of WAO's first version.
func (s *server) testLabels(t *testing.T) {
	s.apply(t, newNode("v1", "10.0.0.1", map[string]string{"ambient/max": "36.5", "ambient/min": "11.5", "cpu1/max": "42", "cpu1/min": "24", "cpu2/max": "49", "cpu2/min": "23",
		"tensorflow/host": "10.0.0.9", "tensorflow/name": "power"}))
	s.run(t, "--wao-labels")
	until(t, "the node has a profile", func() bool { return urlOf(s.profile(t, "v1")) == "http://10.0.0.1:9290/metrics" })
	if r := s.profile(t, "v1").Spec.Model.Remote; r.URL != "http://10.0.0.9:8501" || r.Protocol != "tensorflowInputs" || len(r.Features) != 4 {
		t.Errorf("%+v", r)
	}
}

// PEAKS' power models, from a ConfigMap and from a file.
func (s *server) testPeaks(t *testing.T) {
	const models = `{"p1": {"k0": 174.0, "k1": -91.50493019588365, "k2": -0.07186049052516228}, "p2": {"k0": 100, "k1": -50, "k2": -0.05}}`
	configMap := func() *v1.ConfigMap {
		return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "peaks", Namespace: namespace}, Data: map[string]string{"power-model.json": models}}
	}
	s.apply(t, newNode("p1", "10.0.0.1", nil))
	there := func(name string) bool {
		err := s.client.Get(t.Context(), client.ObjectKey{Name: name}, new(v1alpha1.PowerModel))
		return err == nil
	}
	f, _ := told(t, "--peaks-configmap="+namespace+"/peaks")
	var said lines
	f.log = slog.New(slog.NewTextHandler(&said, nil))
	_, stop := begin(t, f, s.config)
	until(t, "it says that the ConfigMap is missing", func() bool {
		return strings.Contains(strings.ReplaceAll(said.String(), `\"`, `"`), `configmaps "peaks" not found`)
	})
	s.apply(t, configMap())
	until(t, "both models are there, and one has a node", func() bool {
		m := new(v1alpha1.PowerModel)
		return there("peaks-p2") && s.client.Get(t.Context(), client.ObjectKey{Name: "peaks-p1"}, m) == nil && m.Status.Nodes == 1
	})
	stop()
	file := filepath.Join(t.TempDir(), "peaks.yaml")
	if err := os.WriteFile(file, []byte("watcherAddress: http://10.0.0.8:2020\nnodePowerModel: {p1: {k0: 1, k1: 2, k2: 0.01}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, "--peaks-file="+file)
	until(t, "a model that is no longer there is gone, and load-watcher is read", func() bool {
		return there("peaks-p1") && !there("peaks-p2") && urlOf(s.profile(t, "p1")) == "http://10.0.0.8:2020"
	})
	if err := s.client.DeleteAllOf(t.Context(), &v1alpha1.PowerModel{}); err != nil {
		t.Error(err)
	}
}
