package scheduler

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
)

type activations chan map[string]*v1.Pod

func (h *fakeHandle) Activate(_ klog.Logger, pods map[string]*v1.Pod) { h.activated <- pods }

// capped makes the plugin over a site.
func capped(t *testing.T, s *fleetSite, args string) (*PowerCap, *fakeHandle) {
	t.Helper()
	for _, sp := range s.specs {
		s.fleet.Put(sp)
	}
	all, err := NewAll(func(string) (Setup, error) { return Setup{Site: s}, nil }, Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := newHandle()
	h.activated = make(activations)
	pl, err := all[CapName](t.Context(), rawArgs(args), h)
	if err != nil {
		t.Fatal(err)
	}
	p := pl.(*PowerCap)
	p.nodes = nil
	return p, h
}

// allowed runs a cycle and returns the nodes that pass, and why others do not.
func allowed(t *testing.T, p *PowerCap, pod *v1.Pod, nodes []fwk.NodeInfo, simulate func(cs fwk.CycleState) fwk.CycleState) (pass string, why map[string]string) {
	t.Helper()
	var cs fwk.CycleState = newState()
	if _, st := p.PreFilter(t.Context(), cs, pod, nodes); !st.IsSuccess() {
		t.Fatal(st)
	}
	if simulate != nil {
		cs = simulate(cs)
	}
	var names []string
	why = make(map[string]string)
	for _, n := range nodes {
		switch st := p.Filter(t.Context(), cs, pod, n); st.Code() {
		case fwk.Success:
			names = append(names, n.Node().Name)
		case fwk.Unschedulable, fwk.UnschedulableAndUnresolvable:
			why[n.Node().Name] = st.Message()
		default:
			t.Fatal(st)
		}
	}
	return strings.Join(names, " "), why
}

func inRacks(nodes []fwk.NodeInfo, racks ...string) []fwk.NodeInfo {
	for i, n := range nodes {
		if r := racks[i]; r != "" {
			n.Node().Labels = map[string]string{"rack": r}
		}
	}
	return nodes
}

func TestPowerCapOfNodes(t *testing.T) {
	s := newSite(line(t, "a", 10, 100, 10), line(t, "b", 10, 100, 10), line(t, "dead", 10, 100, 10))
	p, _ := capped(t, s, `{"caps":[{"name":"breaker","watts":170,"groups":{"b":200}}]}`)
	s.refresh(t, s.now, 0.5, 0.5, math.NaN()) // 150 W
	infos := s.infos()
	for cpu, want := range map[string]string{"2": "a b dead", "3": "b dead", "5": "b dead", "6": "b dead", "": "a b dead"} {
		if got, why := allowed(t, p, pod("p", cpu), infos, nil); got != want {
			t.Errorf("a pod of %q cores may go to %q: want %q (%v)", cpu, got, want, why)
		}
	}
	_, why := allowed(t, p, pod("p", "3"), infos, nil)
	if want := `power cap "breaker": a would draw 10 W more than 170 W`; why["a"] != want {
		t.Errorf("the reason is %q: want %q", why["a"], want)
	}
	// A pod that no sample shows counts.
	infos[0].(*fakeNode).add(pod("assumed", "1500m"))
	if got, _ := allowed(t, p, pod("p", "1"), infos, nil); got != "b dead" {
		t.Errorf("beside a pod that is on its way: %q", got)
	}
	p.args.Unknown = "reject"
	if got, why := allowed(t, p, pod("p", "1"), infos, nil); got != "b" || !strings.Contains(why["dead"], "too little is known") {
		t.Errorf("with unknown nodes rejected: %q, %v", got, why)
	}
}

func TestPowerCapOfGroups(t *testing.T) {
	s := newSite(line(t, "a", 10, 100, 10), line(t, "b", 10, 100, 20), line(t, "c", 10, 100, 10), line(t, "free", 10, 100, 10), line(t, "dead", 10, 100, 10))
	p, _ := capped(t, s, `{"caps":[{"name":"rack","label":"rack","watts":395,"groups":{"r2":1000}},{"name":"node","watts":260}]}`)
	s.refresh(t, s.now, 0.5, 0.5, 0.5, 0.5, math.NaN())
	infos := inRacks(s.infos(), "r1", "r1", "r2", "", "r1")
	for cpu, want := range map[string]string{
		"2":   "a b c free dead", // rack r1 draws 350 W, and 20 or 40 more
		"3":   "a c free dead",   // 60 W more on b is too much for the rack
		"4":   "a c free dead",
		"10":  "c free dead", // counts as full load
		"500": "c free dead",
	} {
		if got, why := allowed(t, p, pod("p", cpu), infos, nil); got != want {
			t.Errorf("a pod of %s cores may go to %q: want %q (%v)", cpu, got, want, why)
		}
	}
	p.args.Unknown = "reject"
	if got, _ := allowed(t, p, pod("p", "1"), infos, nil); got != "c free" {
		t.Errorf("with unknown nodes rejected: %q: want the groups without one", got)
	}
	p.args.Unknown = "allow"
	// Of the dead node the power is measured after all: 60 W that the rack has not left.
	s.power = map[string]float64{"dead": 60}
	s.refresh(t, s.now, 0.5, 0.5, 0.5, 0.5, math.NaN())
	if got, why := allowed(t, p, pod("p", "1"), infos, nil); got != "c free" || !strings.Contains(why["dead"], `"rack": r1`) {
		t.Errorf("with a measured node: %q, %v", got, why)
	}
}

// Preemption asks what would be if pods were gone; what it tries on a copy leaves the cycle as it is.
func TestPowerCapPreemption(t *testing.T) {
	s := newSite(line(t, "a", 10, 100, 10), line(t, "b", 10, 100, 10))
	p, _ := capped(t, s, `{"caps":[{"name":"rack","label":"rack","watts":330}]}`)
	s.refresh(t, s.now, 0.8, 0.5)
	infos := inRacks(s.infos(), "r1", "r1")
	if got, _ := allowed(t, p, pod("p", "2"), infos, nil); got != "" {
		t.Fatalf("allowed on %q: want nowhere", got)
	}
	got, _ := allowed(t, p, pod("p", "2"), infos, func(cs fwk.CycleState) fwk.CycleState {
		d, err := cs.Read(capKey)
		if err != nil {
			t.Fatal(err)
		}
		trial := newState()
		trial.Write(capKey, d.Clone())
		if st := p.RemovePod(t.Context(), trial, pod("p", "2"), newPod(pod("victim", "3")), infos[0]); !st.IsSuccess() {
			t.Fatal(st)
		}
		if st := p.Filter(t.Context(), cs, pod("p", "2"), infos[0]); st.Code() != fwk.Unschedulable {
			t.Errorf("the trial changed the cycle: %v", st)
		}
		return trial
	})
	if got != "a b" {
		t.Errorf("with three cores freed, allowed on %q: want a b", got)
	}
	// A trial of a trial leaves the first as it was.
	got, _ = allowed(t, p, pod("p", "2"), infos, func(cs fwk.CycleState) fwk.CycleState {
		p.RemovePod(t.Context(), cs, pod("p", "2"), newPod(pod("victim", "1")), infos[0])
		d, err := cs.Read(capKey)
		if err != nil {
			t.Fatal(err)
		}
		trial := newState()
		trial.Write(capKey, d.Clone())
		p.RemovePod(t.Context(), trial, pod("p", "2"), newPod(pod("another", "3")), infos[0])
		return cs
	})
	if got != "" {
		t.Errorf("with one core freed, and three more on a copy, allowed on %q: want nowhere", got)
	}
	got, _ = allowed(t, p, pod("p", "2"), infos, func(cs fwk.CycleState) fwk.CycleState {
		p.RemovePod(t.Context(), cs, pod("p", "2"), newPod(pod("victim", "3")), infos[0])
		p.AddPod(t.Context(), cs, pod("p", "2"), newPod(pod("nominated", "3")), infos[1])
		return cs
	})
	if got != "" {
		t.Errorf("with three cores moved, allowed on %q: want nowhere", got)
	}
}

// A pod of which a node's model cannot tell what its GPUs draw takes no power away from the node, coming or going: it counts with
// its cores, as it does once it is there.
func TestPowerCapSimulatesGPUs(t *testing.T) {
	s := newSite(line(t, "a", 10, 100, 10), line(t, "b", 10, 100, 10))
	p, _ := capped(t, s, `{"caps":[{"name":"rack","label":"rack","watts":310}]}`)
	s.refresh(t, s.now, 0.5, 0.5) // 300 W
	infos := inRacks(s.infos(), "r1", "r1")
	learner := pod("learner", "1")
	learner.Spec.Containers[0].Resources.Requests["nvidia.com/gpu"] = resource.MustParse("1")
	for name, x := range map[string]struct {
		simulate func(cs fwk.CycleState)
		fits     map[string]string // by the cores of the pod
	}{
		"comes": {func(cs fwk.CycleState) { p.AddPod(t.Context(), cs, pod("p", "1"), newPod(learner), infos[0]) },
			map[string]string{"0.5": "", "1": ""}},
		"goes": {func(cs fwk.CycleState) { p.RemovePod(t.Context(), cs, pod("p", "1"), newPod(learner), infos[0]) },
			map[string]string{"2": "a b", "3": ""}},
		"comes and goes": {func(cs fwk.CycleState) {
			p.AddPod(t.Context(), cs, pod("p", "1"), newPod(learner), infos[0])
			p.RemovePod(t.Context(), cs, pod("p", "1"), newPod(learner), infos[0])
		}, map[string]string{"1": "a b", "2": ""}},
	} {
		for cpu, want := range x.fits {
			got, why := allowed(t, p, pod("p", cpu), infos, func(cs fwk.CycleState) fwk.CycleState { x.simulate(cs); return cs })
			if got != want {
				t.Errorf("a GPU's pod %s: one of %s cores may go to %q: want %q (%v)", name, cpu, got, want, why)
			}
		}
	}
}

// What rejects says which group would be how much too high, in few words for many nodes, that nobody else's pods are evicted for it, and whether
// evicting could help at all.
func TestPowerCapReasons(t *testing.T) {
	s := newSite(line(t, "a", 10, 100, 10), line(t, "b", 10, 100, 10), line(t, "dead", 10, 100, 10))
	p, _ := capped(t, s, `{"caps":[{"name":"pdu","label":"rack","watts":305},{"name":"node","watts":180}]}`)
	s.refresh(t, s.now, 0.5, 0.5, math.NaN())
	infos := inRacks(s.infos(), "r1", "r1", "r2")
	for _, x := range []struct {
		cpu, node, unknown, want string
		code                     fwk.Code
	}{
		{"1", "a", "allow", `power cap "pdu": r1 would draw 5 W more than 305 W (preemption evicts nothing from its other nodes)`, fwk.Unschedulable},
		{"2.321", "b", "allow", `power cap "pdu": r1 would draw 19 W more than 305 W (preemption evicts nothing from its other nodes)`, fwk.Unschedulable},
		{"2.329", "a", "allow", `power cap "pdu": r1 would draw 19 W more than 305 W (preemption evicts nothing from its other nodes)`, fwk.Unschedulable},
		{"0.501", "a", "allow", `power cap "pdu": r1 would draw 0.1 W more than 305 W (preemption evicts nothing from its other nodes)`, fwk.Unschedulable},
		{"1", "dead", "reject", `power cap "pdu": too little is known of what r2 draws`, fwk.UnschedulableAndUnresolvable},
	} {
		p.args.Unknown = x.unknown
		cs := newState()
		if _, st := p.PreFilter(t.Context(), cs, pod("p", x.cpu), infos); !st.IsSuccess() {
			t.Fatal(st)
		}
		i := slices.IndexFunc(infos, func(n fwk.NodeInfo) bool { return n.Node().Name == x.node })
		if st := p.Filter(t.Context(), cs, pod("p", x.cpu), infos[i]); st.Code() != x.code || st.Message() != x.want {
			t.Errorf("a pod of %s cores on %s: %v %q, want %v %q", x.cpu, x.node, st.Code(), st.Message(), x.code, x.want)
		}
	}
	p.args.Unknown, p.args.Caps = "allow", p.args.Caps[1:]
	if _, why := allowed(t, p, pod("p", "4"), infos, nil); why["a"] != `power cap "node": a would draw 10 W more than 180 W` {
		t.Errorf("of a node's own cap it says %q", why["a"])
	}
}

// A group counts whole, also where the framework tries a pod group on some of its nodes.
func TestPowerCapCountsAllNodes(t *testing.T) {
	s := newSite(line(t, "a", 10, 100, 10), line(t, "b", 10, 100, 10))
	p, _ := capped(t, s, `{"caps":[{"name":"rack","label":"rack","watts":310}]}`)
	s.refresh(t, s.now, 0.5)
	infos := inRacks(s.infos(), "r1", "r1")
	p.nodes = func() ([]fwk.NodeInfo, error) { return infos, nil }
	if got, _ := allowed(t, p, pod("p", "2"), infos[:1], nil); got != "" {
		t.Errorf("allowed on %q: want nowhere, 300 W are drawn", got)
	}
	if got, _ := allowed(t, p, pod("p", "1"), infos[:1], nil); got != "a" {
		t.Errorf("allowed on %q: want a", got)
	}
}

// A pod that was rejected is tried again, because power falls without an event.
func TestPowerCapTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(line(t, "a", 10, 100, 10), line(t, "b", 10, 100, 10))
		p, h := capped(t, s, `{"caps":[{"name":"n","watts":120}],"retry":"30s"}`)
		s.refresh(t, s.now, 0.5)
		start := time.Now()
		allowed(t, p, pod("p", "1"), s.infos(), nil)
		if pods := <-h.activated; len(pods) != 1 || pods["default/p"] == nil || time.Since(start) != 30*time.Second {
			t.Errorf("after %v %v are tried again", time.Since(start), pods)
		}
		select {
		case pods := <-h.activated:
			t.Errorf("%v are tried again though they were not rejected again", pods)
		case <-time.After(5 * time.Minute):
		}
	})
}

