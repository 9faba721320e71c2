package compat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/compat"
	"github.com/leastwatt/leastwatt/k8s/controllers"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
	"github.com/leastwatt/leastwatt/power/model"
)

func node(name, address string, labels map[string]string) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Status: v1.NodeStatus{
		Addresses: []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: address}, {Type: v1.NodeHostName, Address: name}}}}
}

// The spec of a NodeConfig with every field that WAO has.
const nodeConfig = `
nodeName: worker-0
metricsCollector:
  inletTemp: {type: Redfish, endpoint: "https://10.0.0.100", basicAuthSecret: {name: worker-0-redfish}, fetchInterval: 15s}
  deltaP: {type: DifferentialPressureAPI, endpoint: "http://10.0.0.200:5000", basicAuthSecret: {name: worker-0-dp}, fetchInterval: 20s}
predictor:
  powerConsumption: {type: V2InferenceProtocol, endpoint: "http://10.0.0.50:8080/v2/models/model1/versions/v0.1.0/infer"}
  powerConsumptionEndpointProvider: {type: Redfish, endpoint: "https://10.0.0.100", basicAuthSecret: {name: worker-0-redfish}}
`

func parse[T any](t *testing.T, text string) *T {
	t.Helper()
	v := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNodeConfig(t *testing.T) {
	w := &compat.WAO{Namespace: "wao-system"}
	got, err := w.Profile(parse[compat.NodeConfig](t, nodeConfig), "wao-system")
	if err != nil {
		t.Fatal(err)
	}
	want := parse[v1alpha1.NodeProfileSpec](t, `
sensors:
- {name: inletTemp, type: redfish, url: "https://10.0.0.100", secretName: worker-0-redfish, interval: 15s, timeout: 5s}
- {name: deltaP, type: pressure, url: "http://10.0.0.200:5000", secretName: worker-0-dp, plaintext: true, interval: 20s, timeout: 5s, kinds: [pressure_delta_pascals]}
model:
  remote: {protocol: openInference, url: "http://10.0.0.50:8080", name: model1, version: v0.1.0, timeout: 10s}
`)
	if d := cmp.Diff(want, &got.Spec); d != "" {
		t.Error(d)
	}
	c := parse[compat.NodeConfig](t, nodeConfig)
	c.Predictor.PowerConsumption = nil
	if got, err = w.Profile(c, "wao-system"); err != nil {
		t.Fatal(err)
	}
	want.Model = parse[v1alpha1.ModelReference](t, `remote: {protocol: openInference, url: "https://10.0.0.100", discover: true, secretName: worker-0-redfish, timeout: 10s}`)
	if d := cmp.Diff(want, &got.Spec); d != "" {
		t.Error(d)
	}
	w.InsecureSkipVerify = true
	if got, err = w.Profile(c, "wao-system"); err != nil || !got.Spec.Sensors[0].TLS.InsecureSkipVerify || got.Spec.Sensors[1].TLS != nil || !got.Spec.Model.Remote.TLS.InsecureSkipVerify {
		t.Errorf("%+v, %v", got.Spec, err)
	}
}

// The cpuUsageFormat of WAO's plugin says what its models are sent for 8 of 32 cores in use, 24 degrees and 5 Pa: cores, or percent.
func TestCPUUsageFormat(t *testing.T) {
	for text, want := range map[string][]float64{"Raw": {8, 24, 5}, "Percent": {25, 24, 5}} {
		format, err := compat.ParseCPUUsageFormat(text)
		if err != nil {
			t.Fatal(err)
		}
		w := &compat.WAO{Namespace: "wao-system", CPUUsageFormat: format}
		for _, direct := range []bool{true, false} {
			c := parse[compat.NodeConfig](t, nodeConfig)
			if !direct {
				c.Predictor.PowerConsumption = nil // a BMC names the model server
			}
			got, err := w.Profile(c, "wao-system")
			if err != nil {
				t.Fatal(err)
			}
			features := inference.WAO(32) // what a model without features is sent
			for i, f := range got.Spec.Model.Remote.Features {
				features[i] = inference.Feature{Input: power.Input(f.Input), Scale: *f.Scale, Offset: f.Offset, Step: f.Step}
			}
			asked := &row{}
			p, err := inference.New(asked, features, inference.PredictorOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Predict(t.Context(), power.State{Utilization: 0.25, InletTemp: new(power.Celsius(24)), PressureDelta: new(power.Pascals(5))}); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, asked.last, cmpopts.EquateApprox(0, 1e-9)); d != "" {
				t.Errorf("%s: %s", text, d)
			}
		}
	}
	for _, text := range []string{"", "percent", strings.Repeat("x", 1<<20)} {
		if _, err := compat.ParseCPUUsageFormat(text); err == nil || !strings.Contains(err.Error(), "want Raw or Percent") || len(err.Error()) > 256 {
			t.Errorf("%.10q: %.300v", text, err)
		}
	}
}

func TestNodeConfigRefuses(t *testing.T) {
	w := &compat.WAO{Namespace: "wao-system"}
	for _, x := range []struct{ old, with, namespace, want string }{
		{"", "", "elsewhere", `basicAuthSecret: elsewhere/worker-0-redfish is in another namespace than "wao-system"`},
		{"Redfish, endpoint", "Fake, endpoint", "wao-system", `metricsCollector.inletTemp: type "Fake" measures nothing here`},
		{"/infer", "/ready", "wao-system", "want …/v2/models/NAME/versions/VERSION/infer"},
		{"Redfish, endpoint", strings.Repeat("x", 1<<20) + ", endpoint", "wao-system", "measures nothing here"},
		{"V2InferenceProtocol", "Fake", "wao-system", `predictor.powerConsumption: type "Fake" predicts nothing here`},
		{"http://10.0.0.200:5000", "", "wao-system", `metricsCollector.deltaP: endpoint "": want https://HOST… or http://HOST…`},
		{"http://10.0.0.200:5000", "10.0.0.200:5000", "wao-system", `metricsCollector.deltaP: endpoint "10.0.0.200:5000": want`},
		{"http://10.0.0.200:5000", "http://admin:hunter2@10.0.0.200:5000", "wao-system", `metricsCollector.deltaP: endpoint: holds an @`},
		{"http://10.0.0.200:5000", "http://hunter2 10.0.0.200:5000", "wao-system", `metricsCollector.deltaP: endpoint: is no URL`},
		{"http://10.0.0.200:5000", "http://10.0.0.200/" + strings.Repeat("x", 2000), "wao-system", `metricsCollector.deltaP: endpoint: has more than 1024`},
		{"http://10.0.0.50:8080", "http://admin:hunter2@10.0.0.50:8080", "wao-system", `predictor.powerConsumption: endpoint: holds an @`},
		{"http://10.0.0.50:8080", "10.0.0.50:8080", "wao-system", `predictor.powerConsumption: endpoint`},
		{"model1", strings.Repeat("x", 300), "wao-system", `predictor.powerConsumption: endpoint: the model's name has more than 256`},
		{"worker-0-dp", "Worker 0", "wao-system", `metricsCollector.deltaP: basicAuthSecret: "Worker 0" is no name of a Secret`},
	} {
		_, err := w.Profile(parse[compat.NodeConfig](t, strings.Replace(nodeConfig, x.old, x.with, 1)), x.namespace)
		if err == nil || !strings.Contains(err.Error(), x.want) || len(err.Error()) > 768 {
			t.Errorf("%.40q: %.300v, want %q", x.with, err, x.want)
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("the error tells a password: %v", err)
		}
	}
}

// Intervals that the API server lets pass and WAO cannot read are an error of their term alone, and one that is longer than a profile's may
// be is the longest.
func TestNodeConfigIntervals(t *testing.T) {
	for interval, want := range map[string]string{"15": "metricsCollector.deltaP: fetchInterval is \"15\"", "often": "fetchInterval is \"often\"", "48h": "24h0m0s", "-3s": "", "0s": "", "20s": "20s"} {
		for _, form := range []string{"NodeConfig", "NodeConfigTemplate"} {
			got := wanted(t, form, strings.Replace(nodeConfig, "20s", "\""+interval+"\"", 1), nil)
			if strings.HasPrefix(interval, "15") || interval == "often" {
				if got.Err != nil || got.Lacks == nil || !strings.Contains(got.Lacks.Error(), want) || len(got.Profile.Spec.Sensors) != 1 || got.Profile.Spec.Model != nil {
					t.Errorf("%s of %q: %+v", form, interval, got)
				}
				continue
			}
			if got.Err != nil || got.Lacks != nil || len(got.Profile.Spec.Sensors) != 2 {
				t.Errorf("%s of %q: %+v", form, interval, got)
				continue
			}
			read := ""
			if i := got.Profile.Spec.Sensors[1].Interval; i != nil {
				read = i.Duration.String()
			}
			if read != want {
				t.Errorf("%s of %q is read as %q, want %q", form, interval, read, want)
			}
		}
	}
}

// wanted returns what an object with the spec of a NodeConfig, or a template of it, wants of node worker-0, which has a profile.
func wanted(t *testing.T, kind, config string, have *v1alpha1.NodeProfile) *controllers.Wanted {
	t.Helper()
	w := &compat.WAO{Groups: compat.WAOGroups[:1], Namespace: "wao-system"}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(w.Groups[0].WithKind(kind))
	o.SetNamespace("wao-system")
	o.SetName("worker-0")
	o.Object["spec"] = *parse[map[string]any](t, config)
	if kind == "NodeConfigTemplate" {
		o.Object["spec"] = map[string]any{"nodeSelector": map[string]any{}, "template": o.Object["spec"]}
	}
	b := fake.NewClientBuilder().WithScheme(scheme).WithObjects(o)
	if have != nil {
		b = b.WithObjects(have)
	}
	for _, x := range w.Watches() {
		if x.Node != nil {
			b = b.WithIndex(x.Object, controllers.NodeIndex, func(o client.Object) []string { return []string{x.Node(o)} })
		}
	}
	got, err := w.Want(t.Context(), b.Build(), node("worker-0", "10.0.0.1", nil))
	if err != nil || got == nil {
		t.Fatalf("%+v, %v", got, err)
	}
	return got
}

// What a node's profile costs to make does not grow with the NodeConfigs of other nodes, and each has its own, of the newer group first.
func TestNodeConfigsAreFoundByNode(t *testing.T) {
	work := func(nodes int) (lists, objects int) {
		w := &compat.WAO{Groups: compat.WAOGroups, Namespace: "wao-system"}
		b := fake.NewClientBuilder()
		for _, x := range w.Watches() {
			if x.Node != nil {
				b = b.WithIndex(x.Object, controllers.NodeIndex, func(o client.Object) []string { return []string{x.Node(o)} })
			}
		}
		for i := range nodes {
			for k, g := range compat.WAOGroups {
				o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"nodeName": fmt.Sprint("n", i), "metricsCollector": map[string]any{
					"inletTemp": map[string]any{"type": "Redfish", "endpoint": fmt.Sprintf("https://10.%d.0.%d", k, i)}}}}}
				o.SetGroupVersionKind(g.WithKind("NodeConfig"))
				o.SetNamespace("wao-system")
				o.SetName(fmt.Sprint("n", i))
				b = b.WithObjects(o)
			}
		}
		c := b.WithInterceptorFuncs(interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
			err := c.List(ctx, l, o...)
			lists, objects = lists+1, objects+meta.LenList(l)
			return err
		}}).Build()
		for i := range nodes {
			got, err := w.Want(t.Context(), c, node(fmt.Sprint("n", i), "10.0.0.1", nil))
			if err != nil || got == nil || got.Err != nil || got.Profile.Spec.Sensors[0].URL != fmt.Sprintf("https://10.0.0.%d", i) {
				t.Fatalf("node %d of %d: %+v, %v", i, nodes, got, err)
			}
		}
		return lists, objects
	}
	for _, nodes := range []int{1, 4, 16} {
		if lists, objects := work(nodes); lists > 4*nodes || objects > 2*nodes {
			t.Errorf("%d nodes: %d lists of %d objects: want at most four and two a node", nodes, lists, objects)
		}
	}
}

