package charttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// upgrades are releases that follow each other: each switches on one thing, and off what the one before had switched on.
var upgrades = []string{
	"scheduler.enabled=false",
	"scheduler.replicas=1,scheduler.mode=shadow",
	"scheduler.profiles=true,scheduler.metricsServer=true,secrets={bmc}",
	"scheduler.extraProfiles[0].schedulerName=green,scheduler.extraProfiles[0].objective.minimize=grams,scheduler.powerCap.enabled=true,scheduler.powerCap.args.caps[0].name=pdu,scheduler.powerCap.args.caps[0].watts=9",
	"controller.enabled=true",
	"controller.enabled=true,controller.compatibility.wao=true,controller.compatibility.waoLabels=true",
	"controller.enabled=true,controller.compatibility.peaksConfigMap=kube-system/peaks,controller.metricsServer=true",
	"controller.enabled=true,profileSecrets.namespace=bmcs",
	"metricsAdapter.enabled=true",
	"metricsAdapter.enabled=true,metricsAdapter.replicas=2,metricsAdapter.tls.existingSecret=mine,metricsAdapter.tls.caBundle=bWluZQ==",
	"metricsAdapter.enabled=true,metricsAdapter.custom=false",
	"endpointSelector.enabled=true",
	"endpointSelector.enabled=true,endpointSelector.cleanup=true",
	"gateway.enabled=true",
	"shift.enabled=true",
	"shift.enabled=true,shift.replicas=1,shift.persistence.enabled=true",
	"shift.enabled=true,shift.replicas=1,shift.persistence.enabled=true,shift.persistence.existingClaim=mine",
	"shift.enabled=true,shift.webhook.enabled=true,shift.kueue=true",
	"shift.enabled=true,shift.budgetNamespaces={bmcs},shift.tell.zone=DE",
	"jobs.enabled=true",
	"jobs.enabled=true,jobs.kubernetes=false,jobs.nodes=name,jobs.persistence.existingClaim=mine,jobs.token.existingSecret=mine",
	"jobs.enabled=true,jobs.namespace=bmcs,jobs.ingress.enabled=true,jobs.ingress.host=a.example,jobs.ingress.tlsSecret=tls,jobsPush.enabled=true",
	"networkPolicy.enabled=false",
	"existingConfigMap=mine",
	"monitoring.podMonitors.enabled=true",
	"monitoring.rules.enabled=true,monitoring.dashboard.enabled=true,commonLabels.team=a",
}

