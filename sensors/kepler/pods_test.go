package kepler_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

// Labels and names are those of Kepler's docs/user/metrics.md.
const podText = `# TYPE kepler_node_cpu_watts gauge
kepler_node_cpu_watts{zone="package",path="p",node_name="n"} 50
# TYPE kepler_pod_cpu_watts gauge
kepler_pod_cpu_watts{pod_id="1",pod_name="web",pod_namespace="shop",state="running",zone="package",node_name="n"} 10.5
kepler_pod_cpu_watts{pod_id="1",pod_name="web",pod_namespace="shop",state="running",zone="core",node_name="n"} 7
kepler_pod_cpu_watts{pod_id="1",pod_name="web",pod_namespace="shop",state="running",zone="dram",node_name="n"} 1.5
kepler_pod_cpu_watts{pod_id="2",pod_name="job",pod_namespace="batch",state="running",zone="package",node_name="n"} 3
kepler_pod_cpu_watts{pod_id="3",pod_name="gone",pod_namespace="batch",state="terminated",zone="package",node_name="n"} 9
kepler_pod_cpu_watts{pod_id="4",pod_name="odd",pod_namespace="batch",state="running",zone="package",node_name="n"} -4
kepler_pod_cpu_watts{pod_id="5",pod_name="",pod_namespace="batch",state="running",zone="package",node_name="n"} 4
`

// Of a pod, zones that overlap count once; what is terminated, impossible or nameless is not there.
func TestPods(t *testing.T) {
	s := source(t, map[string]kepler.Endpoint{"n": {URL: serve(t, text(podText))}})
	var kept kepler.Pods
	s.KeepPods = &kept
	before := time.Now()
	if _, err := s.Read(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	want := []kepler.NodePods{{Node: "n", Pods: []kepler.Pod{
		{Namespace: "batch", Name: "job", CPUPower: 3},
		{Namespace: "shop", Name: "web", CPUPower: 12},
	}}}
	got := kept.All()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(time.Time{})); diff != "" {
		t.Error(diff)
	}
	for _, p := range got[0].Pods {
		if p.At.Before(before) || p.At.After(time.Now()) {
			t.Errorf("%s was measured at %v", p.Name, p.At)
		}
	}
}

// What a node's pods drew last stays, with its time, when the exporter fails.
func TestPodsOfFailingNode(t *testing.T) {
	var broken atomic.Bool
	s := source(t, map[string]kepler.Endpoint{"n": {URL: serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		text(podText).ServeHTTP(w, r)
	}))}})
	var kept kepler.Pods
	s.KeepPods = &kept
	if _, err := s.Read(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	first := kept.All()
	broken.Store(true)
	if _, err := s.Read(t.Context(), "n"); !errors.Is(err, sensors.ErrDevice) {
		t.Fatalf("err = %v", err)
	}
	if diff := cmp.Diff(first, kept.All()); diff != "" {
		t.Error(diff)
	}
}
