package scheduler

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

func defaultWants(p *v1.Pod) int64 {
	u := defaultUsage()
	return u.wants(p).milliCPU
}

// squared is a server of ten cores whose watts rise with the square of its load, so that a cost tells the load.
func squared(t *testing.T, name string) scoring.Spec {
	t.Helper()
	curve, err := power.EvenPiecewise(0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100)
	if err != nil {
		t.Fatal(err)
	}
	s := line(t, name, 10, 0, 0)
	s.Predictor = curve
	return s
}

// wantLoad checks that one core costs on a node what it does at a load.
func wantLoad(t *testing.T, what string, s *fleetSite, raw map[string]int64, node string, load float64) {
	t.Helper()
	curve := s.specs[0].Predictor.(*power.Piecewise)
	if want := math.Round(1000 * float64(curve.At(load+0.1)-curve.At(load))); float64(raw[node]) != want {
		t.Errorf("%s: one core costs %d mW on %s: want %v, as at a load of %v", what, raw[node], node, want, load)
	}
}

// A pod that ended after the sample no longer counts, though the sample shows it; a new sample tells the truth.
func TestPodsThatEndedAreTakenOff(t *testing.T) {
	t.Run("alone", func(t *testing.T) { testPodsThatEnded(t, newSite(squared(t, "n"))) })
	t.Run("among many", func(t *testing.T) {
		testPodsThatEnded(t, newSite(append([]scoring.Spec{squared(t, "n")}, curves(t, 2*fewest)...)...))
	})
}

func testPodsThatEnded(t *testing.T, s *fleetSite) {
	at := time.Unix(1_800_000_000, 0)
	long := at.Add(-time.Hour)
	p := s.start(t, "")
	s.refresh(t, at, 0.5)
	infos := s.infos()
	stays := started(pod("stays", "1"), long, long)
	infos[0].(*fakeNode).add(stays)
	ends := func(name, cpu string) *v1.Pod {
		x := started(pod(name, cpu), long, long)
		x.Spec.NodeName = "n"
		return x
	}
	raw, _ := cycle(t, p, pod("p", "1"), infos)
	wantLoad(t, "before", s, raw, "n", 0.5)
	e := p.work.ended
	e.add(ends("gone", "2"), at.Add(time.Second))
	raw, _ = cycle(t, p, pod("p", "1"), infos) // no generation has changed
	wantLoad(t, "two cores less", s, raw, "n", 0.3)
	e.add(ends("gone", "2"), at.Add(time.Second))
	raw, _ = cycle(t, p, pod("p", "1"), infos)
	wantLoad(t, "told twice", s, raw, "n", 0.3)
	// It had requested far more than the whole server used: its share of that goes, by what else runs there.
	e.add(ends("greedy", "17"), at.Add(2*time.Second))
	raw, _ = cycle(t, p, pod("p", "1"), infos)
	wantLoad(t, "no more than its share", s, raw, "n", 0.5*1/20)
	// Not what the sample cannot show: a pod that started after it, or ended before.
	unseen := started(pod("unseen", "1"), at.Add(time.Second), at.Add(time.Second))
	unseen.Spec.NodeName = "n"
	e.add(unseen, at.Add(2*time.Second))
	e.add(ends("before", "1"), at.Add(-time.Second))
	raw, _ = cycle(t, p, pod("p", "1"), infos)
	wantLoad(t, "unseen", s, raw, "n", 0.5*1/20)
	s.now = at.Add(5 * time.Second)
	s.refresh(t, s.now, 0.1)
	raw, _ = cycle(t, p, pod("p", "1"), infos)
	wantLoad(t, "a new sample", s, raw, "n", 0.1)
}

