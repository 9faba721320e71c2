package scheduler

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// broken is a scorer that fails as a whole, or in the number of its answers.
type broken struct{ short bool }

func (b broken) Score(_ context.Context, _ scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	if b.short {
		return make([]scoring.Cost, len(nodes)-1), nil
	}
	return nil, errors.New("out of order")
}

// A scorer that fails holds no pod up.
func TestBrokenScorerStepsAside(t *testing.T) {
	for _, b := range []broken{{}, {short: true}} {
		s := newSite(line(t, "a", 10, 50, 30), line(t, "b", 10, 50, 30))
		p := s.start(t, "")
		p.scorer = b
		s.refresh(t, s.now, 0.1)
		if raw, _ := cycle(t, p, pod("p", "1"), s.infos()); raw != nil {
			t.Errorf("%+v: raw scores are %v", b, raw)
		}
	}
}

// moody is a scorer that fails for a single node, which is asked about only by Score.
type moody struct{ scoring.MarginalPower }

func (m moody) AppendScore(ctx context.Context, costs []scoring.Cost, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	if len(nodes) == 1 {
		return nil, errors.New("out of order")
	}
	return m.MarginalPower.AppendScore(ctx, costs, d, nodes)
}

// A scorer that fails while nodes are scored has no part in the choice.
func TestScorerThatFailsMidwayStepsAside(t *testing.T) {
	s := newSite(curves(t, 40)...)
	s.scorer = moody{}
	p := s.start(t, "")
	s.refresh(t, s.now, 0.1)
	infos := s.infos()
	if raw, scores := cycle(t, p, pod("p", "1"), infos); raw == nil || slices.Max(slices.Collect(maps.Values(scores))) != 100 {
		t.Fatalf("as long as it works scores are %v", scores)
	}
	infos[7].(*fakeNode).add(pod("q", "1"))
	if _, scores := cycle(t, p, pod("p2", "1"), infos); slices.Max(slices.Collect(maps.Values(scores))) != 0 {
		t.Errorf("scores are %v: want all 0", scores)
	}
	if ok, failed := testutil.ToFloat64(p.metrics.scored), testutil.ToFloat64(p.metrics.failed); ok != 1 || failed != 1 {
		t.Errorf("%v cycles were scored and %v failed: want one of each", ok, failed)
	}
	if d := p.decisions.Last(t.Context()); len(d) != 1 || d[0].Name != "p" {
		t.Errorf("decisions are %+v: want that of p alone", d)
	}
}

// Only candidates are scored, each once, whatever gaps are between them.
func TestCandidatesOnly(t *testing.T) {
	s := newSite(curves(t, 40)...)
	p := s.start(t, "")
	counter := &counting{Scorer: scoring.MarginalPower{}, n: make(map[string]int)}
	p.scorer = counter
	s.refresh(t, s.now, 0.1, 0.5)
	all := s.infos()
	some := []fwk.NodeInfo{all[39], all[3], all[4], all[5], all[17]}
	_, scores := cycle(t, p, pod("p", "1"), some)
	if len(counter.n) != len(some) || len(scores) != len(some) {
		t.Errorf("scored %v: want the 5 candidates", counter.n)
	}
	for n, k := range counter.n {
		if k != 1 {
			t.Errorf("%s was scored %d times", n, k)
		}
	}
	best := 0
	for _, v := range scores {
		if v == 100 {
			best++
		}
	}
	if best != 1 {
		t.Errorf("scores are %v: want one at 100", scores)
	}
}

type counting struct {
	scoring.Scorer
	n map[string]int
}

func (c *counting) Score(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	for i := range nodes {
		c.n[nodes[i].Name]++
	}
	return c.Scorer.Score(ctx, d, nodes)
}

func TestRequestsAreCountedAsKubernetesDoes(t *testing.T) {
	cpu := func(s string) v1.ResourceRequirements {
		return v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(s)}}
	}
	p := pod("p", "500m")
	p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "second", Resources: cpu("250m")})
	if got := defaultWants(p); got != 750 {
		t.Errorf("two containers request %dm: want 750", got)
	}
	p.Spec.InitContainers = []v1.Container{{Name: "init", Resources: cpu("2")}}
	if got := defaultWants(p); got != 2000 {
		t.Errorf("with a larger init container %dm: want 2000", got)
	}
	p.Spec.InitContainers = append(p.Spec.InitContainers, v1.Container{Name: "sidecar", Resources: cpu("1500m"),
		RestartPolicy: new(v1.ContainerRestartPolicyAlways)})
	if got := defaultWants(p); got != 2250 {
		t.Errorf("with a sidecar %dm: want 2250", got)
	}
	p.Spec.Overhead = v1.ResourceList{v1.ResourceCPU: resource.MustParse("50m")}
	if got := defaultWants(p); got != 2300 {
		t.Errorf("with overhead %dm: want 2300", got)
	}
	p = pod("p", "500m") // that asks for less than before, which its kubelet has not done yet
	p.Status.ContainerStatuses = []v1.ContainerStatus{{Name: p.Spec.Containers[0].Name, AllocatedResources: cpu("2").Requests, Resources: new(cpu("2"))}}
	if got := defaultWants(p); got != 2000 {
		t.Errorf("before it shrinks in place %dm: want 2000", got)
	}
	p.Status.ContainerStatuses[0].AllocatedResources, p.Status.ContainerStatuses[0].Resources = cpu("500m").Requests, new(cpu("500m"))
	if got := defaultWants(p); got != 500 {
		t.Errorf("after it shrank in place %dm: want 500", got)
	}
	p.Spec.Resources = new(cpu("3"))
	if got := defaultWants(p); got != 3000 {
		t.Errorf("with a request of the whole pod %dm: want 3000", got)
	}
}

// Pods share a signature exactly where they share their cost.
func TestSignature(t *testing.T) {
	s := newSite(line(t, "a", 10, 50, 30))
	p := s.start(t, "")
	sign := func(pd *v1.Pod) string {
		f, st := p.SignPod(t.Context(), pd)
		if !st.IsSuccess() || len(f) != 1 {
			t.Fatalf("signature is %v, %v", f, st)
		}
		v, ok := f[0].Value.(int64)
		if !ok {
			t.Fatalf("signature value is a %T", f[0].Value)
		}
		return f[0].Key + resource.NewMilliQuantity(v, resource.DecimalSI).String()
	}
	if sign(pod("a", "500m")) != sign(pod("b", "0.5")) {
		t.Error("pods of one request have two signatures")
	}
	if sign(pod("a", "500m")) == sign(pod("b", "501m")) || sign(pod("a", "")) == sign(pod("b", "100m")) {
		t.Error("pods of different requests share a signature")
	}
}
