package scheduler

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	resourcehelper "k8s.io/component-helpers/resource"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// The framework's interfaces are wide and we use little of them: what is embedded is nil, so that a use of
// anything else fails loudly.

type fakeNode struct {
	fwk.NodeInfo
	node       *v1.Node
	pods       []fwk.PodInfo
	generation int64
}

func (n *fakeNode) Node() *v1.Node         { return n.node }
func (n *fakeNode) GetPods() []fwk.PodInfo { return n.pods }
func (n *fakeNode) GetGeneration() int64   { return n.generation }

var generations atomic.Int64

func (n *fakeNode) add(p *v1.Pod) {
	n.pods = append(n.pods, newPod(p))
	n.generation = generations.Add(1)
}

type fakePod struct {
	fwk.PodInfo
	pod *v1.Pod
	sum fakeResource
}

// newPod is a pod as kube-scheduler has it.
func newPod(p *v1.Pod) *fakePod {
	return &fakePod{pod: p, sum: fakeResource{list: resourcehelper.PodRequests(p, resourcehelper.PodResourcesOptions{UseStatusResources: true,
		InPlacePodLevelResourcesVerticalScalingEnabled: true})}}
}

func (p *fakePod) GetPod() *v1.Pod                    { return p.pod }
func (p *fakePod) CalculateResource() fwk.PodResource { return fwk.PodResource{Resource: &p.sum} }

type fakeResource struct {
	fwk.Resource
	list v1.ResourceList
}

func (r *fakeResource) GetMilliCPU() int64 { return r.list.Cpu().MilliValue() }

func (r *fakeResource) GetScalarResources() map[v1.ResourceName]int64 {
	m := make(map[v1.ResourceName]int64)
	for name, q := range r.list {
		if name != v1.ResourceCPU && name != v1.ResourceMemory && name != v1.ResourceEphemeralStorage {
			m[name] = q.Value()
		}
	}
	return m
}

type fakeState struct {
	fwk.CycleState
	data  map[fwk.StateKey]fwk.StateData
	group bool
}

func (s *fakeState) IsPodGroupSchedulingCycle() bool { return s.group }

func newState() *fakeState { return &fakeState{data: make(map[fwk.StateKey]fwk.StateData)} }

func (s *fakeState) Write(k fwk.StateKey, d fwk.StateData) { s.data[k] = d }

func (s *fakeState) Read(k fwk.StateKey) (fwk.StateData, error) {
	if d, ok := s.data[k]; ok {
		return d, nil
	}
	return nil, fwk.ErrNotFound
}

type fakeHandle struct {
	fwk.Handle
	client  *fake.Clientset
	factory informers.SharedInformerFactory
	profile string

	activated activations
}

func newHandle(nodes ...*v1.Node) *fakeHandle {
	objs := make([]runtime.Object, len(nodes))
	for i := range nodes {
		objs[i] = nodes[i]
	}
	c := fake.NewClientset(objs...)
	return &fakeHandle{client: c, factory: informers.NewSharedInformerFactory(c, 0), profile: "default-scheduler"}
}

func (h *fakeHandle) SharedInformerFactory() informers.SharedInformerFactory { return h.factory }
func (h *fakeHandle) ProfileName() string                                    { return h.profile }

// fleetSite is a Site whose readings and machines a test sets itself.
type fleetSite struct {
	fleet *scoring.Fleet
	specs []scoring.Spec
	now   time.Time

	scorer scoring.Scorer
	mean   time.Duration      // what utilization is a mean over
	gpu    *float64           // what all GPUs are read at
	power  map[string]float64 // of nodes whose power is read too
}

func (s *fleetSite) Put(scoring.Machine)           {}
func (s *fleetSite) Remove(string)                 {}
func (s *fleetSite) View() *scoring.View           { return s.fleet.View() }
func (s *fleetSite) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// refresh joins readings of utilization, sampled at a time, to the models. NaN stands for a node that could
// not be read.
func (s *fleetSite) refresh(tb testing.TB, sampled time.Time, utilization ...float64) {
	tb.Helper()
	m := make(map[string]*sensors.NodeReadings, len(s.specs))
	for i, sp := range s.specs {
		r := &sensors.NodeReadings{Node: sp.Name, Tried: s.now}
		if u := utilization[i%len(utilization)]; u == u {
			r.Readings = []sensors.Reading{{Kind: sensors.CPUUtilization, Value: u, At: sampled, Mean: s.mean, Source: "test"}}
			if s.gpu != nil {
				r.Readings = append(r.Readings, sensors.Reading{Kind: sensors.GPUUtilization, Value: *s.gpu, At: sampled, Source: "test"})
			}
		} else {
			r.Err = &sensors.Error{Source: "test", Node: sp.Name, Err: sensors.ErrUnreachable}
		}
		if w, ok := s.power[sp.Name]; ok {
			r.Readings = append(r.Readings, sensors.Reading{Kind: sensors.Power, Value: w, At: sampled, Source: "test"})
		}
		m[sp.Name] = r
	}
	if err := s.fleet.Refresh(tb.Context(), sensors.NewSnapshot(s.now, m), s.now); err != nil {
		tb.Fatal(err)
	}
}

