package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

// profiled runs the program by NodeProfiles, a Secret and a PowerModel: it has the same metrics, those of
// pods too, and what a profile that is deleted told is gone. One that is started before the resource definitions lives and is not ready
// before they come.
func profiled(ctx context.Context, t *testing.T, c *controlplane.Cluster, core kubernetes.Interface, program string, servers ...*server) error {
	early, late, err := start(ctx, c, "metrics-adapter-early", program, "/livez", "--leastwatt-profiles", "--startup-grace=100ms")
	if err != nil {
		return err
	}
	defer late.Stop()
	ready := func() error {
		_, err := c.Get(ctx, fmt.Sprintf("https://127.0.0.1:%d/readyz", early))
		return err
	}
	if err := ready(); err == nil {
		t.Error("an adapter without resource definitions and without a file is ready")
	}
	if _, err := envtest.InstallCRDs(c.RESTConfig(), envtest.CRDInstallOptions{Paths: []string{"../../k8s/chart/crds"}, ErrorIfPathMissing: true, MaxTime: time.Minute}); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	api, err := client.New(c.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	text, err := model.Marshal(&model.Model{Name: "straight", Form: power.Linear{Idle: 50, Peak: 250}})
	if err != nil {
		return err
	}
	account := []rbac.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "metrics-adapter"}}
	objects := []client.Object{
		&rbac.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "profiles"}, Rules: []rbac.PolicyRule{
			{APIGroups: []string{v1alpha1.Group}, Resources: []string{"nodeprofiles", "powermodels"}, Verbs: []string{"list", "watch"}}}},
		&rbac.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "profiles"}, Subjects: account, RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: "profiles"}},
		&rbac.Role{ObjectMeta: metav1.ObjectMeta{Name: "bmc", Namespace: namespace}, Rules: []rbac.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"bmc"}, Verbs: []string{"get"}}}},
		&rbac.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "bmc", Namespace: namespace}, Subjects: account, RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: "bmc"}},
		&v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bmc", Namespace: namespace},
			Data: map[string][]byte{"username": []byte("monitor"), "password": []byte("secret"), "ca.crt": servers[0].ca}},
		&v1alpha1.PowerModel{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1alpha1.PowerModelSpec{JSON: string(text), NodeSelector: &metav1.LabelSelector{}}},
	}
	for _, s := range servers {
		objects = append(objects, &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: s.name}, Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{
			{Type: "redfish", URL: s.bmcURL, SecretName: "bmc"}, {Type: "kepler", URL: s.keplerURL}}}})
	}
	for _, o := range objects {
		if err := api.Create(ctx, o); err != nil {
			return err
		}
	}
	if err := until(ctx, func(context.Context) (bool, error) { return ready() == nil, nil }); err != nil {
		return fmt.Errorf("waiting for the adapter that was started before the resource definitions: %w: %w", err, ready())
	}
	if body, err := c.Get(ctx, fmt.Sprintf("https://127.0.0.1:%d/metrics", early)); err != nil || !strings.Contains(string(body), "\nleastwatt_profiles_followed 1\n") {
		t.Errorf("its metrics do not say that it follows profiles: %v", err)
	}
	file := filepath.Join(t.TempDir(), "site.yaml") // for what no profile says
	if err := os.WriteFile(file, []byte("models: [{kind: prior}]\nscoring: {maxAge: 6s}\n"), 0o600); err != nil {
		return err
	}
	port, p, err := start(ctx, c, "metrics-adapter-profiles", program, "/readyz", "--leastwatt-config="+file, "--leastwatt-profiles", "--leastwatt-secrets-namespace="+namespace)
	if err != nil {
		return err
	}
	defer p.Stop()
	expect := func(path string, want map[string]string) error {
		var got map[string]string
		if err := until(ctx, func(ctx context.Context) (bool, error) {
			body, err := c.Get(ctx, fmt.Sprintf("https://127.0.0.1:%d%s%s", port, custom, path))
			if err != nil {
				got = map[string]string{"error": err.Error()}
				return want == nil, nil
			}
			var list struct{ Items []item }
			if err := json.Unmarshal(body, &list); err != nil {
				return false, err
			}
			got = make(map[string]string)
			for _, i := range list.Items {
				got[i.DescribedObject.Name] = i.Value.String()
			}
			return maps.Equal(got, want), nil
		}); err != nil {
			return fmt.Errorf("%s is %v: want %v: %w", path, got, want, err)
		}
		return nil
	}
	for path, want := range map[string]map[string]string{
		"/nodes/*/power_watts":                         {"n1": "90", "n2": "210"},
		"/nodes/*/predicted_power_watts":               {"n1": "150", "n2": "150"},
		"/nodes/*/marginal_power_watts":                {"n1": "25", "n2": "25"},
		"/nodes/*/inlet_temp":                          {"n1": "24500m", "n2": "24500m"},
		"/namespaces/shop/pods/db-1/cpu_power_watts":   {"db-1": "4500m"},
		"/namespaces/shop/metrics/cpu_power_watts":     {"shop": "15"},
		"/nodes/*/power_watts?labelSelector=rack%3Dn2": {"n2": "210"},
	} {
		if err := expect(path, want); err != nil {
			return err
		}
	}
	if err := api.Delete(ctx, &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n2"}}); err != nil {
		return err
	}
	if err := expect("/nodes/*/power_watts", map[string]string{"n1": "90"}); err != nil {
		return err
	}
	if err := expect("/namespaces/shop/pods/db-1/cpu_power_watts", nil); err != nil {
		return err
	}
	return expect("/namespaces/shop/metrics/cpu_power_watts", map[string]string{"shop": "10500m"})
}
