package scheduler

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// Whatever happens to nodes, pods and readings, a plugin that keeps what it found out gives the scores of one that
// has just started.
func TestKeptPricesAreTheTruePrices(t *testing.T) {
	t.Run("nodes=60", func(t *testing.T) { testKeptPrices(t, 60, 400) })
	t.Run("nodes=1500", func(t *testing.T) { testKeptPrices(t, crowd+476, 40) }) // enough for all cores
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
		default:
			infos[rng.IntN(len(infos))].(*fakeNode).add(pod(fmt.Sprint("p", step), []string{"", "250m", "2"}[rng.IntN(3)]))
		}
		some := infos[:len(infos)-rng.IntN(10)]
		next := pod("next", []string{"100m", "300m", "500m", "1", "2", "3"}[rng.IntN(6)])
		got, _ := cycle(t, old, next, some)
		want, _ := cycle(t, s.start(t, ""), next, some)
		if !maps.Equal(want, got) {
			t.Fatalf("step %d: a new plugin gives %v, one that has kept prices %v", step, want, got)
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

// A cycle about a few nodes gives them the scores that they have among all, and orders them as it orders all.
func TestFewCandidatesScoreAsAmongAll(t *testing.T) {
	s := newSite(curves(t, 40)...)
	p := s.start(t, "")
	s.refresh(t, s.now, 0.1, 0.3, 0.7, 0.99)
	all, pd := s.infos(), pod("p", "1500m")
	want, _ := cycle(t, p, pd, all)
	whole := *p.last.Load()
	whole.cost, whole.tie = slices.Clone(whole.cost), slices.Clone(whole.tie) // before other cycles have them
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 2 * fewest {
		some := slices.Clone(all)
		rng.Shuffle(len(some), func(i, k int) { some[i], some[k] = some[k], some[i] })
		some = some[:n+1]
		got, _ := cycle(t, p, pd, some)
		part := p.last.Load()
		for _, a := range some {
			name := a.Node().Name
			if got[name] != want[name] {
				t.Errorf("raw score of %s among %d is %d: want %d as among all", name, len(some), got[name], want[name])
			}
			for _, b := range some {
				if x, y := part.before(name, b.Node().Name), whole.before(name, b.Node().Name); x != y {
					t.Errorf("%s before %s among %d is %v: want %v as among all", name, b.Node().Name, len(some), x, y)
				}
			}
		}
		for _, other := range all[:5] {
			if !slices.Contains(some, other) && part.before(other.Node().Name, some[0].Node().Name) {
				t.Errorf("%s, no candidate, is preferred to %s, which is one", other.Node().Name, some[0].Node().Name)
			}
		}
	}
}

// What a cycle left stays as it was while later cycles find the nodes by other objects: Score may still read it.
func TestStateStaysWhileNodesChange(t *testing.T) {
	s := newSite(curves(t, 10)...)
	p := s.start(t, "")
	s.refresh(t, s.now, 0.1)
	infos := s.infos()
	cycle(t, p, pod("p", "1"), infos)
	first := p.last.Load()
	found := slices.Clone(first.found)
	again := s.infos() // as after an update of every node
	cycle(t, p, pod("p", "1"), again)
	if !slices.Equal(first.found, found) {
		t.Error("the state of a cycle has changed with a later one")
	}
	for _, info := range again {
		if i := p.last.Load().view.Index(info.Node().Name); p.last.Load().found[i] != info.Node() {
			t.Errorf("%s is found by an object that is old", info.Node().Name)
		}
	}
}

// A cycle uses the memory of the cycle before the last, whose state is there no more: who asks for it yet is told nothing, and not what
// another pod costs. The state of the last cycle stays as it was.
func TestCyclesShareMemory(t *testing.T) {
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
		var states []fwk.CycleState
		var costs [][]float64
		var scores [][]int64
		for i, cpu := range []string{"1", "2", "3"} {
			cs := newState()
			if st := p.PreScore(t.Context(), cs, pod("p", cpu), infos); !st.IsSuccess() {
				t.Fatal(st)
			}
			states, costs, scores = append(states, cs), append(costs, p.last.Load().cost), append(scores, score(cs))
			if i > 0 {
				if again := score(states[i-1]); !slices.Equal(again, scores[i-1]) || slices.Equal(again, scores[i]) {
					t.Errorf("%d nodes: the scores of a cycle were %v and are %v during the next, whose own are %v", n, scores[i-1], again, scores[i])
				}
			}
		}
		if &costs[0][0] != &costs[2][0] || &costs[0][0] == &costs[1][0] {
			t.Errorf("%d nodes: the third cycle has other memory than the first, or the second has the same", n)
		}
		if again := score(states[0]); slices.ContainsFunc(again, func(raw int64) bool { return raw != rawUnknown }) {
			t.Errorf("%d nodes: scores of a cycle whose memory is another's: %v", n, again)
		}
		if st := p.PreScore(t.Context(), newState(), pod("p", "1"), nil); !st.IsSkip() { // no candidate: it has nothing to leave
			t.Errorf("of no nodes: %v", st)
		}
		if st := p.PreScore(t.Context(), newState(), pod("p", "1"), nil); !st.IsSkip() {
			t.Errorf("of no nodes: %v", st)
		}
		if again := score(states[2]); slices.ContainsFunc(again, func(raw int64) bool { return raw != rawUnknown }) {
			t.Errorf("%d nodes: scores of a cycle whose memory cycles that were skipped have: %v", n, again)
		}
	}
}
