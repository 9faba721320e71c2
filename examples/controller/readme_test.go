package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/examples/internal/readme"
	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/controllers"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// reader is somebody who does what the README tells.
func (s *server) reader(t *testing.T, printed *strings.Replacer) *readme.Shell {
	t.Helper()
	return &readme.Shell{Programs: map[string]string{"kubectl": controlplane.KubectlForTest(t), "controller": controlplane.ProgramForTest(t, "controller")}, Kubeconfig: s.cluster.Kubeconfig(),
		// Ports that others have, and a minute of patience, are no part of what is shown.
		Typed:   strings.NewReplacer("./examples/controller ", "./examples/controller --metrics-bind-address=0 --health-probe-bind-address=0 --interval=500ms "),
		Printed: printed, Patience: patient}
}

// What the README tells somebody who comes from WAO: their objects, with servers that answer.
func (s *server) testMoveFromWAO(t *testing.T) {
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	infer := listen(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Inputs []struct {
				Shape []int
				Data  [][]float64
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Inputs) != 1 || r.URL.Path != "/v2/models/model1/versions/v1/infer" {
			http.Error(w, "what is this", http.StatusBadRequest)
			return
		}
		data := make([]float64, len(in.Inputs[0].Data))
		for i, row := range in.Inputs[0].Data {
			data[i] = 80 + 10*row[0] // of cores in use
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"outputs": []any{map[string]any{"name": "predict", "shape": []int{len(data), 1}, "datatype": "FP32", "data": data}}})
	}))
	s.apply(t, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "wao-system"}}, &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bmc", Namespace: "wao-system"},
		Data: map[string][]byte{"username": []byte("monitor"), "password": []byte("secret"), "ca.crt": authority.PEM()}})
	names := []string{"worker-0", "worker-1"}
	for _, n := range names {
		bmc := listen(t, authority, emulate.NewBMC(machine, emulate.BMCOptions{User: "monitor", Password: "secret"}))
		pressure := listen(t, nil, emulate.NewPressure(machine, emulate.ExporterOptions{}, n))
		s.apply(t, newNode(n, "10.0.0.1", nil), object(t, fmt.Sprintf(`
apiVersion: node.waok8s.github.io/v1beta1
kind: NodeConfig
metadata: {name: %s, namespace: wao-system}
spec:
  nodeName: %s
  metricsCollector:
    inletTemp: {type: Redfish, endpoint: "%s", basicAuthSecret: {name: bmc}}
    deltaP: {type: DifferentialPressureAPI, endpoint: "%s"}
  predictor:
    powerConsumption: {type: V2InferenceProtocol, endpoint: "%s/v2/models/model1/versions/v1/infer"}
`, n, n, bmc, pressure, infer)))
	}
	s.metricsServer(t, names...)
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range names {
				p := new(v1alpha1.NodeProfile)
				err := s.client.Get(context.Background(), client.ObjectKey{Name: n}, p) // the test's context has ended
				t.Logf("%+v %+v %+v %v", p.Spec.Model, p.Status, p.Status.Model, err)
			}
		}
	})
	u, err := url.Parse(infer)
	if err != nil {
		t.Fatal(err)
	}
	s.reader(t, strings.NewReplacer(u.Host, "models:8080")).Play(t.Context(), t, readme.Read(t, "### Move from WAO").Commands)
	// Of what the NodeConfigs said nothing is lost: their end is dealt with before that of another one.
	other := object(t, `
apiVersion: node.waok8s.github.io/v1beta1
kind: NodeConfig
metadata: {name: worker-2, namespace: wao-system}
spec:
  nodeName: worker-2
  metricsCollector: {deltaP: {type: DifferentialPressureAPI, endpoint: "http://10.0.0.9:5000"}}
`)
	s.apply(t, newNode("worker-2", "10.0.0.1", nil), other)
	until(t, "another node's profile is there", func() bool { return s.profile(t, "worker-2") != nil })
	if err := s.client.Delete(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	until(t, "and is gone with its NodeConfig", func() bool { return s.profile(t, "worker-2") == nil })
	for _, n := range names {
		if p := s.profile(t, n); p == nil || len(p.Spec.Sensors) != 2 || p.Spec.Model.Remote == nil || p.Annotations[controllers.MadeBy] != "" {
			t.Errorf("%s: %+v", n, p)
		}
	}
}

// What the README tells somebody who comes from PEAKS.
func (s *server) testMoveFromPeaks(t *testing.T) {
	names := []string{"node-1", "node-2"}
	for _, n := range names {
		s.apply(t, newNode(n, "10.0.0.1", nil))
	}
	s.reader(t, nil).Play(t.Context(), t, readme.Read(t, "### Move from PEAKS").Commands)
	var models v1alpha1.PowerModelList
	if err := s.client.List(t.Context(), &models); err != nil || len(models.Items) != len(names) {
		t.Errorf("%d models, %v", len(models.Items), err)
	}
	for _, m := range models.Items {
		if m.Annotations[controllers.MadeBy] != "" || len(m.Spec.Nodes) != 1 {
			t.Errorf("%+v", m)
		}
	}
	if err := s.client.DeleteAllOf(t.Context(), &v1alpha1.PowerModel{}); err != nil {
		t.Error(err)
	}
}

// What the README shows under "Profiles in the cluster" is taken by the API server.
func (s *server) testReadme(t *testing.T) {
	block := readme.Read(t, "### Profiles in the cluster").Blocks[0]
	for document := range strings.SplitSeq(block, "\n---\n") {
		if err := s.client.Create(t.Context(), object(t, document), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
			t.Errorf("%v in\n%s", err, document)
		}
	}
}

// metricsServer serves metrics.k8s.io: eight cores of each node are in use.
func (s *server) metricsServer(t *testing.T, nodes ...string) {
	t.Helper()
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	const group, version = "metrics.k8s.io", "v1beta1"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis/metrics.k8s.io/v1beta1", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: group + "/" + version,
			APIResources: []metav1.APIResource{{Name: "nodes", Kind: "NodeMetrics", Verbs: metav1.Verbs{"get", "list"}}}})
	})
	mux.HandleFunc("GET /apis/metrics.k8s.io/v1beta1/nodes", func(w http.ResponseWriter, _ *http.Request) {
		var items []any
		for _, n := range nodes {
			items = append(items, map[string]any{"metadata": map[string]any{"name": n}, "timestamp": time.Now().UTC().Format(time.RFC3339), "window": "15s",
				"usage": map[string]any{"cpu": "8", "memory": "1Gi"}})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "NodeMetricsList", "apiVersion": group + "/" + version, "items": items})
	})
	u, err := url.Parse(listen(t, authority, mux))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	// Endpoints may not be on loopback, so the Service is a name.
	s.apply(t, &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: "metrics-server", Namespace: "kube-system"},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeExternalName, ExternalName: "localhost", Ports: []v1.ServicePort{{Port: int32(port)}}}},
		object(t, fmt.Sprintf(`
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {namespace: kube-system, name: metrics-server, port: %d}
`, port)))
}
