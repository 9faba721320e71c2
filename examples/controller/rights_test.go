package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/compat"
	"github.com/leastwatt/leastwatt/k8s/controllers"
)

// account makes a service account with what the program always needs and some rules more, and returns its configuration and its role.
func (s *server) account(t *testing.T, name string, more ...rbac.PolicyRule) (*rest.Config, *rbac.ClusterRole) {
	t.Helper()
	role := &rbac.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: append([]rbac.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{"leastwatt.github.io"}, Resources: []string{"*"}, Verbs: []string{"*"}}}, more...)}
	s.apply(t, role, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}},
		&rbac.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: []rbac.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: name}},
			RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: name}})
	file, err := s.cluster.ServiceAccountKubeconfig(t.Context(), namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	return c, role
}

// A leader whose role no longer names its lease, as after an upgrade to a chart with another name for it, ends by itself within its renew
// deadline and a try, though it can let nobody know.
func (s *server) testLeaseOfAnotherName(t *testing.T) {
	leases := func(names ...string) rbac.PolicyRule {
		return rbac.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: names, Verbs: []string{"get", "update"}}
	}
	create := rbac.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}}
	config, role := s.account(t, "renamed", create, leases("before"))
	f, _ := told(t, "--leader-elect", "--leader-elect-name=before", "--leader-elect-lease-duration=6s", "--leader-elect-renew-deadline=4s", "--leader-elect-retry-period=500ms")
	done := make(chan error, 1)
	go func() { done <- f.run(t.Context(), config) }()
	lease := new(coordination.Lease)
	until(t, "it leads", func() bool {
		err := s.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "before"}, lease)
		return err == nil && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != ""
	})
	i := slices.IndexFunc(role.Rules, func(r rbac.PolicyRule) bool { return r.ResourceNames != nil })
	role.Rules[i] = leases("after")
	if err := s.client.Update(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "leader election lost") {
			t.Errorf("it ended with %v", err)
		}
		t.Logf("it led for %.1f s more", time.Since(began).Seconds())
	case <-time.After(patient):
		t.Fatal("it goes on as if it led")
	}
}

// Without a right to read what it goes by, the program says which one is missing, is not ready and goes on as soon as it has it.
func (s *server) testDenied(t *testing.T) {
	config, role := s.account(t, "unread")
	ours := role.Rules[1]
	for i, missing := range map[int]string{0: `cannot watch resource "nodes"`, 1: `cannot watch resource "powermodels" in API group "leastwatt.github.io"`} {
		all := slices.Clone(role.Rules)
		if role.Rules[i].Verbs = []string{"list"}; i == 1 {
			role.Rules[i].Resources = []string{"powermodels"}
			role.Rules = append(role.Rules, rbac.PolicyRule{APIGroups: ours.APIGroups, Verbs: ours.Verbs, Resources: []string{"nodeprofiles", "nodeprofiletemplates", "nodeprofiles/status"}})
		}
		if err := s.client.Update(t.Context(), role); err != nil {
			t.Fatal(err)
		}
		port, err := controlplane.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		f, _ := told(t, fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", port))
		var said lines
		f.log = slog.New(slog.NewTextHandler(&said, nil))
		_, stop := begin(t, f, config)
		until(t, "it says which right is missing", func() bool { return strings.Contains(strings.ReplaceAll(said.String(), `\"`, `"`), missing) })
		if code, body := ask(t, port, "/readyz?verbose"); code != http.StatusInternalServerError || !strings.Contains(body, "[-]resources failed") {
			t.Errorf("without a right it answers %d: %s", code, body)
		}
		role.Rules = all
		if err := s.client.Update(t.Context(), role); err != nil {
			t.Fatal(err)
		}
		until(t, "it is ready with the right", func() bool { code, _ := ask(t, port, "/readyz"); return code == http.StatusOK })
		stop()
	}
}

// What the program may not read of WAO's stands in nobody's way: it says which right is missing on which resource, leaves the profiles that were made of it, goes
// on with all else, and reads it once it may.
func (s *server) testWAODenied(t *testing.T) {
	newer, older := compat.WAOGroups[0].Group, compat.WAOGroups[1].Group
	read := []string{"list", "watch"}
	may := func(group string, verbs []string, resources ...string) rbac.PolicyRule {
		return rbac.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
	}
	config, role := s.account(t, "denied", may(older, read, "nodeconfigs", "nodeconfigtemplates"), may(newer, read[:1], "nodeconfigtemplates"))
	nodeConfig := func(group, name, url string) *unstructured.Unstructured {
		return object(t, `{apiVersion: `+group+`/v1beta1, kind: NodeConfig, metadata: {name: `+name+`, namespace: `+namespace+`},
spec: {nodeName: `+name+`, metricsCollector: {inletTemp: {type: Redfish, endpoint: "`+url+`"}}, predictor: {}}}`)
	}
	made := func(name string) *v1alpha1.NodeProfile { // when the program could read what it was made of
		return &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{controllers.MadeBy: "NodeConfig." + newer + "/" + namespace + "/" + name}},
			Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{{Name: "inletTemp", Type: "redfish", URL: "http://127.0.0.1:9"}}}}
	}
	s.apply(t, newNode("stays", "10.0.0.1", nil), newNode("other", "10.0.0.2", nil), newNode("gone", "10.0.0.3", nil), made("stays"), made("gone"),
		nodeConfig(newer, "stays", "http://127.0.0.1:1"), nodeConfig(older, "other", "http://127.0.0.1:2"))
	f, registry := told(t, "--wao")
	var said lines
	f.log = slog.New(slog.NewTextHandler(&said, nil))
	begin(t, f, config)
	until(t, "it goes by what it may read", func() bool { return urlOf(s.profile(t, "other")) == "http://127.0.0.1:2" })
	until(t, "it counts the nodes of which it may not", func() bool { return problemsBy(t, registry)["NodeConfig."+newer] == 2 })
	for _, name := range []string{"stays", "gone"} {
		if url := urlOf(s.profile(t, name)); url != "http://127.0.0.1:9" {
			t.Errorf("%s has %q of a group that cannot be read, want what it had", name, url)
		}
	}
	for _, right := range []string{`cannot list resource "nodeconfigs" in API group "` + newer, `cannot watch resource "nodeconfigtemplates" in API group "` + newer} {
		if text := strings.ReplaceAll(said.String(), `\"`, `"`); !strings.Contains(text, right) {
			t.Errorf("it does not say %q: %s", right, text)
		}
	}
	role.Rules = append(role.Rules, may(newer, read, "nodeconfigs", "nodeconfigtemplates"))
	if err := s.client.Update(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	until(t, "it goes by what it may read now", func() bool { return urlOf(s.profile(t, "stays")) == "http://127.0.0.1:1" })
	until(t, "and removes what nothing asks for", func() bool { return s.profile(t, "gone") == nil && problemsBy(t, registry)["NodeConfig."+newer] == 0 })
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	all strings.Builder // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}
