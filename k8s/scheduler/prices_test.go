package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// Whatever happens to nodes, pods and readings, a plugin that keeps what it found out gives the scores of one that
// has just started, and that PreScore finds for a few candidates at a time.
func TestKeptPricesAreTheTruePrices(t *testing.T) {
	t.Run("nodes=60", func(t *testing.T) { testKeptPrices(t, 60, 400) })
	t.Run("nodes=700", func(t *testing.T) { testKeptPrices(t, 700, 40) }) // several pieces
}

func testKeptPrices(t *testing.T, nodes, steps int) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := newSite(curves(t, nodes)...)
	specs := make(map[string]scoring.Spec)
	for _, sp := range s.specs {
		specs[sp.Name] = sp
	}
	old := s.start(t, "")
	loads := make([]float64, len(s.specs))
	refresh := func() {
		for i := range loads {
			loads[i] = rng.Float64()
		}
		s.refresh(t, s.now, loads...)
	}
	refresh()
	infos := s.infos()
	for step := range steps {
		switch rng.IntN(8) {
		case 0:
			s.now = s.now.Add(2 * time.Second)
			refresh()
		case 1: // nodes leave and join
			k := rng.IntN(len(infos))
			gone := infos[k].Node().Name
			s.fleet.Remove(gone)
			s.refresh(t, s.now, loads...)
			if rng.IntN(2) == 0 {
				s.fleet.Put(s.specs[k])
				s.refresh(t, s.now, loads...)
			} else {
				s.specs, infos = append(s.specs[:k:k], s.specs[k+1:]...), append(infos[:k:k], infos[k+1:]...)
			}
		case 2: // the same NodeInfos in another order
			rng.Shuffle(len(infos), func(i, j int) { infos[i], infos[j] = infos[j], infos[i] })
			for i := range infos {
				s.specs[i] = specs[infos[i].Node().Name]
			}
		case 3: // generations of two differ in their high bits alone
			infos[0].(*fakeNode).add(pod(fmt.Sprint("p", step), "250m"))
			infos[1].(*fakeNode).add(pod(fmt.Sprint("q", step), "1"))
			infos[1].(*fakeNode).generation = infos[0].(*fakeNode).generation + 1<<40
		default:
			infos[rng.IntN(len(infos))].(*fakeNode).add(pod(fmt.Sprint("p", step), []string{"", "250m", "2"}[rng.IntN(3)]))
		}
		some := infos[:len(infos)-rng.IntN(10)]
		next := pod("next", []string{"100m", "300m", "500m", "1", "2", "3"}[rng.IntN(6)])
		got, _ := cycle(t, old, next, some)
		fresh := s.start(t, "")
		for few := range slices.Chunk(some, fewest) {
			want, _ := cycle(t, fresh, next, few)
			for name, raw := range want {
				if got[name] != raw {
					t.Fatalf("step %d: a new plugin gives %s %d, one that has kept prices %d", step, name, raw, got[name])
				}
			}
		}
	}
}

// separate is a scorer that judges each node by itself, and counts.
type separate struct{ counting }

func (separate) ScoresSeparately() bool { return true }

// Pods of one size in a row cost the scoring of the nodes that have changed; after a while all are scored anew.
func TestOnlyWhatChangedIsScored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(curves(t, 40)...)
		p := s.start(t, "")
		scorer := &separate{counting{Scorer: scoring.EnvelopePower{}, n: make(map[string]int)}}
		p.scorer = scorer
		s.refresh(t, s.now, 0.1, 0.5)
		infos := s.infos()
		asked := func(cpu string) int {
			clear(scorer.n)
			cycle(t, p, pod("p", cpu), infos)
			return len(scorer.n)
		}
		if n := asked("1"); n != 40 {
			t.Errorf("the first pod had %d nodes scored, want 40", n)
		}
		if n := asked("1"); n != 0 {
			t.Errorf("the same again had %d nodes scored, want 0", n)
		}
		infos[3].(*fakeNode).add(pod("a", "1"))
		infos[30].(*fakeNode).add(pod("b", "1"))
		if n := asked("1"); n != 2 {
			t.Errorf("after two nodes got pods %d were scored, want 2", n)
		}
		if n := asked("2"); n != 40 {
			t.Errorf("a pod of another size had %d nodes scored, want 40", n)
		}
		if n := asked("1"); n != 0 {
			t.Errorf("a pod of the first size again had %d nodes scored, want 0", n)
		}
		time.Sleep(lasting)
		if n := asked("1"); n != 40 {
			t.Errorf("%v later %d nodes were scored, want 40", lasting, n)
		}
	})
}