// A mean over two minutes shows half of what began a minute ago: of what began later too little, which is added, and of what ended
// later too much, which is taken off.
func TestMeansShowWhatIsInTheirMiddle(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	s := newSite(squared(t, "n"))
	p := s.start(t, "")
	s.mean = 2 * time.Minute
	s.refresh(t, at, 0.5)
	infos := s.infos()
	for ago, load := range map[time.Duration]float64{30 * time.Second: 0.6, 90 * time.Second: 0.5} {
		n := infos[0].(*fakeNode)
		n.pods = nil
		n.add(started(pod("young", "1"), at.Add(-ago), at.Add(-ago)))
		raw, _ := cycle(t, p, pod("p", "1"), infos)
		wantLoad(t, fmt.Sprint("started ", ago, " before the end"), s, raw, "n", load)
	}
	for ago, load := range map[time.Duration]float64{90 * time.Second: 0.5, 30 * time.Second: 0.3} {
		n := infos[0].(*fakeNode)
		n.pods = nil
		n.add(started(pod("stays", "1"), at.Add(-time.Hour), at.Add(-time.Hour)))
		gone := started(pod(fmt.Sprint("gone", ago), "2"), at.Add(-time.Hour), at.Add(-time.Hour))
		gone.Spec.NodeName = "n"
		p.work.ended = new(ended)
		p.work.heard = 0
		p.work.ended.add(gone, at.Add(-ago))
		raw, _ := cycle(t, p, pod("p", "1"), infos)
		wantLoad(t, fmt.Sprint("ended ", ago, " before the end"), s, raw, "n", load)
	}
}

func TestWhenPodsRan(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	done := pod("done", "1")
	done.Status.Phase = v1.PodSucceeded
	done.Status.ContainerStatuses = []v1.ContainerStatus{{State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
		StartedAt: metav1.NewTime(at), FinishedAt: metav1.NewTime(at.Add(time.Minute))}}}}
	if from, until := ran(done); from != at.Add(time.Second).UnixNano() || until != at.Add(time.Minute).UnixNano() {
		t.Errorf("ran from %v until %v", from, until)
	}
	e := new(ended)
	for _, p := range []*v1.Pod{pod("pending", "1"), done} {
		e.add(p, at.Add(time.Minute)) // bound nowhere
	}
	done.Spec.NodeName = "n"
	e.add(done, at.Add(time.Hour)) // long ago
	if e.changes.Load() != 0 {
		t.Errorf("%d pods are remembered: want none", e.changes.Load())
	}
	// What is remembered has bounds, and whoever fell behind is told so.
	for i := range 2 * maxEndedLog {
		x := started(pod(fmt.Sprint("x", i), "1"), at, at)
		x.Spec.NodeName = "n"
		e.add(x, at.Add(time.Minute))
	}
	if got := len(e.on("n")); got != maxEnded {
		t.Errorf("%d pods are remembered of a node: want %d", got, maxEnded)
	}
	told := 0
	now, all := e.since(2*maxEndedLog-3, func(string) { told++ })
	if now != 2*maxEndedLog || !all || told != 3 {
		t.Errorf("of 3 changes %d were told, up to %d, %t", told, now, all)
	}
	if _, all := e.since(1, func(string) {}); all {
		t.Error("changes that were forgotten were not missed")
	}
}

// The informer tells which pods end.
func TestFollowsPodsThatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h, e := newHandle(), new(ended)
		p := started(pod("p", "1"), time.Now(), time.Now())
		p.Spec.NodeName = "n"
		if _, err := h.client.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := e.follow(ctx, h); err != nil {
			t.Fatal(err)
		}
		h.factory.Start(ctx.Done())
		h.factory.WaitForCacheSync(ctx.Done())
		synctest.Wait() // the fake client tells nobody what changes between a list and its watch
		if err := h.client.CoreV1().Pods("default").Delete(ctx, "p", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := e.on("n"); len(got) != 1 || got[0].uid != "p" {
			t.Errorf("ended on n: %+v", got)
		}
		cancel()
		h.factory.Shutdown()
	})
}

