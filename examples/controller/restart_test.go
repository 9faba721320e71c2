package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
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
