package main

import (
	"math"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// The sensors follow the pods that run: not those that wait, and each once, until it is gone.
func TestPlantFollowsPods(t *testing.T) {
	fleet := mustFleet(t, 4, 1)
	p := newPlant(fleet, 1)
	h := p.handler()
	pod := newPod("ns", "a", "s", 4000)
	pod.UID = types.UID("a")
	expect := func(what string, server, pods int, cores float64) {
		t.Helper()
		for i, a := range p.accounts() {
			want := account{}
			if i == server {
				want.Pods, want.Cores = pods, cores
			}
			want.Watts = fleet[i].watts(want.Cores / fleet[i].cores())
			if a != want {
				t.Errorf("%s: %s has %+v, want %+v", what, fleet[i].name, a, want)
			}
		}
	}
	h.OnAdd(pod, false)
	expect("waiting", -1, 0, 0)
	pod = pod.DeepCopy()
	pod.Spec.NodeName = fleet[2].name
	h.OnUpdate(nil, pod)
	expect("bound", -1, 0, 0)
	pod = pod.DeepCopy()
	pod.Status.Phase = v1.PodRunning
	_, moved := p.watch()
	h.OnUpdate(nil, pod)
	expect("running", 2, 1, 4)
	select {
	case <-moved:
	default:
		t.Error("a waiter was not told")
	}
	h.OnUpdate(nil, pod)
	expect("seen twice", 2, 1, 4)
	h.OnDelete(cache.DeletedFinalStateUnknown{Obj: pod})
	expect("deleted", -1, 0, 0)
	h.OnDelete(pod)
	expect("deleted twice", -1, 0, 0)
	pod.Spec.NodeName = "elsewhere"
	h.OnAdd(pod, false)
	expect("on a foreign node", -1, 0, 0)
}

// The noise has no bias, and a sensor never shows what cannot be.
func TestMeasure(t *testing.T) {
	fleet := mustFleet(t, 1, 1)
	p := newPlant(fleet, 1)
	pod := newPod("ns", "a", "s", int64(fleet[0].hardware.Threads)*1000)
	pod.Spec.NodeName, pod.Status.Phase = fleet[0].name, v1.PodRunning
	p.see(pod)
	const n = 10000
	var watts, inlet float64
	for range n {
		m := p.measure(0)
		if m.utilization > 1 || m.utilization < 0.9 {
			t.Fatalf("a full server shows utilization %v", m.utilization)
		}
		watts += float64(m.watts)
		inlet += float64(m.inlet)
	}
	if got, want := watts/n, float64(fleet[0].watts(1)); math.Abs(got/want-1) > 0.001 {
		t.Errorf("mean of the power sensor %v, truth %v", got, want)
	}
	if got, want := inlet/n, float64(fleet[0].inletAt(1)); math.Abs(got-want) > 0.02 {
		t.Errorf("mean of the inlet sensor %v, truth %v", got, want)
	}
}
