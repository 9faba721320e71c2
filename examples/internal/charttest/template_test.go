package charttest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/yaml"
	kubescheduler "k8s.io/kube-scheduler/config/v1"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/k8s/shift"
	"github.com/leastwatt/leastwatt/scoring/config"
)

// object is what a test looks at in a manifest.
type object struct {
	Kind     string
	Metadata struct {
		Name, Namespace     string
		Annotations, Labels map[string]string
	}
	Spec     json.RawMessage
	Webhooks json.RawMessage
	Rules    []rbac.PolicyRule
	Subjects []rbac.Subject
	RoleRef  rbac.RoleRef
	Data     map[string]string
}

// everything switches all on.
var everything = []string{"--set=gateway.enabled=true,jobs.enabled=true,jobs.grid=neso,jobs.credentials.secret=grid,jobs.nodes=name,jobs.sites=id,jobs.ingress.enabled=true,jobs.ingress.host=jobs.example.com,jobs.ingress.tlsSecret=jobs-tls," +
	"jobs.scrape.n1=http://10.0.0.1:8080/metrics,jobsPush.enabled=true,scheduler.powerCap.enabled=true,scheduler.powerCap.args.caps[0].name=pdu,scheduler.spreadRate.enabled=true,scheduler.placement.enabled=true," +
	"controller.enabled=true,metricsAdapter.enabled=true,endpointSelector.enabled=true,scheduler.profiles=true,scheduler.metricsServer=true," +
	"controller.metricsServer=true,controller.compatibility.wao=true,controller.compatibility.waoCPUUsageFormat=Percent,controller.compatibility.waoLabels=true,controller.compatibility.peaksConfigMap=kube-system/peaks," +
	"shift.enabled=true,shift.grid=neso,shift.kueue=true,shift.webhook.enabled=true,shift.budgetNamespaces={research},shift.tell.zone=DE,monitoring.podMonitors.enabled=true,monitoring.rules.enabled=true,monitoring.dashboard.enabled=true,secrets={bmc}"}

func render(t *testing.T, args ...string) ([]object, error) {
	t.Helper()
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	return renderOf(t, path, args...)
}

func renderChart(t *testing.T, path string, args ...string) []object {
	t.Helper()
	all, err := renderOf(t, path, args...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func renderOf(t *testing.T, path string, args ...string) ([]object, error) {
	t.Helper()
	return renderAs(t, "lw", path, args...)
}

// renderAs renders the chart for a release of that name.
func renderAs(t *testing.T, release, path string, args ...string) ([]object, error) {
	t.Helper()
	h := helm{program: controlplane.HelmForTest(t), home: t.TempDir()}
	out, err := h.run(t.Context(), append([]string{"template", release, path, "--namespace=" + namespace, "--kube-version=1.37.2"}, args...)...)
	if err != nil {
		return nil, err
	}
	return decoded(t, out), nil
}

// decoded returns the objects of a manifest.
func decoded(t *testing.T, manifest string) (all []object) {
	t.Helper()
	for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 1<<16); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if o.Kind != "" {
			all = append(all, o)
		}
	}
}

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