func TestPowerCapEvents(t *testing.T) {
	p := &PowerCap{args: CapArgs{Caps: []Cap{{Name: "rack", Label: "rack", Watts: 100}}}}
	events, err := p.EventsToRegister(t.Context())
	if err != nil || len(events) != 2 {
		t.Fatalf("%v, %v", events, err)
	}
	a, b := node("n", 1), node("n", 1)
	a.Labels, b.Labels = map[string]string{"rack": "r1"}, map[string]string{"rack": "r1", "other": "x"}
	if hint, _ := p.roomOnNode(klog.Background(), nil, a, b); hint != fwk.QueueSkip {
		t.Error("a label that is nobody's business wakes the pod")
	}
	b.Labels["rack"] = "r2"
	if hint, _ := p.roomOnNode(klog.Background(), nil, a, b); hint != fwk.Queue {
		t.Error("a node that moved to another rack does not wake the pod")
	}
	if hint, _ := p.roomOnNode(klog.Background(), nil, b, nil); hint != fwk.Queue {
		t.Error("a node that left its rack does not wake the pod")
	}
	b.Labels = nil
	if hint, _ := p.roomOnNode(klog.Background(), nil, b, nil); hint != fwk.QueueSkip {
		t.Error("a node that left and was in no rack wakes the pod")
	}
	if hint, _ := p.roomOnNode(klog.Background(), nil, nil, b); hint != fwk.Queue {
		t.Error("a new node does not wake the pod")
	}
}