// Whatever is switched on or off, the release can be upgraded to it: nothing that cannot change is to change, and nothing is left behind but the claims
// that are to be kept. In the end it is what it was at first.
func TestChartUpgrades(t *testing.T) {
	bin, program := controlplane.ForTest(t, ""), controlplane.HelmForTest(t)
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		for _, name := range []string{namespace, "bmcs"} {
			if _, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
		x := &installation{T: t, helm: helm{program, t.TempDir(), c}, kubelet: kubelet{c, client}}
		if err := x.define(ctx, monitoringDefinitions); err != nil {
			return err
		}
		path, err := chart()
		if err != nil {
			return err
		}
		if _, err := x.helm.run(ctx, "install", "lw", path, "--namespace="+namespace); err != nil {
			return err
		}
		first, err := x.manifest(ctx)
		if err != nil {
			return err
		}
		claims := make(map[string]bool)
		for _, set := range append(slices.Clone(upgrades), "scheduler.enabled=true") {
			if out, err := x.helm.run(ctx, "upgrade", "lw", path, "--namespace="+namespace, "--set="+set); err != nil {
				t.Errorf("%s: %v\n%s", set, err, out)
				continue
			}
			if err := x.whole(ctx, claims); err != nil {
				return fmt.Errorf("%s: %w", set, err)
			}
			if t.Failed() {
				return fmt.Errorf("after the upgrade to %s", set)
			}
		}
		for component, more := range map[string]string{"jobs": "", "shift": ",shift.replicas=1,shift.persistence.enabled=true"} {
			if _, err := x.helm.run(ctx, "upgrade", "lw", path, "--namespace="+namespace, "--set="+component+".enabled=true,"+component+".persistence.storageClassName=fast"+more); err == nil ||
				!strings.Contains(err.Error(), component+".persistence.existingClaim") {
				t.Errorf("another storage class for the claim that %s has: %v", component, err)
			}
		}
		if err := x.whole(ctx, claims); err != nil {
			return err
		}
		last, err := x.manifest(ctx)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(first, last); diff != "" {
			t.Errorf("with all switched off again, it is not what it was:\n%s", diff)
		}
		if want := []string{"lw-leastwatt-jobs", "lw-leastwatt-shift"}; !slices.Equal(slices.Sorted(maps.Keys(claims)), want) {
			t.Errorf("the claims %v are kept, want %v", claims, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// manifest is what the release consists of, by kind, namespace and name.
func (x *installation) manifest(ctx context.Context) (map[string]unstructured.Unstructured, error) {
	text, err := x.helm.run(ctx, "get", "manifest", "lw", "--namespace="+namespace)
	if err != nil {
		return nil, err
	}
	all := make(map[string]unstructured.Unstructured)
	for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 1<<16); ; {
		var o unstructured.Unstructured
		if err := d.Decode(&o.Object); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if len(o.Object) > 0 {
			all[identity(o)] = o
		}
	}
}

func identity(o unstructured.Unstructured) string {
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// whole compares the cluster with the release: every object of it is there, as it says, and no other but the claims that earlier ones made.
func (x *installation) whole(ctx context.Context, claims map[string]bool) error {
	want, err := x.manifest(ctx)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	for _, kind := range []string{"v1 serviceaccounts", "v1 secrets", "v1 configmaps", "v1 services", "v1 persistentvolumeclaims", "apps/v1 deployments", "apps/v1 daemonsets", "policy/v1 poddisruptionbudgets",
		"rbac.authorization.k8s.io/v1 roles", "rbac.authorization.k8s.io/v1 rolebindings", "rbac.authorization.k8s.io/v1 clusterroles", "rbac.authorization.k8s.io/v1 clusterrolebindings",
		"networking.k8s.io/v1 networkpolicies", "networking.k8s.io/v1 ingresses", "apiregistration.k8s.io/v1 apiservices", "admissionregistration.k8s.io/v1 validatingwebhookconfigurations",
		"monitoring.coreos.com/v1 podmonitors", "monitoring.coreos.com/v1 prometheusrules"} {
		version, resource, _ := strings.Cut(kind, " ")
		group, err := schema.ParseGroupVersion(version)
		if err != nil {
			return err
		}
		list, err := client.Resource(group.WithResource(resource)).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=lw"})
		if err != nil {
			return err
		}
		for _, o := range list.Items {
			said, ok := want[identity(o)]
			switch {
			case ok:
				delete(want, identity(o))
				for _, field := range []string{"spec", "data", "rules", "subjects", "webhooks"} {
					for _, problem := range contains(o.Object[field], said.Object[field], field) {
						x.Errorf("%s: %s", identity(o), problem)
					}
				}
			case resource != "persistentvolumeclaims":
				x.Errorf("%s is left behind", identity(o))
			case !claims[o.GetName()]:
				x.Errorf("the claim %s is there, and nobody asked for it", o.GetName())
			}
			if resource == "persistentvolumeclaims" {
				claims[o.GetName()] = true
			}
		}
	}
	if len(want) > 0 {
		x.Errorf("not there: %v", slices.Sorted(maps.Keys(want)))
	}
	return nil
}

// contains tells where an object of the cluster is not what the release says; what the API server fills in is no matter. Lists are as long as said.
func contains(has, said any, at string) (problems []string) {
	switch said := said.(type) {
	case map[string]any:
		in, _ := has.(map[string]any)
		for key, value := range said {
			problems = append(problems, contains(in[key], value, at+"."+key)...)
		}
	case []any:
		in, _ := has.([]any)
		if len(in) != len(said) {
			return []string{fmt.Sprintf("%s has %d elements, want %d: %v", at, len(in), len(said), in)}
		}
		for i, value := range said {
			problems = append(problems, contains(in[i], value, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case nil: // as left out
	default:
		a, errA := json.Marshal(has)
		b, errB := json.Marshal(said)
		if errA != nil || errB != nil || string(a) != string(b) {
			problems = append(problems, fmt.Sprintf("%s is %s, want %s", at, a, b))
		}
	}
	return problems
}
