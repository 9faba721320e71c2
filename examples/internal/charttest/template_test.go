package charttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// Whatever is switched on, nothing runs privileged, no role reaches further than its program, and each pod has its
// network policy.
func TestTemplate(t *testing.T) {
	all, err := render(t, everything...)
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for _, o := range all {
		count[o.Kind]++
		where := o.Kind + " " + o.Metadata.Name
		var spec struct {
			Template v1.PodTemplateSpec
			Groups   json.RawMessage
		}
		if len(o.Spec) > 0 && o.Kind != "APIService" {
			if err := json.Unmarshal(o.Spec, &spec); err != nil && (o.Kind == "Deployment" || o.Kind == "DaemonSet") {
				t.Errorf("%s: %v", where, err)
			}
		}
		for _, r := range o.Rules {
			if s := strings.Join(r.Verbs, ","); strings.Contains(s, "*") || strings.Contains(strings.Join(r.Resources, ",")+strings.Join(r.APIGroups, ","), "*") {
				t.Errorf("%s: %+v", where, r)
			}
			for _, resource := range r.Resources {
				if resource == "secrets" && (o.Kind != "Role" || len(r.ResourceNames) == 0 || !reflect.DeepEqual(r.Verbs, []string{"get"})) {
					t.Errorf("%s: Secrets beyond those that the values name: %+v", where, r)
				}
			}
		}
		for _, c := range append(spec.Template.Spec.InitContainers, spec.Template.Spec.Containers...) {
			secure(t, where, spec.Template.Spec, c)
			if c.Name == "controller" && !slices.Contains(c.Args, "--wao-cpu-usage-format=Percent") {
				t.Errorf("%s: the arguments %q do not say in what WAO's models want CPU", where, c.Args)
			}
		}
		switch o.Kind {
		case "PrometheusRule":
			file, err := os.ReadFile(filepath.Join("..", "..", "..", "k8s", "chart", "files", "rules.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			var want struct{ Groups any }
			if file, err = sigsyaml.YAMLToJSON(file); err != nil {
				t.Fatal(err)
			}
			var got struct{ Groups any }
			if err := errors.Join(json.Unmarshal(file, &want), json.Unmarshal(o.Spec, &got)); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s has other rules than the file: %v", where, err)
			}
		case "ConfigMap":
			if text, ok := o.Data["leastwatt.json"]; ok && !json.Valid([]byte(text)) {
				t.Errorf("%s: the dashboard is not JSON", where)
			}
			if text, ok := o.Data["leastwatt.yaml"]; ok && !bytes.Contains([]byte(text), []byte("http://{{.Address}}:28282")) {
				t.Errorf("%s: templates over nodes are touched: %s", where, text)
			}
		}
	}
	for kind, want := range map[string]int{"Deployment": 6, "DaemonSet": 2, "ServiceAccount": 9, "NetworkPolicy": 7, "PodDisruptionBudget": 4, "APIService": 2, "PodMonitor": 7, "PrometheusRule": 1,
		"PersistentVolumeClaim": 1, "Ingress": 1, "ValidatingWebhookConfiguration": 1} {
		if count[kind] != want {
			t.Errorf("%d of kind %s, want %d", count[kind], kind, want)
		}
	}
}

// Secrets that NodeProfiles name are read by the programs that go by profiles, and by get alone: those that the values name,
// or any of a namespace that is not the release's. They are not mounted.
func TestTemplateProfileSecrets(t *testing.T) {
	reading := map[string]string{"scheduler": "--leastwatt-secrets-namespace=", "controller": "--secrets-namespace=", "metrics-adapter": "--leastwatt-secrets-namespace="}
	on := "--set=scheduler.profiles=true,controller.enabled=true,metricsAdapter.enabled=true,metricsAdapter.profiles=true,shift.enabled=true,jobs.enabled=true,gateway.enabled=true,jobsPush.enabled=true,endpointSelector.enabled=true,"
	for set, want := range map[string]struct {
		namespace string
		names     []string // nil is any
		role      bool
		mounted   []string
	}{
		"profileSecrets.namespace=":                      {namespace: namespace},
		"secrets={bmc}":                                  {namespace, []string{"bmc"}, true, []string{"bmc"}},
		"secrets={bmc},profileSecrets.names={bmc,bmc-1}": {namespace, []string{"bmc", "bmc-1"}, true, []string{"bmc"}},
		"profileSecrets.names={bmc-1,bmc-2}":             {namespace, []string{"bmc-1", "bmc-2"}, true, nil},
		"secrets={bmc},profileSecrets.namespace=bmcs,profileSecrets.names={bmc-1}": {"bmcs", []string{"bmc-1"}, true, []string{"bmc"}},
		"secrets={bmc},profileSecrets.namespace=bmcs":                              {"bmcs", nil, true, []string{"bmc"}},
	} {
		t.Run(set, func(t *testing.T) {
			all, err := render(t, on+set)
			if err != nil {
				t.Fatal(err)
			}
			roles, bound := make(map[string]rbac.PolicyRule), make(map[string]string)
			for _, o := range all {
				component := strings.TrimPrefix(o.Metadata.Name, "lw-leastwatt-")
				for _, r := range o.Rules {
					if slices.Contains(r.Resources, "secrets") {
						roles[o.Metadata.Name] = r
						if o.Kind != "Role" || o.Metadata.Namespace != want.namespace || !slices.Equal(r.ResourceNames, want.names) || !slices.Equal(r.Resources, []string{"secrets"}) || !slices.Equal(r.Verbs, []string{"get"}) {
							t.Errorf("%s %s/%s: %+v", o.Kind, o.Metadata.Namespace, o.Metadata.Name, r)
						}
					}
				}
				if o.Kind == "RoleBinding" && o.Metadata.Namespace == want.namespace && len(o.Subjects) == 1 && o.Subjects[0].Namespace == namespace {
					bound[o.RoleRef.Name] = o.Subjects[0].Name
				}
				if o.Kind != "Deployment" && o.Kind != "DaemonSet" {
					continue
				}
				var spec struct{ Template v1.PodTemplateSpec }
				if err := json.Unmarshal(o.Spec, &spec); err != nil {
					t.Fatal(err)
				}
				if flag, ok := reading[component]; ok && !slices.Contains(spec.Template.Spec.Containers[0].Args, flag+want.namespace) {
					t.Errorf("%s is started with %v: want %s%s", component, spec.Template.Spec.Containers[0].Args, flag, want.namespace)
				}
				for _, v := range spec.Template.Spec.Volumes {
					if v.Secret != nil && strings.HasPrefix(v.Secret.SecretName, "bmc") && !slices.Contains(want.mounted, v.Secret.SecretName) {
						t.Errorf("%s mounts %s", component, v.Secret.SecretName)
					}
				}
			}
			readers := make(map[string]bool)
			for role := range roles {
				readers[strings.TrimPrefix(bound[role], "lw-leastwatt-")] = true
			}
			for component := range reading {
				if readers[component] != want.role {
					t.Errorf("%s reads Secrets: %t, want %t", component, readers[component], want.role)
				}
				delete(readers, component)
			}
			if len(readers) > 0 {
				t.Errorf("others read Secrets, or nobody is bound to a role: %v", readers)
			}
		})
	}
	if _, err := render(t, on+"profileSecrets.namespace="+namespace); err == nil || !strings.Contains(err.Error(), "profileSecrets") {
		t.Errorf("any Secret of the release's namespace: %v, want an error", err)
	}
	all, err := render(t, "--set=secrets={bmc},metricsAdapter.enabled=true,profileSecrets.namespace=bmcs")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		for _, r := range o.Rules {
			if slices.Contains(r.Resources, "secrets") {
				t.Errorf("%s %s without profiles: %+v", o.Kind, o.Metadata.Name, r)
			}
		}
	}
}