// secure checks what a container may do. The endpoint selector alone is root, with one capability.
func secure(t *testing.T, where string, pod v1.PodSpec, c v1.Container) {
	t.Helper()
	s, p := c.SecurityContext, pod.SecurityContext
	if s == nil || p == nil || p.SeccompProfile == nil || p.SeccompProfile.Type != v1.SeccompProfileTypeRuntimeDefault ||
		s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		s.Privileged != nil || s.Capabilities == nil || !reflect.DeepEqual(s.Capabilities.Drop, []v1.Capability{"ALL"}) {
		t.Errorf("%s: %+v, %+v", where, p, s)
		return
	}
	if c.Name == "endpoint-selector" {
		if !reflect.DeepEqual(s.Capabilities.Add, []v1.Capability{"NET_ADMIN"}) {
			t.Errorf("%s adds %v", where, s.Capabilities.Add)
		}
	} else if pod.HostNetwork || p.RunAsNonRoot == nil || !*p.RunAsNonRoot || len(s.Capabilities.Add) > 0 {
		t.Errorf("%s: %+v, %+v", where, p, s)
	}
	if c.Resources.Limits.Memory().IsZero() || c.LivenessProbe == nil || c.ReadinessProbe == nil {
		t.Errorf("%s: no limit of memory, or no probes", where)
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

// Values that mean nothing are refused before anything is installed.
func TestValuesAreChecked(t *testing.T) {
	for set, want := range map[string]string{
		"scheduler.repicas=3":                                                              "repicas",
		"scheduler.mode=off":                                                               "mode",
		"scheduler.clientConnection.qps=0":                                                 "qps",
		"scheduler.clientConnection.burst=1.5":                                             "burst",
		"shift.policies.default.pue=1.2":                                                   "pue",
		"shift.policies.namespaces.a.zon=DE":                                               "zon",
		"shift.policies.default.budget.over=stop":                                          "over",
		"metricsAdapter.tls.injectCAFrom=adapter":                                          "injectCAFrom",
		"metricsAdapter.tls.injectCAFrom=a/adapter":                                        "existingSecret",
		"scheduler.args.mode=shadow":                                                       "args",
		"scheduler.args.podUsageAssumtion=1":                                               "podUsageAssumtion",
		"scheduler.args.podUsageAssumption=half":                                           "podUsageAssumption",
		"scheduler.args.podUsageAssumption=0.0":                                            "podUsageAssumption",
		"scheduler.args.podUsageAssumption=10.5":                                           "podUsageAssumption",
		"scheduler.args.gpuUsageAssumption=1.5":                                            "gpuUsageAssumption",
		"scheduler.args.defaultPodCPU=much":                                                "defaultPodCPU",
		"scheduler.args.keepDecisions=0.5":                                                 "keepDecisions",
		"scheduler.powerCap.args.caps[0].name=a,scheduler.powerCap.args.caps[0].watts=1kW": "watts",
		"config.sensor={}":                                                                 "config",
		"secrets={UPPER}":                                                                  "secrets",
		"profileSecrets.names={UPPER}":                                                     "names",
		"profileSecrets.namespace=a/b":                                                     "namespace",
		"metricsAdapter.securePort=443":                                                    "securePort",
		"controller.compatibility.peaksConfigMap=nobody":                                   "peaksConfigMap",
		"monitoring.podMonitors.interval=soon":                                             "interval",
		"config.goal={}":                                                                   "config",
		"endpointSelector.clenup=true":                                                     "clenup",
		"gateway.metricsPort=0":                                                            "metricsPort",
		"scheduler.powerCap.enabled=true":                                                  "caps",
		"jobs.enabled=true,jobs.kubernetes=false":                                          "nodes",
		"jobs.persistence.accessModes={ReadWriteMany}":                                     "accessModes",
		"shift.enabled=true,shift.persistence.enabled=true":                                "shift.replicas",
		"scheduler.args.gpuResources={cpu}":                                                "gpuResources",
		"shift.persistence.accessModes={ReadWriteMany}":                                    "accessModes",
		"jobs.ingress.enabled=true":                                                        "host",
		"jobs.port=80":                                                                     "port",
		"jobsPush.scaphandre=ftp://n1":                                                     "scaphandre",
		"commonLabels.a=1":                                                                 "commonLabels",
		`scheduler.podLabels.app\.kubernetes\.io/name=x`:                                   "podLabels",
		"image.digests.scheduler=latest":                                                   "digests",
		"image.digests.kubelet=sha256:0":                                                   "kubelet",
		"controller.priorityClassName=High":                                                "priorityClassName",
		"jobsPush.enabled=true":                                                            "jobsPush.url",
		"scheduler.extraProfiles[0].mode=shadow":                                           "schedulerName",
		"scheduler.extraProfiles[0].schedulerName=a,scheduler.extraProfiles[0].wait=1":     "wait",
		"scheduler.extraProfiles[0].schedulerName=leastwatt":                               `two profiles have the schedulerName "leastwatt"`,
		"scheduler.extraProfiles[0].schedulerName=a,scheduler.extraProfiles[0].args.x=1":   "x",
		"scheduler.extraProfiles[0].schedulerName=a,scheduler.extraProfiles[0].objective.minimize=grams,existingConfigMap=mine":                    "args.config: /etc/leastwatt/KEY",
		"scheduler.extraProfiles[0].schedulerName=a,scheduler.extraProfiles[0].objective.minimize=grams,scheduler.extraProfiles[0].args.config=/a": "leave one out",
		"scheduler.extraProfiles[0].schedulerName=a,scheduler.extraProfiles[0].powerCap.enabled=true":                                              "caps",
		"jobsPush.enabled=true,jobsPush.url=https://a.b":                                                                                           "existingSecret",
	} {
		if _, err := render(t, "--set="+set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %s", set, err, want)
		}
	}
	if _, err := render(t, "--set=metricsAdapter.enabled=true,metricsAdapter.tls.existingSecret=mine"); err == nil || !strings.Contains(err.Error(), "caBundle") {
		t.Errorf("a certificate without its authority: %v", err)
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

// schedulerConfig is what the chart tells its scheduler, read strictly, and the arguments of its plugins as JSON.
func schedulerConfig(t *testing.T, args ...string) (*kubescheduler.KubeSchedulerConfiguration, map[string]*runtime.Unknown) {
	t.Helper()
	all, err := render(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if text := o.Data["scheduler.yaml"]; text != "" {
			c := new(kubescheduler.KubeSchedulerConfiguration)
			if err := sigsyaml.UnmarshalStrict([]byte(text), c); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			plugins := make(map[string]*runtime.Unknown)
			for _, p := range c.Profiles[0].PluginConfig {
				plugins[p.Name] = &runtime.Unknown{Raw: p.Args.Raw, ContentType: runtime.ContentTypeJSON}
			}
			return c, plugins
		}
	}
	t.Fatal("the chart tells its scheduler nothing")
	return nil, nil
}

// In shadow mode nothing of Kubernetes' own choice is taken away: what is measured must be measured against it.
func TestTemplateShadowDisablesNothing(t *testing.T) {
	disabled := func(args ...string) []string {
		c, _ := schedulerConfig(t, args...)
		var names []string
		for _, p := range c.Profiles[0].Plugins.Score.Disabled {
			names = append(names, p.Name)
		}
		return names
	}
	if got, want := disabled(), []string{"NodeResourcesFit", "NodeResourcesBalancedAllocation"}; !slices.Equal(got, want) {
		t.Errorf("mode decide disables the scores %v, want %v", got, want)
	}
	if got := disabled("--set=scheduler.mode=shadow"); len(got) > 0 {
		t.Errorf("mode shadow disables the scores %v", got)
	}
}

// One scheduler can have several profiles: each has what it says, with the rest as the scheduler has it, and an objective of its own is in a
// file beside the same sensors and models. The first profile is what it is without them.
func TestTemplateExtraProfiles(t *testing.T) {
	base := []string{"--set=scheduler.args.events=true,scheduler.args.podUsageAssumption=0.5,scheduler.powerCap.args.caps[0].name=pdu,scheduler.powerCap.args.caps[0].watts=2000000,scheduler.spreadRate.enabled=true"}
	const extra = `--set-json=scheduler.extraProfiles=[
		{"schedulerName": "green", "weight": 7, "args": {"events": false, "keepDecisions": 10000}, "powerCap": {"enabled": true}, "spreadRate": {"weight": 3},
		 "objective": {"minimize": "grams", "intensity": [{"type": "prometheus", "url": "http://grid.example:8123", "expr": "intensity"}]}},
		{"schedulerName": "watching", "mode": "shadow", "percentageOfNodesToScore": 30, "spreadRate": {"enabled": false}, "placement": {"enabled": true, "args": {"podUsageAssumption": 0.75}}},
		{"schedulerName": "plain", "disabledScores": []}]`
	alone, _ := schedulerConfig(t, base...)
	c, _ := schedulerConfig(t, append(base, extra)...)
	if len(c.Profiles) != 4 || !reflect.DeepEqual(c.Profiles[0], alone.Profiles[0]) {
		t.Fatalf("%d profiles; the first is %+v, want %+v", len(c.Profiles), c.Profiles[0], alone.Profiles[0])
	}
	type profile struct {
		enabled, disabled string
		percentage        int32
		args              scheduler.Args
	}
	var got []profile
	for _, p := range c.Profiles[1:] {
		x := profile{}
		if p.PercentageOfNodesToScore != nil {
			x.percentage = *p.PercentageOfNodesToScore
		}
		for _, e := range p.Plugins.MultiPoint.Enabled {
			x.enabled += fmt.Sprintf("%s %d,", e.Name, *cmp.Or(e.Weight, new(int32(0))))
		}
		for _, e := range p.Plugins.Score.Disabled {
			x.disabled += e.Name + ","
		}
		for _, a := range p.PluginConfig {
			raw := &runtime.Unknown{Raw: a.Args.Raw, ContentType: runtime.ContentTypeJSON}
			var err error
			switch a.Name {
			case scheduler.Name:
				x.args, err = scheduler.DecodeArgs(raw)
			case scheduler.CapName:
				var caps scheduler.CapArgs
				if caps, err = scheduler.DecodeCapArgs(raw); err == nil && (len(caps.Caps) != 1 || caps.Caps[0].Watts != 2e6 || caps.Config != "/etc/leastwatt/objective-green.yaml") {
					t.Errorf("%s: PowerCap has %+v", *p.SchedulerName, caps)
				}
			case scheduler.PlacementName:
				var placement scheduler.PlacementArgs
				if placement, err = scheduler.DecodePlacementArgs(raw); err == nil && placement.PodUsageAssumption != 0.75 {
					t.Errorf("%s: LeastWattPlacement has %+v", *p.SchedulerName, placement)
				}
			}
			if err != nil {
				t.Errorf("%s: %v", *p.SchedulerName, err)
			}
		}
		got = append(got, x)
	}
	const scores = "NodeResourcesFit,NodeResourcesBalancedAllocation,"
	for i, want := range []profile{
		{enabled: "LeastWatt 7,PowerCap 0,SpreadRate 3,", disabled: scores, args: scheduler.Args{Config: "/etc/leastwatt/objective-green.yaml", Mode: "decide", KeepDecisions: 10000}},
		{enabled: "LeastWatt 10,LeastWattPlacement 100,", percentage: 30, args: scheduler.Args{Mode: "shadow", Events: true}},
		{enabled: "LeastWatt 10,SpreadRate 1000,", args: scheduler.Args{Mode: "decide", Events: true}},
	} {
		g := got[i]
		if g.enabled != want.enabled || g.disabled != want.disabled || g.percentage != want.percentage || g.args.Config != want.args.Config || g.args.Mode != want.args.Mode ||
			g.args.Events != want.args.Events || g.args.PodUsageAssumption != 0.5 || want.args.KeepDecisions != 0 && g.args.KeepDecisions != want.args.KeepDecisions {
			t.Errorf("profile %d is %+v, want %+v", i+1, g, want)
		}
	}
	all, err := render(t, append(base, extra, "--set=networkPolicy.enabled=true")...)
	if err != nil {
		t.Fatal(err)
	}
	files, grid := 0, false
	for _, o := range all {
		grid = grid || o.Kind == "NetworkPolicy" && strings.HasSuffix(o.Metadata.Name, "-scheduler") && strings.Contains(string(o.Spec), "8123")
		text := o.Data["objective-green.yaml"]
		if text == "" {
			continue
		}
		files++
		var its, common map[string]any
		if err := errors.Join(sigsyaml.Unmarshal([]byte(text), &its), sigsyaml.Unmarshal([]byte(o.Data["leastwatt.yaml"]), &common)); err != nil {
			t.Fatal(err)
		}
		delete(its, "objective")
		own, err := config.Parse("objective-green.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if string(own.Grid.Minimize) != "grams" || !reflect.DeepEqual(its, common) {
			t.Errorf("the file of the profile is %s beside %v", text, common)
		}
	}
	if files != 1 || !grid {
		t.Errorf("%d files; the network policy lets the scheduler reach the grid: %t", files, grid)
	}
}

// The scheduler's rate of requests is a value.
func TestTemplateClientConnection(t *testing.T) {
	for set, want := range map[string][2]int{"scheduler.enabled=true": {50, 100}, "scheduler.clientConnection.qps=500,scheduler.clientConnection.burst=1000": {500, 1000}} {
		c, _ := schedulerConfig(t, "--set="+set)
		if got := [2]int{int(c.ClientConnection.QPS), int(c.ClientConnection.Burst)}; got != want {
			t.Errorf("%s: qps and burst are %v, want %v", set, got, want)
		}
	}
}

// Each plugin has its arguments; what PowerCap and LeastWattPlacement take as LeastWatt does they have of it, unless they
// are told otherwise.
func TestTemplateArguments(t *testing.T) {
	_, plugins := schedulerConfig(t, "--set=scheduler.powerCap.enabled=true,scheduler.powerCap.args.caps[0].name=pdu,scheduler.powerCap.args.caps[0].watts=1,scheduler.placement.enabled=true,"+
		"scheduler.spreadRate.enabled=true,scheduler.spreadRate.args.topologyKeys={rack}",
		`--set-json=scheduler.args={"config":"/other.yaml","podUsageAssumption":0.5,"defaultPodCPU":"200m","utilization":["requests"],"gpuResources":["a.b/gpu"],"gpuUsageAssumption":0.25,"events":true}`,
		`--set-json=scheduler.placement.args={"podUsageAssumption":0.75}`)
	if a, err := scheduler.DecodeSpreadArgs(plugins["SpreadRate"]); err != nil || !slices.Equal(a.TopologyKeys, []string{"rack"}) {
		t.Errorf("SpreadRate: %+v, %v", a, err)
	}
	all, err := scheduler.DecodeArgs(plugins["LeastWatt"])
	if err != nil {
		t.Fatal(err)
	}
	for field, value := range reflect.ValueOf(all.Usage).Fields() {
		if field.IsExported() && reflect.DeepEqual(value.Interface(), reflect.ValueOf(defaults(t)).FieldByIndex(field.Index).Interface()) {
			t.Errorf("%s has its default %v: set it in this test", field.Name, value)
		}
	}
	powerCap, err := scheduler.DecodeCapArgs(plugins["PowerCap"])
	if err != nil || powerCap.Config != all.Config || !reflect.DeepEqual(powerCap.Usage, all.Usage) {
		t.Errorf("PowerCap: %+v, %v; want the usage of LeastWatt, %+v", powerCap, err, all)
	}
	placement, err := scheduler.DecodePlacementArgs(plugins["LeastWattPlacement"])
	if err != nil || placement.PodUsageAssumption != 0.75 || placement.DefaultPodCPU != "200m" {
		t.Errorf("LeastWattPlacement: %+v, %v; want its own assumption, and the rest of LeastWatt", placement, err)
	}
}

// What helm's --set makes a text of, or a number, the scheduler gets as it reads it.
func TestTemplateArgumentsBySet(t *testing.T) {
	_, plugins := schedulerConfig(t, "--set=scheduler.args.podUsageAssumption=0.5,scheduler.args.gpuUsageAssumption=0.25,scheduler.args.defaultPodCPU=2,scheduler.powerCap.enabled=true,"+
		"scheduler.powerCap.args.caps[0].name=pdu,scheduler.powerCap.args.caps[0].watts=1500.5,scheduler.powerCap.args.caps[0].groups.a=99.5,scheduler.powerCap.args.caps[0].groups.b=7,"+
		"scheduler.placement.enabled=true,scheduler.placement.args.podUsageAssumption=1")
	all, err := scheduler.DecodeArgs(plugins["LeastWatt"])
	if err != nil || all.PodUsageAssumption != 0.5 || all.GPUUsageAssumption != 0.25 || all.DefaultPodCPU != "2" {
		t.Errorf("LeastWatt: %+v, %v", all, err)
	}
	powerCap, err := scheduler.DecodeCapArgs(plugins["PowerCap"])
	if want := []scheduler.Cap{{Name: "pdu", Watts: 1500.5, Groups: map[string]float64{"a": 99.5, "b": 7}}}; err != nil || !reflect.DeepEqual(powerCap.Usage, all.Usage) || !reflect.DeepEqual(powerCap.Caps, want) {
		t.Errorf("PowerCap: %+v, %v", powerCap, err)
	}
	placement, err := scheduler.DecodePlacementArgs(plugins["LeastWattPlacement"])
	if err != nil || placement.PodUsageAssumption != 1 || placement.DefaultPodCPU != "2" {
		t.Errorf("LeastWattPlacement: %+v, %v", placement, err)
	}
}

// Policies go to the program as they are said.
func TestTemplatePolicies(t *testing.T) {
	all, err := render(t, "--set=shift.enabled=true,shift.grid=neso", `--set-json=shift.policies={"default":{"zone":"DE","maxDelay":"12h","duration":"2h","margin":1.5,"wattsPerCore":7.5,"pue":1.2,"dryRun":true},`+
		`"namespaces":{"research":{"budget":{"kWhPerDay":0.5,"gramsPerDay":100,"over":"refuse"}}},"cores":{"DE":64}}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if text := o.Data["policies.yaml"]; text != "" {
			p, err := shift.ParsePolicies([]byte(text))
			if err != nil || p.Default.PUE != 1.2 || p.Default.MaxDelay.Duration != 12*time.Hour || p.Namespaces["research"].Budget.KWhPerDay != 0.5 || p.Cores["DE"] != 64 {
				t.Errorf("%+v, %v", p, err)
			}
			return
		}
	}
	t.Error("the chart tells the program no policies")
}

// The values have every argument that the plugins have, and every field of policies, and no other.
func TestArgumentsAreValues(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "k8s", "chart", "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	const plugins = "properties scheduler properties "
	for at, of := range map[string]reflect.Type{
		plugins + "args":                                           reflect.TypeFor[scheduler.Args](),
		plugins + "powerCap properties args":                       reflect.TypeFor[scheduler.CapArgs](),
		plugins + "spreadRate properties args":                     reflect.TypeFor[scheduler.SpreadArgs](),
		plugins + "placement properties args":                      reflect.TypeFor[scheduler.PlacementArgs](),
		plugins + "powerCap properties args properties caps items": reflect.TypeFor[scheduler.Cap](),
		"properties shift properties policies":                     reflect.TypeFor[shift.Policies](),
		"$defs policy":                                             reflect.TypeFor[shift.Policy](),
		"$defs policy properties budget":                           reflect.TypeFor[shift.Budget](),
	} {
		var names []string
		for _, f := range reflect.VisibleFields(of) {
			if tag, ok := f.Tag.Lookup("json"); ok {
				name, _, _ := strings.Cut(tag, ",")
				names = append(names, name)
			}
		}
		slices.Sort(names)
		in := schema
		for name := range strings.FieldsSeq(at + " properties") {
			in, _ = in[name].(map[string]any)
		}
		if got := slices.Sorted(maps.Keys(in)); !slices.Equal(got, names) {
			t.Errorf("%s: the values have %v, the program has %v", at, got, names)
		}
	}
}

// defaults is what is assumed of pods where nothing is said.
func defaults(t *testing.T) scheduler.Usage {
	a, err := scheduler.DecodePlacementArgs(nil)
	if err != nil {
		t.Fatal(err)
	}
	return a.Usage
}

// Values of a release that an older chart made, which helm upgrade --reuse-values takes, do not have what came since.
func TestTemplateWithValuesOfAnOlderChart(t *testing.T) {
	c, _ := schedulerConfig(t, append(everything, "--set=profileSecrets=null,scheduler.clientConnection=null,scheduler.spreadRate.args=null,scheduler.args=null,scheduler.extraProfiles=null,metricsAdapter.tls.injectCAFrom=null,"+
		"commonLabels=null,extraVolumes=null,extraVolumeMounts=null,image.digests=null,metricsAdapter.podDisruptionBudget=null,metricsAdapter.replicas=2,controller.podLabels=null,controller.podAnnotations=null,"+
		"controller.extraEnv=null,controller.topologySpreadConstraints=null,controller.priorityClassName=null")...)
	if c.ClientConnection.QPS != 0 || c.ClientConnection.Burst != 0 {
		t.Errorf("the rate is %v: want none, so that the scheduler takes its own", c.ClientConnection)
	}
}

// What operators say of pods reaches every program's, beside what the chart says and never in its place where Kubernetes finds them by it.
func TestTemplatePodValues(t *testing.T) {
	sections := map[string]string{"scheduler": "scheduler", "controller": "controller", "metrics-adapter": "metricsAdapter", "endpoint-selector": "endpointSelector", "gateway": "gateway",
		"shift": "shift", "jobs": "jobs", "jobs-push": "jobsPush"}
	replicated := []string{"scheduler", "controller", "metrics-adapter", "gateway", "shift"}
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	args := append(slices.Clone(everything), `--set-json=commonLabels={"cost":"watts","both":"common"}`, `--set-json=image.pullSecrets=[{"name":"pull"}]`, "--set=image.registry=mirror:5000/lw,image.tag=v9,image.digests.jobs="+digest,
		`--set-json=extraVolumes=[{"name":"models","configMap":{"name":"models"}}]`, `--set-json=extraVolumeMounts=[{"name":"models","mountPath":"/models"}]`)
	for component, section := range sections {
		args = append(args, "--set-json="+section+`={"priorityClassName":"high","podLabels":{"team":"`+component+`","both":"pod"},"podAnnotations":{"mesh":"off"},"extraEnv":[{"name":"HTTPS_PROXY","value":"http://proxy:3128"}],`+
			`"nodeSelector":{"infra":"yes"},"tolerations":[{"key":"infra","operator":"Exists"}],"affinity":{"nodeAffinity":{}},"extraArgs":["--more"]}`)
		if slices.Contains(replicated, component) {
			args = append(args, "--set-json="+section+`.topologySpreadConstraints=[{"maxSkew":2,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule"}]`)
		}
	}
	all, err := render(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, o := range all {
		if o.Metadata.Labels["cost"] != "watts" {
			t.Errorf("%s %s lacks the common label: %v", o.Kind, o.Metadata.Name, o.Metadata.Labels)
		}
		if o.Kind != "Deployment" && o.Kind != "DaemonSet" {
			continue
		}
		found++
		component := strings.TrimPrefix(o.Metadata.Name, "lw-leastwatt-")
		var spec struct {
			Selector metav1.LabelSelector
			Template v1.PodTemplateSpec
		}
		if err := json.Unmarshal(o.Spec, &spec); err != nil {
			t.Fatal(err)
		}
		m, p := spec.Template.ObjectMeta, spec.Template.Spec
		c := p.Containers[0]
		want := "mirror:5000/lw/" + component + ":v9"
		switch component {
		case "jobs", "jobs-push":
			want = "mirror:5000/lw/jobs@" + digest
		case "gateway":
			want = "mirror:5000/lw/endpoint-selector:v9"
		}
		selector, err := metav1.LabelSelectorAsSelector(&spec.Selector)
		if err != nil || !selector.Matches(labels.Set(m.Labels)) || len(spec.Selector.MatchLabels) != 3 {
			t.Errorf("%s: %v chooses pods, which have %v, %v", component, spec.Selector, m.Labels, err)
		}
		if m.Labels["team"] != component || m.Labels["both"] != "pod" || m.Labels["cost"] != "watts" || m.Annotations["mesh"] != "off" {
			t.Errorf("%s: pods have labels %v and annotations %v", component, m.Labels, m.Annotations)
		}
		if p.PriorityClassName != "high" || p.NodeSelector["infra"] != "yes" || len(p.Tolerations) != 1 || p.Affinity == nil || len(p.ImagePullSecrets) != 1 || c.Image != want || !slices.Contains(c.Args, "--more") ||
			!slices.Contains(c.Env, v1.EnvVar{Name: "HTTPS_PROXY", Value: "http://proxy:3128"}) {
			t.Errorf("%s: %+v", component, p)
		}
		if got := len(p.TopologySpreadConstraints) == 1 && p.TopologySpreadConstraints[0].MaxSkew == 2; got != slices.Contains(replicated, component) {
			t.Errorf("%s: it is spread by %v", component, p.TopologySpreadConstraints)
		}
		mounted := slices.ContainsFunc(c.VolumeMounts, func(x v1.VolumeMount) bool { return x.Name == "models" && x.MountPath == "/models" })
		if reads := slices.ContainsFunc(c.VolumeMounts, func(x v1.VolumeMount) bool { return x.Name == "secret-0" }); mounted != reads {
			t.Errorf("%s: it reads config: %t, and has the further volume: %t", component, reads, mounted)
		}
		for _, x := range c.VolumeMounts {
			if !slices.ContainsFunc(p.Volumes, func(v v1.Volume) bool { return v.Name == x.Name && (v.Name != "models" || v.ConfigMap != nil) }) {
				t.Errorf("%s mounts %q, which its pod has not: %+v", component, x.Name, p.Volumes)
			}
		}
	}
	if found != len(sections) {
		t.Errorf("%d programs, want %d", found, len(sections))
	}
}

// Without a word the scheduler and the service proxy go before the pods that they serve, also where a release keeps its values
// of before.
func TestTemplatePriorities(t *testing.T) {
	for _, set := range []string{"scheduler.replicas=2", "scheduler.priorityClassName=null,endpointSelector.priorityClassName=null"} {
		all, err := render(t, append(everything, "--set="+set)...)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for _, o := range all {
			var spec struct{ Template v1.PodTemplateSpec }
			if (o.Kind == "Deployment" || o.Kind == "DaemonSet") && json.Unmarshal(o.Spec, &spec) == nil && spec.Template.Spec.PriorityClassName != "" {
				got[o.Metadata.Name] = spec.Template.Spec.PriorityClassName
			}
		}
		if want := map[string]string{"lw-leastwatt-scheduler": "system-cluster-critical", "lw-leastwatt-endpoint-selector": "system-node-critical"}; !maps.Equal(got, want) {
			t.Errorf("%s: priorities are %v, want %v", set, got, want)
		}
	}
}

// Whatever Secrets are called, volumes have names that Kubernetes takes.
func TestTemplateNamesOfVolumes(t *testing.T) {
	all, err := render(t, "--set=secrets={bmc.prod,bmc-prod,"+strings.Repeat("long.", 40)+"name}")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		var spec struct{ Template v1.PodTemplateSpec }
		if o.Kind != "Deployment" || json.Unmarshal(o.Spec, &spec) != nil {
			continue
		}
		names := make(map[string]bool)
		for _, v := range spec.Template.Spec.Volumes {
			if errs := validation.IsDNS1123Label(v.Name); len(errs) > 0 || names[v.Name] {
				t.Errorf("%s: volume %q: %v", o.Metadata.Name, v.Name, errs)
			}
			names[v.Name] = true
		}
		for _, m := range spec.Template.Spec.Containers[0].VolumeMounts {
			if !names[m.Name] {
				t.Errorf("%s mounts %q, which it has not", o.Metadata.Name, m.Name)
			}
		}
		if len(names) != 6 {
			t.Errorf("%s has the volumes %v", o.Metadata.Name, names)
		}
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

// Without a word, replicas go to different nodes where that is possible, and run on one where it is not; programs that mount Secrets
// are in the group that may read them.
func TestTemplateReplicasAreSpread(t *testing.T) {
	all, err := render(t, everything...)
	if err != nil {
		t.Fatal(err)
	}
	spread := 0
	for _, o := range all {
		var spec struct {
			Selector metav1.LabelSelector
			Template v1.PodTemplateSpec
		}
		if o.Kind != "Deployment" && o.Kind != "DaemonSet" {
			continue
		}
		if err := json.Unmarshal(o.Spec, &spec); err != nil {
			t.Fatal(err)
		}
		p := spec.Template.Spec
		for _, v := range p.Volumes {
			if s := p.SecurityContext; v.Secret != nil && (s == nil || s.RunAsUser == nil || *s.RunAsUser != 0) && (s == nil || s.FSGroup == nil || *s.FSGroup == 0) {
				t.Errorf("%s: Secret %s is mounted, whose files nobody but root can read: %+v", o.Metadata.Name, v.Secret.SecretName, s)
			}
		}
		for _, c := range p.TopologySpreadConstraints {
			spread++
			if want := (v1.TopologySpreadConstraint{MaxSkew: 1, TopologyKey: v1.LabelHostname, WhenUnsatisfiable: v1.ScheduleAnyway, LabelSelector: &spec.Selector}); !reflect.DeepEqual(c, want) {
				t.Errorf("%s: its pods are spread by %+v, want %+v", o.Metadata.Name, c, want)
			}
		}
	}
	if spread != 5 {
		t.Errorf("%d programs are spread, want 5", spread)
	}
}

// A program may go where its values send it, and no further: to the ports of what WAO and PEAKS left too, where it goes by profiles.
func TestTemplateEgress(t *testing.T) {
	const base, config, left = "443 6443 28282", " 80 8443 9090 28283 8001", " 2020 8501 9290"
	for profiles, more := range map[string]string{"true": left, "false": ""} {
		t.Run("profiles="+profiles, func(t *testing.T) {
			all, err := render(t, append(everything, `--set-json=config={"sensors":{"sources":[{"type":"prometheus","url":"http://prometheus.monitoring:9090/prom","ready":["node-exporter"]},`+
				`{"type":"kepler","url":"http://{{.Address}}:28283/metrics"},{"type":"redfish","perNode":{"n1":{"url":"https://10.0.0.1:8443"},"n2":{"url":"http://10.0.0.2"}}}]},"models":[{"kind":"remote","url":"grpcs://models:8001"}]}`,
				"--set=gateway.extraArgs={-rates=prometheus,-prometheus=http://prometheus.monitoring:9095},shift.extraEnv[0].name=HTTPS_PROXY,shift.extraEnv[0].value=http://proxy:3128",
				`--set-json=jobs.extraArgs=["-a=http://one:91/x,http://two:92"]`,
				"--set=jobsPush.url=http://other-jobs.elsewhere.svc,jobsPush.token.existingSecret=mine,shift.grid=watttime:https://proxy.example:3129/v3,scheduler.metricsServer=false,scheduler.profiles="+profiles+",metricsAdapter.profiles="+profiles)...)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"scheduler": base + config + more, "controller": base + config + left, "metrics-adapter": base + config + more, "gateway": base + config + " 9095",
				"shift": "443 6443 3129 3128", "jobs": "443 6443 8080 91 92", "jobs-push": "8080 80"}
			for _, o := range all {
				if o.Kind != "NetworkPolicy" {
					continue
				}
				component := strings.TrimPrefix(o.Metadata.Name, "lw-leastwatt-")
				if got, may := strings.Contains(string(o.Spec), "623"), strings.Contains(want[component], base); got != may {
					t.Errorf("%s may ask by IPMI: %t, want %t", component, got, may)
				}
				if got, may := egress(t, o), strings.Fields(want[component]); !maps.Equal(got, set(may)) {
					t.Errorf("%s may go to %v, want %v", component, slices.Sorted(maps.Keys(got)), may)
				}
				delete(want, component)
			}
			if len(want) > 0 {
				t.Errorf("no policy of %v", want)
			}
		})
	}
}

// What asks the API server for nothing does not reach it, and providers of the grid are reached where sensors are at other ports.
func TestTemplateEgressOfJobs(t *testing.T) {
	all, err := render(t, `--set-json=networkPolicy={"apiServerPorts":[6443],"sensorPorts":[{"protocol":"TCP","port":9100}]}`,
		"--set=jobs.enabled=true,jobs.kubernetes=false,jobs.nodes=name,jobs.grid=neso,shift.enabled=true,shift.grid=neso")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		want := map[string]string{"lw-leastwatt-jobs": "443", "lw-leastwatt-shift": "443 6443"}[o.Metadata.Name]
		if o.Kind != "NetworkPolicy" || want == "" {
			continue
		}
		if got := egress(t, o); !maps.Equal(got, set(strings.Fields(want))) {
			t.Errorf("%s may go to %v, want %s", o.Metadata.Name, slices.Sorted(maps.Keys(got)), want)
		}
	}
}

// egress are the TCP ports that a policy lets its pods reach, but for DNS.
func egress(t *testing.T, o object) map[string]bool {
	t.Helper()
	var spec networking.NetworkPolicySpec
	if err := json.Unmarshal(o.Spec, &spec); err != nil {
		t.Fatal(err)
	}
	ports := make(map[string]bool)
	for _, e := range spec.Egress {
		for _, p := range e.Ports {
			if *p.Protocol == v1.ProtocolTCP && p.Port.IntValue() != 53 {
				ports[p.Port.String()] = true
			}
		}
	}
	return ports
}

func set(all []string) map[string]bool {
	m := make(map[string]bool)
	for _, x := range all {
		m[x] = true
	}
	return m
}

// One replica has no budget, with which its node could not be drained.
func TestTemplateDisruptionBudgets(t *testing.T) {
	for replicas, want := range map[string]int{"0": 0, "1": 0, "2": 5} {
		all, err := render(t, everything[0]+strings.ReplaceAll(",scheduler.replicas=N,controller.replicas=N,gateway.replicas=N,shift.replicas=N,metricsAdapter.replicas=N", "N", replicas))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, o := range all {
			if o.Kind != "PodDisruptionBudget" {
				continue
			}
			n++
			var b policy.PodDisruptionBudgetSpec
			if err := json.Unmarshal(o.Spec, &b); err != nil {
				t.Fatal(err)
			}
			if b.MinAvailable.IntValue() != 1 || b.UnhealthyPodEvictionPolicy == nil || *b.UnhealthyPodEvictionPolicy != policy.AlwaysAllow {
				t.Errorf("%s: %+v: want that one of two replicas may leave, and those that are not ready any time", o.Metadata.Name, b)
			}
		}
		if n != want {
			t.Errorf("%s replicas: %d budgets, want %d", replicas, n, want)
		}
	}
}

// What programs read in their file can be said in the chart's values, and nothing else.
func TestConfigHasTheSectionsOfTheFile(t *testing.T) {
	sections := func(file string, at ...string) []string {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		var schema map[string]any
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatal(err)
		}
		for _, name := range append(at, "properties") {
			schema, _ = schema[name].(map[string]any)
		}
		return slices.Sorted(maps.Keys(schema))
	}
	values, file := sections("k8s/chart/values.schema.json", "properties", "config"), sections("scoring/config/schema.json")
	if len(file) < 3 || !slices.Equal(values, file) {
		t.Errorf("values take the sections %v, the file has %v", values, file)
	}
}

// The two umbrellas: all in one cluster, and a central job service with nodes elsewhere.
func TestValuesFiles(t *testing.T) {
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	nodes := filepath.Join(t.TempDir(), "nodes.csv")
	if err := os.WriteFile(nodes, []byte("name,cpu,mem,ci_profile,site_id,peak_power_w\nn1,32,128,static:300,east,400\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want map[string]string // kinds of what runs, by component
	}{
		{"local", []string{"--values=" + filepath.Join(path, "values-local.yaml")}, map[string]string{"scheduler": "Deployment", "controller": "Deployment", "metrics-adapter": "Deployment",
			"shift": "Deployment", "jobs": "Deployment", "jobs-push": "DaemonSet", "endpoint-selector": "DaemonSet"}},
		{"remote", []string{"--values=" + filepath.Join(path, "values-remote.yaml"), "--set=jobs.ingress.host=jobs.example.com,jobs.ingress.tlsSecret=jobs-tls", "--set-file=jobs.nodes=" + nodes},
			map[string]string{"jobs": "Deployment"}},
		{"nodes of remote", []string{"--set=scheduler.enabled=false,jobsPush.enabled=true,jobsPush.url=https://jobs.example.com,jobsPush.token.existingSecret=jobs-token"},
			map[string]string{"jobs-push": "DaemonSet"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := render(t, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]string)
			for _, o := range all {
				if component, ok := strings.CutPrefix(o.Metadata.Name, "lw-leastwatt-"); ok && (o.Kind == "Deployment" || o.Kind == "DaemonSet") {
					got[component] = o.Kind
				}
				if c.name == "remote" && strings.HasSuffix(o.Kind, "RoleBinding") {
					t.Errorf("the central service has rights in its cluster: %s %s", o.Kind, o.Metadata.Name)
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("it runs %v, want %v", got, c.want)
			}
		})
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