// A template whose selector is mistyped keeps the profiles that it made, and is an error of their nodes; it is none of other nodes.
func TestMistypedSelector(t *testing.T) {
	w := &compat.WAO{Groups: compat.WAOGroups[:1], Namespace: "wao-system"}
	template := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"nodeSelector": map[string]any{"matchExpressions": []any{map[string]any{"key": "rack", "operator": "exists"}}},
		"template":     map[string]any{"metricsCollector": map[string]any{"inletTemp": map[string]any{"type": "Redfish", "endpoint": "https://10.0.0.9"}}}}}}
	template.SetGroupVersionKind(w.Groups[0].WithKind("NodeConfigTemplate"))
	template.SetNamespace("wao-system")
	template.SetName("racks")
	by := "NodeConfigTemplate.node.waok8s.github.io/wao-system/racks"
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	b := fake.NewClientBuilder().WithScheme(scheme).WithObjects(template, &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n1", Annotations: map[string]string{controllers.MadeBy: by}}},
		&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n2", Annotations: map[string]string{controllers.MadeBy: "NodeProfileTemplate/racks"}}})
	for _, x := range w.Watches() {
		if x.Node != nil {
			b = b.WithIndex(x.Object, controllers.NodeIndex, func(o client.Object) []string { return []string{x.Node(o)} })
		}
	}
	c := b.Build()
	for name, want := range map[string]bool{"n1": true, "n2": false, "n3": false} {
		got, err := w.Want(t.Context(), c, node(name, "10.0.0.1", map[string]string{"rack": "r1"}))
		if err != nil || (got != nil) != want || want && (got.By != by || got.Err == nil) {
			t.Errorf("%s: %+v, %v; want something: %t", name, got, err, want)
		}
	}
}

