package charttest

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

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
