package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/parallelize"

	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// aHandle is of the framework what a plugin needs to start.
type aHandle struct {
	fwk.Handle
	factory informers.SharedInformerFactory
}

func (h aHandle) SharedInformerFactory() informers.SharedInformerFactory { return h.factory }
func (aHandle) ProfileName() string                                      { return "default-scheduler" }
func (aHandle) Parallelizer() fwk.Parallelizer                           { return parallelize.NewParallelizer(1) }

// aFleet is a site that nobody has to read.
type aFleet struct{ *scoring.Fleet }

func (aFleet) Put(scoring.Machine)           {}
func (aFleet) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// randomPods makes pods with all that Kubernetes 1.37 counts in requests.
type randomPods struct {
	*rand.Rand
	made int
}

func (r *randomPods) chance(p float64) bool { return r.Float64() < p }

var someCPU = []string{"", "", "0", "1m", "100m", "333m", "500m", "1", "1500m", "2"}

func (r *randomPods) requests() v1.ResourceList {
	l := v1.ResourceList{}
	if cpu := someCPU[r.IntN(len(someCPU))]; cpu != "" {
		l[v1.ResourceCPU] = resource.MustParse(cpu)
	}
	if r.chance(0.3) {
		l[v1.ResourceMemory] = resource.MustParse("64Mi")
	}
	if r.chance(0.2) {
		l["nvidia.com/gpu"] = *resource.NewQuantity(1+r.Int64N(2), resource.DecimalSI)
	}
	return l
}

func (r *randomPods) container(kind string, i int) v1.Container {
	return v1.Container{Name: fmt.Sprint(kind, i), Resources: v1.ResourceRequirements{Requests: r.requests()}}
}

// pending is a pod that nobody has placed.
func (r *randomPods) pending() *v1.Pod {
	r.made++
	name := fmt.Sprint("p", r.made)
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}, Status: v1.PodStatus{Phase: v1.PodPending}}
	for i := range 1 + r.IntN(3) {
		p.Spec.Containers = append(p.Spec.Containers, r.container("c", i))
	}
	for i := range r.IntN(5) {
		c := r.container("i", i)
		if r.chance(0.5) {
			c.RestartPolicy = new(v1.ContainerRestartPolicyAlways)
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	if r.chance(0.2) {
		p.Spec.Overhead = v1.ResourceList{v1.ResourceCPU: resource.MustParse("250m"), v1.ResourceMemory: resource.MustParse("120Mi")}
	}
	if r.chance(0.3) {
		whole := r.requests()
		delete(whole, "nvidia.com/gpu")
		p.Spec.Resources = &v1.ResourceRequirements{Requests: whole}
	}
	return p
}

// bound is a pod on a node in some state of its life, which may be resized in place, or be about to.
func (r *randomPods) bound() *v1.Pod {
	p := r.pending()
	p.Spec.NodeName = "n"
	p.Status.Phase = []v1.PodPhase{v1.PodPending, v1.PodRunning, v1.PodRunning, v1.PodRunning, v1.PodUnknown}[r.IntN(5)]
	hour := metav1.NewTime(time.Now().Add(-time.Hour))
	p.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: hour}}
	if r.chance(0.3) {
		reason := []string{v1.PodReasonDeferred, v1.PodReasonInfeasible}[r.IntN(2)]
		p.Status.Conditions = append(p.Status.Conditions, v1.PodCondition{Type: v1.PodResizePending, Status: v1.ConditionTrue, Reason: reason})
	}
	status := func(c v1.Container) v1.ContainerStatus {
		s := v1.ContainerStatus{Name: c.Name, State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: hour}}}
		if r.chance(0.6) {
			s.AllocatedResources = r.requests()
		}
		if r.chance(0.6) {
			s.Resources = &v1.ResourceRequirements{Requests: r.requests()}
		}
		return s
	}
	for _, c := range p.Spec.Containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, status(c))
	}
	for _, c := range p.Spec.InitContainers {
		p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, status(c))
	}
	if r.chance(0.4) {
		p.Status.AllocatedResources = r.requests()
		p.Status.Resources = &v1.ResourceRequirements{Requests: r.requests()}
	}
	if r.chance(0.2) {
		p.DeletionTimestamp = &hour
	}
	return p
}