// What comes first decides: requests instead of dead sensors, or instead of all; without them a dead node is unknown.
func TestUtilizationFromRequests(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	for args, want := range map[string]map[string]float64{
		"":                                       {"read": 0.5},
		`{"utilization":["sensors","requests"]}`: {"read": 0.5, "dead": 0.2},
		`{"utilization":["requests"],"podUsageAssumption":0.5}`: {"read": 0.1, "dead": 0.1},
	} {
		s := newSite(squared(t, "read"), squared(t, "dead"), line(t, "unmodelled", 10, 0, 0))
		s.specs[2].Predictor = nil
		p := s.start(t, args)
		s.refresh(t, at, 0.5, math.NaN(), math.NaN())
		infos := s.infos()
		for _, n := range infos {
			n.(*fakeNode).add(started(pod("a", "1500m"), at.Add(-time.Hour), at.Add(-time.Hour)))
			n.(*fakeNode).add(pod("b", "500m"))
		}
		if args == "" { // b is not in the sample
			want = map[string]float64{"read": 0.55}
		} else if strings.HasPrefix(args, `{"utilization":["sensors`) {
			want = map[string]float64{"read": 0.55, "dead": 0.2}
		}
		one := "1"
		if strings.Contains(args, "0.5") {
			one = "2"
		}
		for round := range 2 {
			raw, scores := cycle(t, p, pod("p", one), infos)
			for _, n := range []string{"read", "dead", "unmodelled"} {
				if load, known := want[n]; known {
					wantLoad(t, args, s, raw, n, load)
				} else if scores[n] != 0 || raw[n] != rawUnknown {
					t.Errorf("%s: %s is known: %d", args, n, raw[n])
				}
			}
			s.refresh(t, at, 0.5, math.NaN(), math.NaN()) // a new view of the same
			if round == 0 && args != "" {
				d := p.decisions.Last(t.Context())
				for _, c := range d[0].Best {
					if (c.Source == "requests") != (c.Node == "dead" || p.args.sources == fromRequests) {
						t.Errorf("%s: %s is explained by %q", args, c.Node, c.Source)
					}
				}
			}
		}
	}
}