// line is a server of so many cores that draws idle watts and so many more for each busy core.
func line(tb testing.TB, name string, cores float64, idle, perCore power.Watts) scoring.Spec {
	tb.Helper()
	c, err := power.EvenPiecewise(idle, idle+perCore*power.Watts(cores))
	if err != nil {
		tb.Fatal(err)
	}
	return scoring.Spec{Name: name, Capacity: power.Capacity{Cores: cores}, Predictor: c, Model: "line"}
}

func newSite(specs ...scoring.Spec) *fleetSite {
	return &fleetSite{fleet: scoring.NewFleet(scoring.FleetOptions{}), specs: specs, now: time.Unix(1_800_000_000, 0)}
}

// start puts the specs in the fleet and makes a plugin of it.
func (s *fleetSite) start(tb testing.TB, args string) *Plugin {
	tb.Helper()
	for _, sp := range s.specs {
		s.fleet.Put(sp)
	}
	f, err := New(func(string) (Setup, error) { return Setup{Site: s, Scorer: s.scorer}, nil }, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	pl, err := f(tb.Context(), rawArgs(args), newHandle())
	if err != nil {
		tb.Fatal(err)
	}
	return pl.(*Plugin)
}

func rawArgs(json string) runtime.Object {
	if json == "" {
		return nil
	}
	return &runtime.Unknown{Raw: []byte(json), ContentType: runtime.ContentTypeJSON}
}

func (s *fleetSite) infos() []fwk.NodeInfo {
	out := make([]fwk.NodeInfo, len(s.specs))
	for i, sp := range s.specs {
		out[i] = &fakeNode{node: node(sp.Name, sp.Capacity.Cores), generation: generations.Add(1)}
	}
	return out
}

func node(name string, cores float64) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.NodeStatus{Capacity: v1.ResourceList{
		v1.ResourceCPU: *resource.NewMilliQuantity(int64(cores*1000), resource.DecimalSI)}}}
}

// pod asks for CPU, a quantity; "" asks for none.
func pod(name, cpu string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)},
		Spec: v1.PodSpec{Containers: []v1.Container{{Name: "main"}}}, Status: v1.PodStatus{Phase: v1.PodPending}}
	if cpu != "" {
		p.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}
	}
	return p
}

// started says that a pod was bound and started at a time.
func started(p *v1.Pod, bound, ran time.Time) *v1.Pod {
	p = p.DeepCopy()
	p.Status.Phase = v1.PodRunning
	p.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(bound)}}
	p.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "main",
		State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.NewTime(ran)}}}}
	return p
}

// cycle runs the plugin as the framework does and returns the scores by node, raw and normalized.
func cycle(tb testing.TB, p *Plugin, pod *v1.Pod, nodes []fwk.NodeInfo) (raw, scores map[string]int64) {
	tb.Helper()
	return cycleIn(tb, p, newState(), pod, nodes)
}

func cycleIn(tb testing.TB, p *Plugin, cs fwk.CycleState, pod *v1.Pod, nodes []fwk.NodeInfo) (raw, scores map[string]int64) {
	tb.Helper()
	raw, scores = make(map[string]int64), make(map[string]int64)
	switch s := p.PreScore(tb.Context(), cs, pod, nodes); {
	case s.IsSkip():
		return nil, nil
	case !s.IsSuccess():
		tb.Fatal(s)
	}
	list := make(fwk.NodeScoreList, len(nodes))
	for i, n := range nodes {
		r, s := p.Score(tb.Context(), cs, pod, n)
		if !s.IsSuccess() {
			tb.Fatal(s)
		}
		list[i] = fwk.NodeScore{Name: n.Node().Name, Score: r}
		raw[list[i].Name] = r
	}
	if s := p.NormalizeScore(tb.Context(), cs, pod, list); !s.IsSuccess() {
		tb.Fatal(s)
	}
	for _, s := range list {
		if s.Score < fwk.MinScore || s.Score > fwk.MaxScore {
			tb.Errorf("node %s: score %d is not within 0 and 100", s.Name, s.Score)
		}
		scores[s.Name] = s.Score
	}
	return raw, scores
}

// curves returns n servers of many kinds.
func curves(tb testing.TB, n int) []scoring.Spec {
	tb.Helper()
	specs := make([]scoring.Spec, n)
	for i := range specs {
		idle, span := power.Watts(40+i%97), power.Watts(100+i%211)
		w := make([]power.Watts, 11)
		for k := range w {
			x := power.Watts(k) / 10
			w[k] = idle + span*(0.7*x+0.3*x*x)
		}
		c, err := power.EvenPiecewise(w...)
		if err != nil {
			tb.Fatal(err)
		}
		specs[i] = scoring.Spec{Name: fmt.Sprintf("node-%05d", i), Capacity: power.Capacity{Cores: float64(16 + i%5*16)}, Predictor: c}
	}
	return specs
}
