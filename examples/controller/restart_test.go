package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
)

// actions returns what a registry's counter of actions says.
func actions(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		if f.GetName() == "leastwatt_profile_actions_total" {
			for _, m := range f.GetMetric() {
				all[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return all
}

// After a restart all profiles are looked at again, with a few requests and no write: 500 of them, or 5,000 where LEASTWATT_SCALE is set, which
// takes minutes, nearly all of them for making the nodes.
func (s *server) testRestart(t *testing.T) {
	nodes := 500
	if os.Getenv("LEASTWATT_SCALE") != "" {
		nodes = 5000
	}
	s.parallel(t, nodes, func(ctx context.Context, i int) error {
		n := &v1.Node{}
		n.Name, n.Labels = fmt.Sprintf("scale-%04d", i), map[string]string{"scale": "yes"}
		n.Status = newNode(n.Name, fmt.Sprintf("10.9.%d.%d", i/256, i%256), nil).Status
		return s.client.Create(ctx, n) // of nodes, the API server takes status along
	})
	t.Cleanup(func() {
		_ = s.client.DeleteAllOf(context.Background(), &v1.Node{}, client.MatchingLabels{"scale": "yes"})
		_ = s.client.DeleteAllOf(context.Background(), &v1alpha1.NodeProfile{})
	})
	x := newTemplate("scale", "http://{{.Address}}:28282/metrics", map[string]string{"scale": "yes"})
	x.Spec.Template.Spec.Sensors = nil // what sensors cost is not the question
	x.Spec.Template.Spec.Hardware = "{{.Name}}"
	s.apply(t, x)
	all := func() int {
		var list v1alpha1.NodeProfileList
		if err := s.client.List(t.Context(), &list, client.MatchingLabels{"made": "scale"}); err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	begin := time.Now()
	calls, registry, stop := s.run(t, "--interval=30s", "--kube-api-qps=2000", "--kube-api-burst=2000", "--workers=16")
	patience := 5 * time.Minute // makers of tests share a machine
	within(t, patience, "every node has its profile", func() bool { return all() == nodes })
	t.Logf("%d profiles made in %.1f s: %d writes", nodes, time.Since(begin).Seconds(), calls.writes.Load())
	within(t, patience, "every status is written", func() bool { return actions(t, registry)["status"] >= float64(nodes) })
	stop()

	begin = time.Now()
	calls, registry, stop = s.run(t, "--interval=30s")
	until(t, "every profile was looked at", func() bool { return actions(t, registry)["look"] >= float64(nodes) })
	took := time.Since(begin)
	got := actions(t, registry)
	reads, watches, writes := calls.reads.Load(), calls.watches.Load(), calls.writes.Load()
	t.Logf("%d profiles reconciled %.1f s after a restart: %d reads, %d watches, %d writes; %v", nodes, took.Seconds(), reads, watches, writes, got)
	if got["create"]+got["update"]+got["delete"] != 0 {
		t.Errorf("a restart changed profiles: %v", got)
	}
	// The writes are of status that the first run had not come to.
	if reads+watches > 60 || writes > int64(nodes)/10 {
		t.Errorf("%d reads, %d watches, %d writes", reads, watches, writes)
	}
	stop()
}

// The same with a NodeConfig for each node: a restart changes nothing, and a change of one NodeConfig has its node looked at and no other.
func (s *server) testRestartWAO(t *testing.T) {
	nodes := 200
	if os.Getenv("LEASTWATT_SCALE") != "" {
		nodes = 5000
	}
	config := func(name string, i int) *unstructured.Unstructured {
		return object(t, fmt.Sprintf(`
apiVersion: node.waok8s.github.io/v1beta1
kind: NodeConfig
metadata: {name: %s, namespace: leastwatt-system, labels: {scale: "yes"}}
spec:
  nodeName: %s
  metricsCollector:
    inletTemp: {type: Redfish, endpoint: "http://127.0.0.1:%d", fetchInterval: 24h}
    deltaP: {type: "", endpoint: ""}
  predictor: {}
`, name, name, 20000+i))
	}
	name := func(i int) string { return fmt.Sprintf("wao-%04d", i) }
	if err := s.client.DeleteAllOf(t.Context(), &v1alpha1.NodeProfile{}); err != nil { // what other tests left
		t.Fatal(err)
	}
	s.parallel(t, nodes, func(ctx context.Context, i int) error {
		n := &v1.Node{}
		n.Name, n.Labels = name(i), map[string]string{"scale": "yes"}
		n.Status = newNode(n.Name, "10.9.0.1", nil).Status
		return errors.Join(s.client.Create(ctx, n), s.client.Create(ctx, config(n.Name, i)))
	})
	t.Cleanup(func() {
		_ = s.client.DeleteAllOf(context.Background(), config("x", 0), client.InNamespace(namespace), client.MatchingLabels{"scale": "yes"})
		_ = s.client.DeleteAllOf(context.Background(), &v1.Node{}, client.MatchingLabels{"scale": "yes"})
		_ = s.client.DeleteAllOf(context.Background(), &v1alpha1.NodeProfile{})
	})
	_, registry, stop := s.run(t, "--wao", "--interval=30s", "--kube-api-qps=2000", "--kube-api-burst=2000", "--workers=16")
	patience := 5 * time.Minute
	within(t, patience, "every node has its profile", func() bool {
		var list v1alpha1.NodeProfileList
		if err := s.client.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Items) == nodes
	})
	within(t, patience, "every status is written", func() bool { return actions(t, registry)["status"] >= float64(nodes) })
	stop()

	begin := time.Now()
	calls, registry, _ := s.run(t, "--wao", "--interval=30s")
	until(t, "every profile was looked at", func() bool { return actions(t, registry)["look"] >= float64(nodes) })
	took := time.Since(begin)
	got := actions(t, registry)
	reads, watches, writes := calls.reads.Load(), calls.watches.Load(), calls.writes.Load()
	t.Logf("%d profiles of NodeConfigs reconciled %.1f s after a restart: %d reads, %d watches, %d writes; %v", nodes, took.Seconds(), reads, watches, writes, got)
	if got["create"]+got["update"]+got["delete"] != 0 {
		t.Errorf("a restart changed profiles: %v", got)
	}
	if reads+watches > 60 || writes > int64(nodes)/10 {
		t.Errorf("%d reads, %d watches, %d writes", reads, watches, writes)
	}
	change := func(i, port int) {
		t.Helper()
		old := object(t, "{apiVersion: node.waok8s.github.io/v1beta1, kind: NodeConfig}")
		if err := s.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name(i)}, old); err != nil {
			t.Fatal(err)
		}
		now := config(name(i), port)
		now.SetResourceVersion(old.GetResourceVersion())
		if err := s.client.Update(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		until(t, "the profile follows", func() bool { return urlOf(s.profile(t, name(i))) == fmt.Sprintf("http://127.0.0.1:%d", 20000+port) })
	}
	// What a change makes to be looked at is so before what the next makes: the queue keeps their order.
	change(0, 30000)
	before := actions(t, registry)["look"]
	for i := range 5 {
		change(i, 30001+i)
	}
	if looks := actions(t, registry)["look"] - before; looks >= float64(nodes) {
		t.Errorf("%v nodes were looked at for five changes of one NodeConfig each: want one or two a change", looks)
	}
}

func (s *server) parallel(t *testing.T, n int, f func(ctx context.Context, i int) error) {
	t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range next {
				if err := f(t.Context(), i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