func TestCapArgs(t *testing.T) {
	const ok = `"caps":[{"name":"a","watts":1}]`
	for json, want := range map[string]string{
		`{}`: "caps is empty",
		`{"caps":[{"name":"a","watts":1,"nodeLabels":{"ra ck":"x"}}]}`:  "caps[0].nodeLabels",
		`{"caps":[{"name":"a","watts":1,"nodeLabels":{"rack":"x y"}}]}`: "caps[0].nodeLabels",
		`{"caps":[{"name":"a","watts":1,"groups":{"":5}}]}`:             "caps[0].groups",
		`{"caps":[{"watts":1}]}`:                                        "caps[0].name",
		`{"caps":[{"name":"a"}]}`:                                       "caps[0].watts",
		`{"caps":[{"name":"a","watts":-1}]}`:                            "caps[0].watts",
		`{"caps":[{"name":"a","groups":{"r":0}}]}`:                      "caps[0].groups",
		`{"caps":[{"name":"a","watts":1,"label":"a b"}]}`:               "caps[0].label",
		`{"caps":[{"name":"a","watts":1,"labels":{}}]}`:                 "caps[0].labels",
		`{` + ok + `,"unknown":"maybe"}`:                                "unknown",
		`{` + ok + `,"retry":"10ms"}`:                                   "retry",
		`{` + ok + `,"retry":"often"}`:                                  "retry",
		`{` + ok + `,"podUsageAssumption":0}`:                           "podUsageAssumption",
	} {
		if _, err := DecodeCapArgs(rawArgs(json)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), CapName) {
			t.Errorf("%s: error %v: want one with %q", json, err, want)
		}
	}
	if a, err := DecodeCapArgs(rawArgs(`{` + ok + `}`)); err != nil || a.Unknown != "allow" || a.retry != 15*time.Second {
		t.Errorf("arguments are %+v, %v", a, err)
	}
}

func BenchmarkPowerCap(b *testing.B) {
	s := newSite(curves(b, 5000)...)
	for _, sp := range s.specs {
		s.fleet.Put(sp)
	}
	usage := defaultUsage()
	p := &PowerCap{site: s, args: CapArgs{Caps: []Cap{{Name: "rack", Label: "rack", Watts: 1e6}}, Usage: usage}}
	if err := p.args.Usage.validate(); err != nil {
		b.Fatal(err)
	}
	p.work.usage = &p.args.Usage
	s.refresh(b, s.now, 0.3)
	infos := s.infos()
	for i, n := range infos {
		n.Node().Labels = map[string]string{"rack": fmt.Sprint("r", i%100)}
	}
	x := pod("p", "1")
	for b.Loop() {
		cs := newState()
		p.PreFilter(b.Context(), cs, x, infos)
		for _, n := range infos {
			p.Filter(b.Context(), cs, x, n)
		}
	}
}