// A node that is asked about is looked at by as many as ask, and what they find is kept.
func TestNodesAreScoredAtOnce(t *testing.T) {
	s := newSite(curves(t, 300)...)
	p := s.start(t, `{"explainCandidates":100}`)
	s.refresh(t, s.now, 0.1, 0.3, 0.6)
	infos := s.infos()
	for step := range 5 {
		for i := range infos {
			if i%(step+1) == 0 {
				infos[i].(*fakeNode).add(pod(fmt.Sprint("old", step), "500m"))
			}
		}
		pd, cs := pod(fmt.Sprint("p", step), "1"), newState()
		if st := p.PreScore(t.Context(), cs, pd, infos); !st.IsSuccess() {
			t.Fatal(st)
		}
		list := make(fwk.NodeScoreList, len(infos))
		workqueue.ParallelizeUntil(t.Context(), 8, len(infos), func(i int) {
			raw, _ := p.Score(t.Context(), cs, pd, infos[i])
			list[i] = fwk.NodeScore{Name: infos[i].Node().Name, Score: raw}
		})
		raws := slices.Clone(list)
		p.NormalizeScore(t.Context(), cs, pd, list)
		want, _ := cycle(t, s.start(t, ""), pd, infos)
		for i := range raws {
			if raws[i].Score != want[raws[i].Name] {
				t.Fatalf("step %d: %s costs %d, and of a new plugin %d", step, raws[i].Name, raws[i].Score, want[raws[i].Name])
			}
		}
		d := p.decisions.Last(t.Context())[0]
		if d.Candidates != len(infos) || d.Known+d.OverCapacity != len(infos) || len(d.Best) != min(100, d.Known) {
			t.Errorf("step %d: %d candidates, %d known and %d over capacity, %d explained", step, d.Candidates, d.Known, d.OverCapacity, len(d.Best))
		}
		for i := 1; i < len(d.Best); i++ {
			if a, b := want[d.Best[i-1].Node], want[d.Best[i].Node]; a > b || d.Best[i-1].Score < d.Best[i].Score {
				t.Errorf("step %d: the %dth best costs %d mW and has score %d, the next %d and %d", step, i, a, d.Best[i-1].Score, b, d.Best[i].Score)
			}
		}
	}
}

// mixed answers in grams for some nodes.
type mixed struct{ scoring.MarginalPower }

func (m mixed) Score(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	costs, err := m.MarginalPower.Score(ctx, d, nodes)
	for i := range costs {
		if strings.HasSuffix(costs[i].Node, "7") {
			costs[i].Unit, costs[i].Value = scoring.GramsPerHour, costs[i].Value/1000
		}
	}
	return costs, err
}

func (m mixed) AppendScore(ctx context.Context, costs []scoring.Cost, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	more, err := m.Score(ctx, d, nodes)
	return append(costs, more...), err
}

// Grams cannot be compared with watts: a cost in another unit than the others is not known.
func TestCostsOfTwoUnits(t *testing.T) {
	for _, n := range []int{fewest, 3 * fewest} {
		s := newSite(curves(t, n)...)
		s.scorer = mixed{}
		p := s.start(t, "")
		s.refresh(t, s.now, 0.1)
		raw, _ := cycle(t, p, pod("p", "1"), s.infos())
		for name, r := range raw {
			if strings.HasSuffix(name, "7") != (r == rawUnknown) {
				t.Errorf("of %d nodes %s has raw score %d", n, name, r)
			}
		}
	}
}

// together gives all nodes of a call the number of nodes in it: it does not judge them by themselves.
type together struct{ calls int }

func (s *together) Score(_ context.Context, _ scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	s.calls++
	costs := make([]scoring.Cost, len(nodes))
	for i := range nodes {
		costs[i] = scoring.Cost{Node: nodes[i].Name, Value: float64(len(nodes))}
	}
	return costs, nil
}

// A scorer that looks at all nodes of a call is asked about all candidates at once, whatever lies between them.
func TestCandidatesAreScoredTogether(t *testing.T) {
	s := newSite(curves(t, 40)...)
	p := s.start(t, "")
	scorer := new(together)
	p.scorer = scorer
	s.refresh(t, s.now, 0.1)
	all := s.infos()
	for _, some := range [][]fwk.NodeInfo{all, all[7:20], {all[39], all[3], all[4], all[17]}} {
		scorer.calls = 0
		raw, _ := cycle(t, p, pod("p", "1"), some)
		if scorer.calls != 1 {
			t.Errorf("%d candidates took %d calls, want one", len(some), scorer.calls)
		}
		for _, i := range some {
			if got := raw[i.Node().Name]; got != int64(1000*len(some)) {
				t.Errorf("raw score of %s is %d: want that of a call about %d nodes", i.Node().Name, got, len(some))
			}
		}
	}
}