// With persistence the one process of shift keeps what its forecast has learned in a claim, the chart's or the user's, and nowhere else; without it nothing is asked for.
func TestTemplateShiftKeeps(t *testing.T) {
	const file = "-grid-history-file=/var/lib/leastwatt-shift/grid-history.json"
	for set, want := range map[string]string{"shift.enabled=true": "", "shift.enabled=true,shift.replicas=1,shift.persistence.enabled=true": "lw-leastwatt-shift",
		"shift.enabled=true,shift.replicas=1,shift.persistence.enabled=true,shift.persistence.existingClaim=mine": "mine"} {
		all, err := render(t, "--set="+set)
		if err != nil {
			t.Fatal(err)
		}
		claims, mounted := 0, false
		for _, o := range all {
			if o.Kind == "PersistentVolumeClaim" {
				claims++
				if o.Metadata.Annotations["helm.sh/resource-policy"] != "keep" {
					t.Errorf("%s: the claim goes with the release", set)
				}
			}
			if o.Kind != "Deployment" || o.Metadata.Name != "lw-leastwatt-shift" {
				continue
			}
			var d apps.DeploymentSpec
			if err := json.Unmarshal(o.Spec, &d); err != nil {
				t.Fatal(err)
			}
			c := d.Template.Spec.Containers[0]
			secure(t, set, d.Template.Spec, c)
			for _, v := range d.Template.Spec.Volumes {
				if x := v.PersistentVolumeClaim; x != nil {
					mounted = x.ClaimName == want && slices.ContainsFunc(c.VolumeMounts, func(m v1.VolumeMount) bool {
						return m.Name == v.Name && m.MountPath == filepath.Dir(strings.TrimPrefix(file, "-grid-history-file=")) && !m.ReadOnly
					})
				}
			}
			arrivals := slices.Contains(c.Args, "-arrivals-file=/var/lib/leastwatt-shift/arrivals.json")
			if slices.Contains(c.Args, file) != (want != "") || arrivals != (want != "") || (d.Strategy.Type == apps.RecreateDeploymentStrategyType) != (want != "") {
				t.Errorf("%s: arguments %q, strategy %q", set, c.Args, d.Strategy.Type)
			}
		}
		if mounted != (want != "") || (claims == 1) != (want == "lw-leastwatt-shift") {
			t.Errorf("%s: claim %q mounted: %v, %d made", set, want, mounted, claims)
		}
	}
}