// A bad term of a NodeConfig takes no other term along: the good ones are wanted and the bad one is told. What worked once stays as it was. A
// model is left out where a term that it is sent cannot be had, for it could predict nothing; a node of which nothing is left has no profile.
func TestNodeConfigInPart(t *testing.T) {
	whole := wanted(t, "NodeConfig", nodeConfig, nil)
	if whole.Err != nil || whole.Lacks != nil || len(whole.Profile.Spec.Sensors) != 2 || whole.Profile.Spec.Model == nil {
		t.Fatalf("a good one: %+v", whole)
	}
	const inlet, pressure, model = "{type: Redfish, endpoint: \"https://10.0.0.100\", basic", "{type: DifferentialPressureAPI", "{type: V2InferenceProtocol"
	held := func(by string) *v1alpha1.NodeProfile {
		return &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "worker-0", Annotations: map[string]string{controllers.MadeBy: by}}, Spec: whole.Profile.Spec}
	}
	for name, x := range map[string]struct {
		bad   []string // what is of type Fake, as in nodeConfig
		have  *v1alpha1.NodeProfile
		names string // of what is wanted
		model bool
		lacks string // in Lacks, or in Err where nothing is wanted
	}{
		"an inlet temperature":          {bad: []string{inlet}, names: "deltaP", lacks: "metricsCollector.inletTemp: type \"Fake\""},
		"a pressure":                    {bad: []string{pressure}, names: "inletTemp", lacks: "predictor: left out, because its model is sent deltaP"},
		"a model":                       {bad: []string{model}, names: "inletTemp deltaP", lacks: "predictor.powerConsumption: type \"Fake\""},
		"both sensors":                  {bad: []string{inlet, pressure}, lacks: "its model is sent inletTemp and deltaP"},
		"all":                           {bad: []string{inlet, pressure, model}, lacks: "predictor.powerConsumption"},
		"a pressure that worked":        {bad: []string{pressure}, have: held(whole.By), names: "inletTemp deltaP", model: true, lacks: "metricsCollector.deltaP"},
		"an inlet that worked":          {bad: []string{inlet}, have: held(whole.By), names: "inletTemp deltaP", model: true, lacks: "metricsCollector.inletTemp"},
		"a model that worked":           {bad: []string{model}, have: held(whole.By), names: "inletTemp deltaP", model: true, lacks: "predictor.powerConsumption"},
		"what another's profile has":    {bad: []string{pressure}, have: held("NodeProfileTemplate/x"), names: "inletTemp", lacks: "metricsCollector.deltaP"},
		"all, of a profile that worked": {bad: []string{inlet, pressure, model}, have: held(whole.By), lacks: "metricsCollector.deltaP"},
	} {
		text := nodeConfig
		for _, term := range x.bad {
			kind, rest, _ := strings.Cut(strings.TrimPrefix(term, "{type: "), ",")
			if rest != "" {
				rest = "," + rest
			}
			text = strings.Replace(text, "{type: "+kind+rest, "{type: Fake"+rest, 1)
		}
		for _, form := range []string{"NodeConfig", "NodeConfigTemplate"} {
			if form == "NodeConfigTemplate" && x.have != nil && x.have.Annotations[controllers.MadeBy] == whole.By {
				continue // it made none
			}
			got := wanted(t, form, text, x.have)
			var names []string
			for _, s := range got.Profile.Spec.Sensors {
				names = append(names, s.Name)
			}
			told := got.Lacks
			if x.names == "" {
				told = got.Err
			}
			if strings.Join(names, " ") != x.names || (got.Profile.Spec.Model != nil) != x.model || (got.Err != nil) != (x.names == "") || told == nil || !strings.Contains(told.Error(), x.lacks) {
				t.Errorf("%s of a %s is bad: sensors %v, model %t, error %v, lacks %v", name, form, names, got.Profile.Spec.Model != nil, got.Err, got.Lacks)
			}
			if x.model && cmp.Diff(whole.Profile.Spec, got.Profile.Spec) != "" {
				t.Errorf("%s: what worked has changed: %s", name, cmp.Diff(whole.Profile.Spec, got.Profile.Spec))
			}
		}
	}
	broken := strings.Replace(nodeConfig, "http://10.0.0.200:5000", "http://{{.Labels.nobody}}", 1)
	if got := wanted(t, "NodeConfigTemplate", broken, nil); len(got.Profile.Spec.Sensors) != 1 || got.Profile.Spec.Model != nil || got.Lacks == nil || !strings.Contains(got.Lacks.Error(), "metricsCollector.deltaP: ") {
		t.Errorf("a template one of whose texts cannot be made: %+v", got)
	}
}

