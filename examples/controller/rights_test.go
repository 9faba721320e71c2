package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
