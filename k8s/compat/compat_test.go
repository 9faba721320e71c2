package compat_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/compat"
	"github.com/leastwatt/leastwatt/k8s/controllers"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
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