func TestSourcesAreVisible(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	s := newSite(line(t, "a", 10, 50, 5), line(t, "b", 10, 50, 5), line(t, "dead", 10, 50, 5))
	for _, sp := range s.specs {
		s.fleet.Put(sp)
	}
	f, err := New(func(string) (Setup, error) { return Setup{Site: s}, nil }, Options{Registerer: r})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := f(t.Context(), rawArgs(`{"utilization":["sensors","requests"]}`), newHandle())
	if err != nil {
		t.Fatal(err)
	}
	s.refresh(t, s.now, 0.5, 0.5, math.NaN())
	cycle(t, pl.(*Plugin), pod("p", "1"), s.infos())
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		if f.GetName() == "leastwatt_utilization_nodes" {
			for _, m := range f.GetMetric() {
				got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	if len(got) != 2 || got["test"] != 2 || got["none"] != 1 {
		t.Errorf("nodes by source are %v", got)
	}
	if n, _ := gauge(t, r, "leastwatt_candidates_assumed_total"); n != 1 {
		t.Errorf("%v candidates were assumed: want 1", n)
	}
}

// A pod's GPUs cost what the model says, and those of pods that no sample shows count.
func TestGPUsOfPods(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	base, err := power.EvenPiecewise(100, 200)
	if err != nil {
		t.Fatal(err)
	}
	gpu, err := power.NewGPU(base, power.GPU{Input: power.Input(sensors.GPUUtilization), Count: 4, Idle: 20, Active: 100, Limit: 95})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(line(t, "gpu", 10, 0, 0), line(t, "plain", 10, 100, 10))
	s.specs[0].Predictor = gpu
	p := s.start(t, `{"gpuResources":["nvidia.com/gpu","amd.com/gpu"],"gpuUsageAssumption":0.5}`)
	s.gpu = new(0.25)
	s.refresh(t, at, 0.5)
	with := func(name, cpu, resourceName string) *v1.Pod {
		x := pod(name, cpu)
		x.Spec.Containers[0].Resources.Requests[v1.ResourceName(resourceName)] = resource.MustParse("2")
		return x
	}
	infos := s.infos()
	raw, scores := cycle(t, p, with("p", "1", "nvidia.com/gpu"), infos)
	// Half of two GPUs of four: activity 0.25 to 0.5, 100 W in all, and 10 W of CPU.
	if raw["gpu"] != 110_000 || scores["plain"] != 0 {
		t.Errorf("raw scores are %v, scores %v", raw, scores)
	}
	infos[0].(*fakeNode).add(with("new", "1", "amd.com/gpu"))
	raw, _ = cycle(t, p, with("p", "1", "nvidia.com/gpu"), infos)
	// From 0.5 to 0.75 the limit of 95 W is in the way: 4·25 W more.
	if raw["gpu"] != 110_000 {
		t.Errorf("with another pod pending: %v", raw)
	}
	infos[0].(*fakeNode).add(with("newer", "1", "amd.com/gpu"))
	raw, _ = cycle(t, p, with("p", "1", "nvidia.com/gpu"), infos)
	if raw["gpu"] != 10_000 {
		t.Errorf("at the limit: %v", raw)
	}
	a, _ := p.SignPod(t.Context(), with("p", "1", "nvidia.com/gpu"))
	b, _ := p.SignPod(t.Context(), pod("p", "1"))
	if len(a) == len(b) {
		t.Error("a pod with GPUs has the signature of one without")
	}
}

// An instance of a divided GPU counts as the share of it that its slices are.
func TestShareOfGPU(t *testing.T) {
	u := defaultUsage()
	u.GPUResources = []string{"nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb", "nvidia.com/mig-7g.80gb", "nvidia.com/mig-1g.10gb.me", "nvidia.com/mig-2g.12gb", "nvidia.com/mig-4g.40gb", "nvidia.com/mig-4g.24gb", "amd.com/mig-1g.10gb"}
	if err := u.validate(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{1, 1. / 7, 3. / 7, 1, 1. / 7, 0.5, 4. / 7, 1, 1} {
		x := pod("p", "1")
		x.Spec.Containers[0].Resources.Requests[v1.ResourceName(u.GPUResources[i])] = resource.MustParse("2")
		node := &fakeNode{}
		node.add(x)
		if got, sum := u.wants(x).gpus, u.summed(node.pods[0]).gpus; math.Abs(got-2*want) > 1e-12 || sum != got {
			t.Errorf("two of %s are %v GPUs, %v by the scheduler's sums: want %v", u.GPUResources[i], got, sum, 2*want)
		}
	}
}

// Which servers are empty is known where it matters, and pods of DaemonSets do not count.
func TestEmptyServers(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	s := newSite(line(t, "open", 10, 50, 10), line(t, "empty", 10, 50, 10))
	for i := range s.specs {
		s.specs[i].Wake = 36_000
	}
	s.scorer = scoring.Waking{Power: scoring.MarginalPower{}, Horizon: time.Hour, SwitchOff: true}
	p := s.start(t, "")
	s.refresh(t, at, 0.5)
	infos := s.infos()
	daemon := started(pod("daemon", "1"), at.Add(-time.Hour), at.Add(-time.Hour))
	daemon.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", Name: "d", UID: "d", Controller: new(true)}}
	for _, n := range infos {
		n.(*fakeNode).add(daemon)
	}
	infos[0].(*fakeNode).add(started(pod("web", "1"), at.Add(-time.Hour), at.Add(-time.Hour)))
	for range 2 {
		raw, _ := cycle(t, p, pod("p", "1"), infos)
		if raw["open"] != 10_000 || raw["empty"] != 20_000 {
			t.Errorf("raw scores are %v: want 10 W, and 10 W for waking the empty one", raw)
		}
		s.now = s.now.Add(5 * time.Second)
		s.refresh(t, s.now, 0.5)
	}
}

// What leaves, and what belongs to the server itself, is no work that keeps it on: pods of a server that was switched off stay in
// the API, terminating, because nobody is there to end them, and so do those that mirror its static pods.
func TestServersWithoutWorkThatStays(t *testing.T) {
	const off, idle, more, waking = 4, 50, 10, 10 // watts; one CPU adds more
	hour := time.Unix(1_800_000_000, 0).Add(-time.Hour)
	pods := map[string]*v1.Pod{"leaves": started(pod("leaves", "1"), hour, hour), "stuck": pod("stuck", "1"), "mirror": started(pod("mirror", "1"), hour, hour)}
	pods["leaves"].DeletionTimestamp, pods["stuck"].DeletionTimestamp = new(metav1.NewTime(hour)), new(metav1.NewTime(hour))
	pods["mirror"].OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "n", Controller: new(true)}}
	for name, pd := range pods {
		s := newSite(line(t, "n", 10, idle, more))
		s.specs[0].Wake = 3600 * waking
		s.scorer = scoring.Waking{Power: scoring.MarginalPower{}, Horizon: time.Hour, SwitchOff: true}
		p := s.start(t, "")
		s.refresh(t, s.now, 0.1)
		infos := s.infos()
		infos[0].(*fakeNode).add(pd)
		if raw, _ := cycle(t, p, pod("p", "1"), infos); raw["n"] != 1000*(more+waking) {
			t.Errorf("%s alone, on: %d mW, want what waking takes too", name, raw["n"])
		}
		s.specs[0].Off, s.specs[0].OffPower = true, off
		s.fleet.Put(s.specs[0])
		s.now = s.now.Add(5 * time.Second)
		s.refresh(t, s.now, 0)
		// What it runs once it is on: the mirrored pod is there again, and so may be one that was stuck.
		if raw, _ := cycle(t, p, pod("p", "1"), infos); raw["n"] < 1000*(idle-off+more+waking) {
			t.Errorf("%s alone, off: %d mW, want at least what it takes to start", name, raw["n"])
		}
	}
}

// A server that is off starts for the first pod that it gets. The next ones cost there what they add to a server that is on, so that
// not every server that is off is started in turn; and a cap counts what it will draw.
func TestOffServerThatWasGivenWork(t *testing.T) {
	const off, idle, more, waking = 4, 50, 10, 10 // watts; one CPU adds more
	s := newSite(line(t, "a", 10, idle, more), line(t, "b", 10, idle, more))
	for i := range s.specs {
		s.specs[i].Off, s.specs[i].OffPower, s.specs[i].Wake = true, off, 3600*waking
	}
	s.scorer = scoring.Waking{Power: scoring.MarginalPower{}, Horizon: time.Hour}
	p := s.start(t, "")
	s.refresh(t, s.now, 0, 0)
	infos := s.infos()
	now := func(when string, a, b int64) {
		t.Helper()
		if raw, _ := cycle(t, p, pod("p", "1"), infos); raw["a"] != a || raw["b"] != b {
			t.Errorf("%s: raw scores are %v, want %d and %d mW", when, raw, a, b)
		}
	}
	cost := func(when string, a, b int64) {
		t.Helper()
		for range 2 {
			now(when, a, b)
			s.now = s.now.Add(5 * time.Second)
			s.refresh(t, s.now, 0, 0)
		}
	}
	const start = 1000 * (idle - off + more + waking)
	cost("both are off", start, start)
	daemon := pod("daemon", "1")
	daemon.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", Name: "d", UID: "d", Controller: new(true)}}
	infos[1].(*fakeNode).add(daemon)
	infos[0].(*fakeNode).add(pod("first", "1"))
	cost("a was given a pod, and b one of a DaemonSet", 1000*more, start+1000*more)

	all, err := NewAll(func(string) (Setup, error) { return Setup{Site: s}, nil }, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := all[CapName](t.Context(), rawArgs(`{"caps":[{"name":"hall","label":"hall","watts":150}]}`), newHandle())
	if err != nil {
		t.Fatal(err)
	}
	powerCap := pl.(*PowerCap)
	powerCap.nodes = nil
	for _, n := range infos {
		n.Node().Labels = map[string]string{"hall": "h"}
	}
	// 60 W of a, and of b 50 W and 10 W for each CPU, of which the DaemonSet has one.
	for request, want := range map[string]bool{"1": true, "3": true, "4": false} {
		cs := newState()
		if _, st := powerCap.PreFilter(t.Context(), cs, pod("p", request), infos); !st.IsSuccess() {
			t.Fatal(st)
		}
		if st := powerCap.Filter(t.Context(), cs, pod("p", request), infos[1]); st.IsSuccess() != want {
			t.Errorf("%s CPUs on b: %v, want %t", request, st, want)
		}
	}

	n := infos[0].(*fakeNode)
	n.pods, n.generation = nil, generations.Add(1)
	cost("the pod did not get there", start, start+1000*more)

	// The same before there is another view.
	n.add(pod("second", "1"))
	now("a was given another pod", 1000*more, start+1000*more)
	n.pods, n.generation = nil, generations.Add(1)
	now("that did not get there either", start, start+1000*more)

	hour := s.now.Add(-time.Hour)
	n.add(started(pod("old", "1"), hour, hour))
	cost("a runs a pod that every sample shows, which is not looked at again", 1000*more, start+1000*more)
}

// A server that is said to be off after it was looked at is looked at again: nobody had asked whether it is empty before.
func TestServerThatIsSwitchedOff(t *testing.T) {
	const off, idle, more, waking = 4, 50, 10, 10 // watts; one CPU adds more
	s := newSite(line(t, "a", 10, idle, more), line(t, "b", 10, idle, more))
	s.scorer = scoring.Waking{Power: scoring.MarginalPower{}, Horizon: time.Hour}
	p := s.start(t, "")
	s.refresh(t, s.now, 0, 0)
	infos := s.infos()
	hour := s.now.Add(-time.Hour)
	infos[1].(*fakeNode).add(started(pod("old", "1"), hour, hour))
	cost := func(when string, a, b int64) {
		t.Helper()
		if raw, _ := cycle(t, p, pod("p", "1"), infos); raw["a"] != a || raw["b"] != b {
			t.Errorf("%s: raw scores are %v, want %d and %d mW", when, raw, a, b)
		}
	}
	cost("both are on", 1000*more, 1000*more)
	for _, sp := range s.specs {
		sp.Off, sp.OffPower, sp.Wake = true, off, 3600*waking
		s.fleet.Put(sp)
	}
	s.now = s.now.Add(5 * time.Second)
	s.refresh(t, s.now, 0, 0)
	cost("both are said to be off, and b has a pod", 1000*(idle-off+more+waking), 1000*more)
}

func TestUsageArgs(t *testing.T) {
	for json, want := range map[string]string{
		`{"utilization":["requests","sensors"]}`: "utilization",
		`{"utilization":[]}`:                     "utilization",
		`{"gpuResources":[""]}`:                  "gpuResources[0]",
		`{"gpuResources":["nvidia.com/gpu "]}`:   "gpuResources[0]",
		`{"gpuResources":["cpu"]}`:               "gpuResources[0]",
		`{"gpuResources":["x.io/a","x.io/a"]}`:   "gpuResources[1]",
		`{"gpuUsageAssumption":1.1}`:             "gpuUsageAssumption",
		`{"gpuUsageAssumption":0}`:               "gpuUsageAssumption",
	} {
		if _, err := DecodeArgs(rawArgs(json)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("arguments %s: error %v: want one with %q", json, err, want)
		}
	}
}
