package charttest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	kubescheduler "k8s.io/kube-scheduler/config/v1"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
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

// Whatever a release is called, its objects have names that Kubernetes takes, and what helm says after the installation names objects that it has installed. A
// pod's name needs no look: the API server generates none over 63 characters, where a host's name would be cut that the leader is found by.
func TestNotesOfLongNames(t *testing.T) {
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	h := helm{program: controlplane.HelmForTest(t), home: t.TempDir()}
	const long = "production-of-the-north-east-of-our-old-town-and-of-more" // Helm takes 53
	args := append(slices.Clone(everything), "--set=endpointSelector.cleanup=true,shift.replicas=1,shift.persistence.enabled=true")
	said := []struct {
		kind string
		name *regexp.Regexp
	}{
		{"ClusterRole", regexp.MustCompile(`the ClusterRole ([^)]+)\)`)}, {"Lease", regexp.MustCompile(`get lease (\S+)`)}, {"Service", regexp.MustCompile(`http://([^.]+)\.leastwatt\.svc`)},
		{"Secret", regexp.MustCompile(`get secret (\S+)`)}, {"DaemonSet", regexp.MustCompile(`pod of (\S+) is renewed`)}, {"DaemonSet", regexp.MustCompile(`rollout status ds/(\S+)`)},
		{"PersistentVolumeClaim", regexp.MustCompile(`the claims (\S+) and`)}, {"PersistentVolumeClaim", regexp.MustCompile(`the claims \S+ and (\S+)\.`)},
	}
	for _, n := range []int{20, 36, 37, 53} {
		for _, release := range []string{long[:n-1] + "x", "leastwatt-" + long[:n-11] + "x", strings.Repeat("a.", n)[:n-1] + "x", "7" + long[:n-2] + "x"} {
			out, err := h.run(t.Context(), append([]string{"install", release, path, "--dry-run=client", "--namespace=" + namespace}, args...)...)
			if err != nil {
				t.Fatal(err)
			}
			out, notes, _ := strings.Cut(out, "\nNOTES:\n")
			_, out, _ = strings.Cut(out, "\nMANIFEST:\n")
			all := decoded(t, out)
			there := make(map[string]bool)
			elected, _ := leases(t, all)
			for _, o := range all {
				there[o.Kind+" "+o.Metadata.Name] = true
				if wrong := validation.IsDNS1123Subdomain(o.Metadata.Name); wrong != nil {
					t.Errorf("%s: %s %q: %v", release, o.Kind, o.Metadata.Name, wrong)
				}
				if wrong := validation.IsDNS1123Label(o.Metadata.Name); o.Kind == "Service" && wrong != nil { // since Kubernetes 1.37 it may begin with a digit
					t.Errorf("%s: %s %q: %v", release, o.Kind, o.Metadata.Name, wrong)
				}
			}
			for _, name := range elected {
				there["Lease "+name] = true
			}
			for _, s := range said {
				if m := s.name.FindStringSubmatch(notes); m == nil || !there[s.kind+" "+m[1]] {
					t.Errorf("%s: %q, and no such %s is installed:\n%s", release, m, s.kind, notes)
				}
			}
		}
	}
}