// Where cert-manager has the certificates, the chart makes none, and has their authority put in by it.
func TestTemplateCertManager(t *testing.T) {
	all, err := render(t, "--set=metricsAdapter.enabled=true,metricsAdapter.tls.existingSecret=adapter,metricsAdapter.tls.injectCAFrom=leastwatt/adapter,"+
		"shift.enabled=true,shift.webhook.enabled=true,shift.webhook.tls.existingSecret=shift,shift.webhook.tls.injectCAFrom=leastwatt/shift")
	if err != nil {
		t.Fatal(err)
	}
	injected := make(map[string]int)
	for _, o := range all {
		if at := o.Metadata.Annotations["cert-manager.io/inject-ca-from"]; at != "" {
			injected[o.Kind+" "+at]++
		}
		if strings.Contains(string(o.Spec)+string(o.Webhooks), "caBundle") {
			t.Errorf("%s %s names an authority of its own", o.Kind, o.Metadata.Name)
		}
		if o.Kind == "Secret" {
			t.Errorf("the chart makes the Secret %s", o.Metadata.Name)
		}
	}
	if want := map[string]int{"APIService leastwatt/adapter": 2, "ValidatingWebhookConfiguration leastwatt/shift": 1}; !maps.Equal(injected, want) {
		t.Errorf("cert-manager puts its authority into %v, want %v", injected, want)
	}
}

// A chart that was packed with build metadata in its version, as release tools do, has labels that Kubernetes takes.
func TestTemplateOfAPackedChart(t *testing.T) {
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	h, folder := helm{program: controlplane.HelmForTest(t), home: t.TempDir()}, t.TempDir()
	if _, err := h.run(t.Context(), "package", path, "--version=0.1.0+git.0123abc", "--app-version=0.1.0+git.0123abc", "--destination="+folder); err != nil {
		t.Fatal(err)
	}
	packed, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatal(packed, err)
	}
	for _, o := range renderChart(t, packed[0], "--set=image.tag=v1") {
		for name, v := range o.Metadata.Labels {
			if errs := validation.IsValidLabelValue(v); len(errs) > 0 {
				t.Errorf("%s %s: label %s: %s", o.Kind, o.Metadata.Name, name, errs[0])
			}
		}
	}
}

// Who reads metrics.k8s.io of this cluster may, and nobody else: where config has such a source, all that read config, else those that are told to.
func TestTemplateMetricsServer(t *testing.T) {
	all := "controller endpoint-selector gateway metrics-adapter scheduler"
	const on = "controller.enabled=true,metricsAdapter.enabled=true,endpointSelector.enabled=true,gateway.enabled=true,shift.enabled=true,jobs.enabled=true,scheduler.profiles=true,metricsAdapter.profiles=true,"
	for set, want := range map[string]string{
		"scheduler.metricsServer=false": "",
		"scheduler.metricsServer=true,metricsAdapter.metricsServer=true,controller.metricsServer=true": "controller metrics-adapter scheduler",
		"controller.metricsServer=true": "controller",
		"config.sensors.sources[0].type=metrics.k8s.io,config.sensors.sources[0].url=null":                                                         all,
		"config.sensors.sources[0].type=metrics.k8s.io":                                                                                            all,
		"config.sensors.sources[0].type=metrics.k8s.io,config.sensors.sources[0].url=https://other":                                                "",
		"config.sensors.sources[0].type=redfish,config.sensors.sources[0].url=https://b,config.sensors.sources[0].fallback[0].type=metrics.k8s.io": all,
		"config.sensors.sources[0].type=metrics.k8s.io,existingConfigMap=mine":                                                                     "",
	} {
		objects, err := render(t, "--set="+on+set)
		if err != nil {
			t.Fatal(err)
		}
		roles := make(map[string]bool)
		for _, o := range objects {
			for _, r := range o.Rules {
				if slices.Contains(r.APIGroups, "metrics.k8s.io") {
					roles[o.Kind+" "+o.Metadata.Name] = true
					if o.Kind != "ClusterRole" || !slices.Equal(r.Resources, []string{"nodes"}) || !slices.Equal(r.Verbs, []string{"get", "list"}) {
						t.Errorf("%s: %s %s: %+v", set, o.Kind, o.Metadata.Name, r)
					}
				}
			}
		}
		var may []string
		for _, o := range objects {
			if roles[o.RoleRef.Kind+" "+o.RoleRef.Name] && o.Kind == "ClusterRoleBinding" {
				for _, s := range o.Subjects {
					may = append(may, strings.TrimPrefix(s.Name, "lw-leastwatt-"))
				}
			}
		}
		slices.Sort(may)
		if got := strings.Join(may, " "); got != want {
			t.Errorf("%s: nodes of metrics.k8s.io are read by %q, want %q", set, got, want)
		}
	}
}