// A NodeConfig is looked at for its node alone, a template for all.
func TestWatches(t *testing.T) {
	for _, x := range (&compat.WAO{Groups: compat.WAOGroups}).Watches() {
		o := x.Object.(*unstructured.Unstructured)
		if kind := o.GetKind(); (kind == "NodeConfig") != (x.Node != nil) {
			t.Errorf("%s: for one node: %v", kind, x.Node != nil)
		} else if x.Node != nil {
			o.Object["spec"] = map[string]any{"nodeName": "n1"}
			if n := x.Node(o); n != "n1" {
				t.Errorf("it is for %q", n)
			}
		}
	}
}

// "https://10.0.100.{{.IPv4.Octet4}}" for a node at 10.0.0.1 is https://10.0.100.1, as WAO documents it.
func TestNodeConfigTemplate(t *testing.T) {
	template := parse[compat.NodeConfigTemplate](t, `
nodeSelector: {matchLabels: {wao: "yes"}}
template:
  nodeName: ""
  metricsCollector:
    inletTemp: {type: "{{if true}}Redfish{{end}}", endpoint: "https://10.0.100.{{.IPv4.Octet4}}", basicAuthSecret: {name: "{{.Hostname}}-bmc"}, fetchInterval: 15s}
    deltaP: {type: DifferentialPressureAPI, endpoint: "http://{{.IPv4.Octet1}}.{{.IPv4.Octet2}}.{{.IPv4.Octet3}}.{{ add .IPv4.Octet4 200 }}:5000"}
  predictor:
    powerConsumption: {type: V2InferenceProtocol, endpoint: "http://{{.IPv4.Address}}:8080/v2/models/{{.Hostname | lower}}/versions/v1/infer"}
`)
	c, err := compat.Expand(template, node("worker-0", "10.0.0.1", nil))
	if err != nil {
		t.Fatal(err)
	}
	m := c.MetricsCollector
	if c.NodeName != "worker-0" || m.InletTemp.Type != "Redfish" || m.InletTemp.Endpoint != "https://10.0.100.1" || m.DeltaP.Endpoint != "http://10.0.0.201:5000" ||
		c.Predictor.PowerConsumption.Endpoint != "http://10.0.0.1:8080/v2/models/worker-0/versions/v1/infer" {
		t.Errorf("%+v", c)
	}
	if template.Template.MetricsCollector.InletTemp.Endpoint == m.InletTemp.Endpoint {
		t.Error("the template itself was changed")
	}
	template.Template.MetricsCollector.InletTemp.Endpoint = `https://{{env "HOME"}}`
	if _, err := compat.Expand(template, node("n", "10.0.0.1", nil)); err == nil {
		t.Error("a template read the environment")
	}
}

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