// Generations lead to places, but the object that was found there or else its name decides: they may collide, and
// need not be unique.
func TestPlacesByName(t *testing.T) {
	s := newSite(curves(t, 50)...)
	for _, sp := range s.specs {
		s.fleet.Put(sp)
	}
	s.refresh(t, s.now, 0.1)
	v := s.fleet.View()
	places := newPlaces(v)
	rng := rand.New(rand.NewPCG(1, 2))
	infos := s.infos()
	found := make([]*v1.Node, v.Len()) // half of them
	for i, info := range infos {
		if i%2 == 0 {
			found[v.Index(info.Node().Name)] = info.Node()
		}
	}
	strange := &fakeNode{node: node("strange", 1)}
	for range 5000 {
		n := infos[rng.IntN(len(infos))].(*fakeNode)
		n.generation = []int64{0, 1, 7, rng.Int64N(100), rng.Int64(), -1}[rng.IntN(6)]
		if got, want := places.find(n.generation, n.node, found), v.Index(n.node.Name); got != want {
			t.Fatalf("%s of generation %d is found at %d: want %d", n.node.Name, n.generation, got, want)
		}
		strange.generation = n.generation
		if got := places.find(strange.generation, strange.node, found); got != -1 {
			t.Fatalf("a node that the view lacks is found at %d", got)
		}
	}
}

// A cycle about a few nodes gives them the scores that they have among all, and prefers the one that is preferred among all.
func TestFewCandidatesScoreAsAmongAll(t *testing.T) {
	s := newSite(curves(t, 40)...)
	for i := range s.specs {
		s.specs[i].Predictor, s.specs[i].Capacity = s.specs[i%5].Predictor, s.specs[i%5].Capacity // so that there are ties
	}
	p := s.start(t, `{"explainCandidates":40}`)
	s.refresh(t, s.now, 0.1, 0.3, 0.3, 0.7, 0.99)
	all, pd := s.infos(), pod("p", "1500m")
	want, _ := cycle(t, p, pd, all)
	order := make(map[string]int)
	for i, c := range p.decisions.Last(t.Context())[0].Best {
		order[c.Node] = i
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 3 * fewest {
		some := slices.Clone(all)
		rng.Shuffle(len(some), func(i, k int) { some[i], some[k] = some[k], some[i] })
		some = some[:n+1]
		got, scores := cycle(t, p, pd, some)
		first := ""
		for _, a := range some {
			name := a.Node().Name
			if got != nil && got[name] != want[name] {
				t.Errorf("raw score of %s among %d is %d: want %d as among all", name, len(some), got[name], want[name])
			}
			if i, known := order[name]; known && (first == "" || i < order[first]) {
				first = name
			}
		}
		if first != "" && scores[first] != 100 {
			t.Errorf("%s, the first of %d candidates, has score %d", first, len(some), scores[first])
		}
	}
}

// A cycle ends when the next begins: what is asked yet counts for nothing, least of all what another pod costs.
func TestStateIsOfOneCycle(t *testing.T) {
	for _, n := range []int{fewest, 10 * fewest} {
		s := newSite(curves(t, n)...)
		p := s.start(t, "")
		s.refresh(t, s.now, 0.1)
		infos := s.infos()
		score := func(cs fwk.CycleState) []int64 {
			out := make([]int64, n)
			for i, info := range infos {
				out[i], _ = p.Score(t.Context(), cs, nil, info)
			}
			return out
		}
		begin := func(cpu string) *fakeState {
			cs := newState()
			if st := p.PreScore(t.Context(), cs, pod("p", cpu), infos); !st.IsSuccess() {
				t.Fatal(st)
			}
			return cs
		}
		normalized := func(cs fwk.CycleState) []int64 {
			list := make(fwk.NodeScoreList, n)
			for i, raw := range score(cs) {
				list[i] = fwk.NodeScore{Name: infos[i].Node().Name, Score: raw}
			}
			p.NormalizeScore(t.Context(), cs, pod("p", "1"), list)
			out := make([]int64, n)
			for i := range list {
				out[i] = list[i].Score
			}
			return out
		}
		one := begin("1")
		costs := score(one)
		two := begin("2")
		if other := score(two); slices.Equal(other, costs) {
			t.Errorf("%d nodes: pods of two sizes cost the same: %v", n, costs)
		}
		if again := normalized(two); slices.Max(again) != levelBest {
			t.Errorf("%d nodes: scores of the cycle that is on: %v", n, again)
		}
		if again := normalized(one); slices.Max(again) != levelUnknown {
			t.Errorf("%d nodes: scores of a cycle that is over: %v", n, again)
		}
		if st := p.PreScore(t.Context(), newState(), pod("p", "1"), nil); !st.IsSkip() { // no candidate: it has nothing to leave
			t.Errorf("of no nodes: %v", st)
		}
		if again := normalized(two); slices.Max(again) != levelUnknown {
			t.Errorf("%d nodes: scores of a cycle that is over because the next was skipped: %v", n, again)
		}
	}
}
