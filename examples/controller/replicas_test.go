package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	coordination "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// Two processes of the program: one leads, makes profiles and reads sensors. It is killed, and the other does so, after
// the lease has ended; at no time do both.
func (s *server) testReplicas(t *testing.T) {
	program := controlplane.ProgramForTest(t, "controller")
	lease := controlplane.LeaseDuration
	replicas := make(map[string]*controlplane.Process)
	for _, name := range []string{"replica-a", "replica-b"} {
		path := filepath.Join(t.TempDir(), name) // clients say their program's name, which tells the replicas apart
		if err := os.Symlink(program, path); err != nil {
			t.Fatal(err)
		}
		port, err := controlplane.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.cluster.Start(t.Context(), controlplane.Program{Name: name, Path: path, Ready: s.cluster.Answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", port)), Args: []string{
			"--kubeconfig=" + s.cluster.Kubeconfig(), "--secrets-namespace=" + namespace, "--leader-elect", "--leader-elect-name=replicas", "--leader-elect-namespace=" + v1.NamespaceDefault, "--interval=500ms", "--metrics-bind-address=0",
			fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", port), fmt.Sprint("--leader-elect-lease-duration=", lease),
			fmt.Sprint("--leader-elect-renew-deadline=", lease*5/6), "--leader-elect-retry-period=500ms"}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Stop()
		replicas[name] = p
	}
	exporter := listen(t, nil, emulate.NewKepler("r0", machine, emulate.KeplerOptions{}))
	rack := map[string]string{"replicas": "yes"}
	s.apply(t, newTemplate("replicas", exporter+"/metrics", rack))
	grow := func(from, to int) []string {
		var names []string
		for i := from; i < to; i++ {
			names = append(names, fmt.Sprint("r", i))
			s.apply(t, newNode(names[len(names)-1], "127.0.0.1", rack))
		}
		return names
	}
	read := func(names []string) func() bool {
		return func() bool {
			return !slices.ContainsFunc(names, func(n string) bool {
				p := s.profile(t, n)
				return p == nil || p.Status.LastRead == nil
			})
		}
	}
	held := func() (string, int32) {
		l := new(coordination.Lease)
		if err := s.client.Get(t.Context(), client.ObjectKey{Namespace: v1.NamespaceDefault, Name: "replicas"}, l); err != nil {
			t.Fatal(err)
		}
		if l.Spec.HolderIdentity == nil || l.Spec.LeaseTransitions == nil {
			return "", 0
		}
		return *l.Spec.HolderIdentity, *l.Spec.LeaseTransitions
	}
	some := grow(0, 10)
	until(t, "ten nodes have profiles that are read", read(some))
	first := s.writers(t)
	if len(first) != 1 {
		t.Fatalf("profiles were written by %v: want one replica", first)
	}
	holder, transitions := held()
	if err := replicas[first[0]].Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Delete(t.Context(), &v1.Node{ObjectMeta: newNode("r0", "", nil).ObjectMeta}); err != nil {
		t.Fatal(err)
	}
	more := grow(10, 20)
	until(t, "the other replica reads ten more", read(more))
	until(t, "and removes what lost its node", func() bool { return s.profile(t, "r0") == nil })
	if now, n := held(); now == holder || n != transitions+1 {
		t.Errorf("the lease went from %q to %q, transition %d after %d", holder, now, n, transitions)
	}
	if all := s.writers(t); len(all) != 2 || all[0] != first[0] || all[1] == first[0] {
		t.Errorf("profiles were written by %v in turn: want two replicas, one after the other", all)
	}
}

// writers returns the replicas that wrote profiles, in turn.
func (s *server) writers(t *testing.T) (order []string) {
	t.Helper()
	writes, err := s.cluster.Writes()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writes {
		replica := w.Program == "replica-a" || w.Program == "replica-b"
		if replica && w.Resource == "nodeprofiles" && (len(order) == 0 || order[len(order)-1] != w.Program) {
			order = append(order, w.Program)
		}
	}
	return order
}
