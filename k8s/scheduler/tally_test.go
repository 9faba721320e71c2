package scheduler

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	fwk "k8s.io/kube-scheduler/framework"
)

// Candidates are counted as they are told: where Score looks at them, where it reuses scores of an earlier cycle for most, and where the
// view lacks some.
func TestCandidatesAreCounted(t *testing.T) {
	t.Run("measured", func(t *testing.T) { testCounted(t, `{"explainCandidates":3}`, 30, 0) })
	t.Run("assumed", func(t *testing.T) {
		testCounted(t, `{"explainCandidates":3,"utilization":["sensors","requests"]}`, 40, 10)
	})
}

func testCounted(t *testing.T, args string, wantKnown, wantAssumed float64) {
	s := newSite(curves(t, 50)...)
	p := s.start(t, args)
	loads := make([]float64, len(s.specs))
	for i := range loads {
		loads[i] = []float64{0.5, math.NaN(), 1, 0.2, 0.1}[i%5] // 10 each; those that cannot be read are assumed
	}
	s.refresh(t, s.now, loads...)
	infos := append(s.infos(), &fakeNode{node: node("new", 10), generation: generations.Add(1)})
	counted := func() (known, over, lost, assumed float64) {
		m := p.metrics
		return testutil.ToFloat64(m.known), testutil.ToFloat64(m.over), testutil.ToFloat64(m.unknown[notWatched]), testutil.ToFloat64(m.assumed)
	}
	pd := pod("p", "1")
	raw, _ := cycle(t, p, pd, infos)
	if known, over, lost, assumed := counted(); known != wantKnown || over != 10 || lost != 1 || assumed != wantAssumed {
		t.Errorf("%v candidates are known, %v over capacity, %v not watched, and %v of the known assumed: want %v, 10, 1 and %v", known, over, lost, assumed, wantKnown, wantAssumed)
	}
	first := p.decisions.Last(t.Context())[0]
	cs := newState()
	if st := p.PreScore(t.Context(), cs, pd, infos); !st.IsSuccess() {
		t.Fatal(st)
	}
	if one, _ := p.Score(t.Context(), cs, pd, infos[0]); one != raw["node-00000"] {
		t.Errorf("asked again a node costs %d mW, and it was %d", one, raw["node-00000"])
	}
	var list fwk.NodeScoreList
	for _, i := range slices.Backward(infos) { // the best of them do not come first
		list = append(list, fwk.NodeScore{Name: i.Node().Name, Score: raw[i.Node().Name]})
	}
	p.NormalizeScore(t.Context(), cs, pd, list)
	if known, over, lost, assumed := counted(); known != 2*wantKnown || over != 20 || lost != 2 || assumed != 2*wantAssumed {
		t.Errorf("with scores of before %v candidates are known, %v over capacity, %v not watched, and %v of the known assumed: want twice as many", known, over, lost, assumed)
	}
	again := p.decisions.Last(t.Context())[0]
	for i, c := range again.Best {
		if was := first.Best[i]; c.Node != was.Node || c.Score != was.Score {
			t.Errorf("the best %d is %s with score %d with scores of before, and was %s with %d", i, c.Node, c.Score, was.Node, was.Score)
		}
	}
	if len(again.Best) != 3 {
		t.Errorf("%d are explained: want 3", len(again.Best))
	}
}

// However few candidates are told of, they are the best of all, ties included.
func TestTheFewToldAreTheBest(t *testing.T) {
	s := newSite(curves(t, 60)...)
	for i := range s.specs {
		s.specs[i].Predictor, s.specs[i].Capacity = s.specs[i%4].Predictor, s.specs[i%4].Capacity // so that there are ties
	}
	all, few := s.start(t, `{"explainCandidates":60}`), s.start(t, `{"explainCandidates":7}`)
	rng := rand.New(rand.NewPCG(3, 1))
	for step := range 50 {
		loads := make([]float64, len(s.specs))
		for i := range loads {
			loads[i] = []float64{0.1, 0.2, 0.2 + 1e-7, 0.3}[rng.IntN(4)] // two cost the same in milliwatts
		}
		s.now = s.now.Add(time.Second)
		s.refresh(t, s.now, loads...)
		infos, pd := s.infos(), pod("p", "1")
		rng.Shuffle(len(infos), func(i, k int) { infos[i], infos[k] = infos[k], infos[i] })
		cycle(t, all, pd, infos)
		cycle(t, few, pd, infos)
		want, got := all.decisions.Last(t.Context())[0].Best[:7], few.decisions.Last(t.Context())[0].Best
		if !slices.EqualFunc(got, want, func(a, b Candidate) bool { return a.Node == b.Node }) {
			t.Fatalf("step %d: the best 7 of all:\n%+v\ntold:\n%+v", step, want, got)
		}
	}
}