// A row is a model that remembers what it was asked.
type row struct{ last []float64 }

func (r *row) Infer(_ context.Context, rows [][]float64) ([]float64, error) {
	r.last = rows[0]
	out := make([]float64, len(rows))
	return out, nil
}

// PEAKS' coefficients give its own watts: 0 to 100 % costs 91.435654157550 W, 20 to 30 % costs 11.143557716109 W.
func TestPeaks(t *testing.T) {
	const models = `{"node-1": {"k0": 174.0, "k1": -91.50493019588365, "k2": -0.07186049052516228}}`
	forms := map[string]string{
		"the models": models,
		"arguments":  `{"watcherAddress": "http://10.0.0.8:2020", "nodePowerModel": ` + models + `}`,
		"configuration": "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- schedulerName: peaks\n  pluginConfig:\n" +
			"  - {name: NodeResourcesFit, args: {scoringStrategy: {type: LeastAllocated}}}\n  - name: Peaks\n    args: {watcherAddress: http://10.0.0.8:2020, nodePowerModel: " + models + "}\n",
	}
	for form, text := range forms {
		file := filepath.Join(t.TempDir(), "peaks")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := compat.PeaksFile(file)
		list, err := p.PowerModels(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != "peaks-node-1" || list[0].Spec.Nodes[0] != "node-1" {
			t.Fatalf("%s: %+v, %v", form, list, err)
		}
		m, err := model.Unmarshal([]byte(list[0].Spec.JSON))
		if err != nil {
			t.Fatal(err)
		}
		use, err := m.Predictor()
		if err != nil {
			t.Fatal(err)
		}
		watts := func(u float64) float64 {
			w, err := use.Predict(t.Context(), power.State{Utilization: u})
			if err != nil {
				t.Fatal(err)
			}
			return float64(w)
		}
		if a, b := watts(1)-watts(0), watts(0.3)-watts(0.2); math.Abs(a-91.435654157550) > 1e-9 || math.Abs(b-11.143557716109) > 1e-9 {
			t.Errorf("%s: %v W and %v W", form, a, b)
		}
		w, err := p.Want(t.Context(), nil, node("node-1", "10.0.0.1", nil))
		if (form == "the models") != (w == nil) || err != nil {
			t.Errorf("%s: %+v, %v", form, w, err)
		}
		if w != nil && (w.Profile.Spec.Sensors[0].Type != "load-watcher" || w.Profile.Spec.Sensors[0].URL != "http://10.0.0.8:2020") {
			t.Errorf("%s: %+v", form, w.Profile)
		}
	}
}

// A file that is empty, as while somebody writes it, is an error, which leaves the models that there are.
func TestPeaksOfAnEmptyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peaks")
	for _, text := range []string{"", "{}", `{"watcherAddress": "http://10.0.0.8:2020"}`, `{"nodePowerModel": {}}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if list, err := compat.PeaksFile(file).PowerModels(t.Context()); err == nil || !strings.Contains(err.Error(), "holds no power model") || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
}

func TestParsePeaksRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"n1": {"k0": 1, "kk": 2}}`: `node "n1": kk`, `{"n1": {"k0": 1, "k2": 2}}`: `node "n1": k1 is missing`, `{"n1": {"k0": "174", "k1": 1, "k2": 1}}`: `node "n1": k0 is "174": want a number`,
		`{"n1": 3}`: `node "n1": want k0, k1 and k2`, `{"n1": {"k0": 1, "k1": null, "k2": 2}}`: `node "n1": k1 is null`,
		`{"watcherAddress": "10.0.0.8:2020", "nodePowerModel": {}}`: `watcherAddress "10.0.0.8:2020": want https://`, `{"watcherAddress": "http://a:hunter2@w:2020", "nodePowerModel": {}}`: `watcherAddress: holds an @`,
		`{"watcherAddress": "http://w:2020", "nodePowerModel": {"n1": {"k0": 1, "k1": 2, "k2": []}}}`: `node "n1": k2 is []`,
		`{"watcherAddress": 3, "nodePowerModel": {}}`:                                                 "watcherAddress", `[]`: "want JSON or YAML", `{"N_1": {"k0": 1}}`: "no node's name", "kind: KubeSchedulerConfiguration": "no pluginConfig",
		strings.Repeat(" ", compat.MaxPeaksBytes+1): "more than",
	} {
		if _, err := compat.ParsePeaks([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParsePeaks(f *testing.F) {
	f.Add([]byte(`{"node-1": {"k0": 174.0, "k1": -91.5, "k2": -0.07}}`))
	f.Add([]byte("kind: KubeSchedulerConfiguration\nprofiles: []\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := compat.ParsePeaks(data)
		if err != nil {
			return
		}
		if _, err := json.Marshal(a); err != nil {
			t.Error(err)
		}
	})
}