// What pods are expected to use is what kube-scheduler's own NodeInfo counts of them, over thousands of random pods: before they are
// placed, once they are bound, while they are resized in place; a pod without a request for CPU is expected to use what the arguments
// say, and one that has ended uses nothing.
func TestUsageIsWhatTheSchedulerCounts(t *testing.T) {
	const cores, assumed, seeds = 1000, 0.75, 300
	fleet := scoring.NewFleet(scoring.FleetOptions{})
	base := power.Linear{Idle: 100, Peak: 1100}
	gpu, err := power.NewGPU(base, power.GPU{Input: power.Input(sensors.GPUUtilization), Count: 1000, Idle: 20, Active: 100})
	if err != nil {
		t.Fatal(err)
	}
	fleet.Put(scoring.Spec{Name: "n", Capacity: power.Capacity{Cores: cores}, Predictor: gpu, Model: "line"})
	now := time.Now()
	if err := fleet.Refresh(t.Context(), sensors.NewSnapshot(now, map[string]*sensors.NodeReadings{"n": {Node: "n", Tried: now}}), now); err != nil {
		t.Fatal(err)
	}
	var decisions scheduler.Decisions
	all, err := scheduler.New(func(string) (scheduler.Setup, error) {
		return scheduler.Setup{Site: aFleet{fleet}, Scorer: scoring.MarginalPower{}}, nil
	}, scheduler.Options{Decisions: &decisions})
	if err != nil {
		t.Fatal(err)
	}
	args := &runtime.Unknown{Raw: []byte(`{"utilization":["requests"],"defaultPodCPU":"750m","keepDecisions":1}`)}
	pl, err := all(t.Context(), args, aHandle{factory: informers.NewSharedInformerFactory(fake.NewClientset(), 0)})
	if err != nil {
		t.Fatal(err)
	}
	plugin := pl.(*scheduler.Plugin)
	// what kube-scheduler counts of a pod
	counts := func(p *v1.Pod) (cpu, gpus float64) {
		if p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed {
			return 0, 0
		}
		info := framework.NewNodeInfo(p)
		cpu = float64(info.GetRequested().GetMilliCPU()) / 1000
		if cpu == 0 {
			cpu = assumed
		}
		return cpu, float64(info.GetRequested().GetScalarResources()["nvidia.com/gpu"])
	}
	for seed := range uint64(seeds) {
		r := &randomPods{Rand: rand.New(rand.NewPCG(seed, 5))}
		var on []*v1.Pod
		var cpu, gpus float64
		for range r.IntN(12) {
			p := r.bound()
			if r.chance(0.1) {
				p.Status.Phase = v1.PodSucceeded
			}
			on = append(on, p)
			c, g := counts(p)
			cpu, gpus = cpu+c, gpus+g
		}
		info := framework.NewNodeInfo(on...)
		info.SetNode(&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}})
		next := r.pending()
		for round := range 2 {
			p := r.pending()
			if round == 1 { // once the one of the round before is assumed to be there
				there := next.DeepCopy()
				there.Spec.NodeName = "n"
				info.AddPod(there)
				c, g := counts(next)
				cpu, gpus = cpu+c, gpus+g
			} else {
				p = next
			}
			cs := framework.NewCycleState()
			if st := plugin.PreScore(t.Context(), cs, p, []fwk.NodeInfo{info}); !st.IsSuccess() {
				t.Fatalf("%v: %v", st, fleet.View().Node("n").Err)
			}
			raw, st := plugin.Score(t.Context(), cs, p, info)
			if !st.IsSuccess() {
				t.Fatal(st)
			}
			if st := plugin.NormalizeScore(t.Context(), cs, p, fwk.NodeScoreList{{Name: "n", Score: raw}}); !st.IsSuccess() {
				t.Fatal(st)
			}
			d := decisions.Last(t.Context())[0]
			c, g := counts(p)
			if math.Abs(d.Demand.CPU-c) > 1e-9 || d.Demand.GPUs != g {
				t.Errorf("seed %d: a pod to be placed is expected to use %v cores and %v GPUs, and kube-scheduler counts %v and %v: %+v", seed, d.Demand.CPU, d.Demand.GPUs, c, g, p.Spec)
			}
			b := d.Best[0]
			if math.Abs(b.UtilizationBefore*cores-cpu) > 1e-6 || math.Abs(b.UtilizationAfter*cores-cpu-c) > 1e-6 {
				t.Errorf("seed %d: the node is expected to be busy with %v cores and with %v after it, and kube-scheduler counts %v and %v more", seed,
					b.UtilizationBefore*cores, b.UtilizationAfter*cores, cpu, c)
			}
			// 1 W a core; a GPU of 100 W more while it is busy.
			if before := 100 + cpu + 1000*20 + 100*gpus; math.Abs(float64(b.Before)-before) > 1e-6 || math.Abs(float64(b.After)-before-c-100*g) > 1e-6 {
				t.Errorf("seed %d: the node is expected to draw %v and then %v, want %v and %v more", seed, b.Before, b.After, before, c+100*g)
			}
		}
		if t.Failed() {
			return
		}
	}
}
