package charttest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	kubescheduler "k8s.io/kube-scheduler/config/v1"
	sigsyaml "sigs.k8s.io/yaml"
)

// Each program that lets one replica lead does so by a lease that its role names and that no other release of the namespace has: two releases, or two programs
// of one, do not wait for each other.
func TestTemplateLeases(t *testing.T) {
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	holder := make(map[string]string)
	for _, release := range []string{"leastwatt", "lw", "two"} {
		all, err := renderAs(t, release, path, everything...)
		if err != nil {
			t.Fatal(err)
		}
		had, may := leases(t, all)
		for _, component := range []string{"scheduler", "controller", "shift", "gateway"} {
			name := had[component]
			if name == "" || !slices.Equal(may[component], []string{name}) {
				t.Errorf("%s: the %s leads by the lease %q, and may update %q", release, component, name, may[component])
			}
			if other, ok := holder[name]; ok {
				t.Errorf("the %s of %s and %s wait for one lease: %s", component, release, other, name)
			}
			holder[name] = component + " of " + release
		}
		if len(had) != 4 || len(may) != 4 {
			t.Errorf("%s: leases %v, rights %v: want those of four programs", release, had, may)
		}
	}
}

// leases returns the name of the lease by which each component's replicas lead, and which the component's role lets it update.
func leases(t *testing.T, all []object) (had map[string]string, may map[string][]string) {
	t.Helper()
	had, may = make(map[string]string), make(map[string][]string)
	for _, o := range all {
		component := o.Metadata.Labels["app.kubernetes.io/component"]
		for _, r := range o.Rules {
			if slices.Contains(r.Resources, "leases") && slices.Contains(r.Verbs, "update") {
				may[component] = append(may[component], r.ResourceNames...)
			}
		}
		if text, ok := o.Data["scheduler.yaml"]; ok {
			var c kubescheduler.KubeSchedulerConfiguration
			if err := sigsyaml.Unmarshal([]byte(text), &c); err != nil {
				t.Fatal(err)
			}
			had[component] = c.LeaderElection.ResourceName
		}
		if o.Kind != "Deployment" {
			continue
		}
		var d apps.DeploymentSpec
		if err := json.Unmarshal(o.Spec, &d); err != nil {
			t.Fatal(err)
		}
		for _, a := range d.Template.Spec.Containers[0].Args {
			for _, flag := range []string{"--leader-elect-name=", "-leader-name=", "-lease="} {
				if name, ok := strings.CutPrefix(a, flag); ok {
					had[component] = name
				}
			}
		}
	}
	return had, may
}
