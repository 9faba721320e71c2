package scheduler

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// shifting is a scorer of single nodes whose answers change by themselves: they are multiplied, or not known at a factor of 0.
type shifting struct{ factor float64 }

func (*shifting) ScoresSeparately() bool { return true }

func (s *shifting) Score(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	costs, err := scoring.MarginalPower{}.Score(ctx, d, nodes)
	for i := range costs {
		if costs[i].Value *= s.factor; s.factor == 0 {
			costs[i].Err = errors.New("in the dark")
		}
	}
	return costs, err
}

func shiftingSite(t *testing.T) (*Plugin, *shifting, []fwk.NodeInfo) {
	t.Helper()
	s := newSite(curves(t, 3*fewest)...)
	scorer := &shifting{1}
	s.scorer = scorer
	p := s.start(t, "")
	s.refresh(t, s.now, 0.1)
	return p, scorer, s.infos()
}

// What a cycle found out that did not come to its end says nothing of prices that were found later.
func TestCycleThatDidNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, scorer, infos := shiftingSite(t)
		pd := pod("p", "1")
		was, _ := cycle(t, p, pd, infos)
		infos[0].(*fakeNode).add(pod("q", "0"))
		cs := newState()
		if st := p.PreScore(t.Context(), cs, pd, infos); !st.IsSuccess() {
			t.Fatal(st)
		}
		p.Score(t.Context(), cs, pd, infos[0]) // and another plugin failed
		scorer.factor = 2
		time.Sleep(lasting)
		for range 2 {
			raw, _ := cycle(t, p, pd, infos)
			for name, r := range raw {
				if want := 2 * was[name]; r < want-1 || r > want+1 {
					t.Fatalf("%s costs %d mW: want twice the %d of before", name, r, was[name])
				}
			}
		}
	})
}

// The plugin steps aside when what it knew is no longer known, and when all nodes are full.
func TestStepsAsideWhenNothingIsKnownAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, scorer, infos := shiftingSite(t)
		pd := pod("p", "1")
		cycle(t, p, pd, infos)
		scorer.factor = 0
		time.Sleep(lasting)
		if raw, _ := cycle(t, p, pd, infos); raw != nil {
			t.Errorf("in the dark the plugin scored: %v", raw)
		}
		scorer.factor = 1
		time.Sleep(lasting)
		if raw, _ := cycle(t, p, pd, infos); raw == nil {
			t.Error("when all is known again the plugin steps aside")
		}
		for _, i := range infos {
			i.(*fakeNode).add(pod("big", "96"))
		}
		if raw, scores := cycle(t, p, pd, infos); raw["node-00000"] != rawOver || scores["node-00000"] != levelOver {
			t.Errorf("full nodes have raw scores %v and scores %v", raw, scores)
		}
		if raw, _ := cycle(t, p, pd, infos); raw != nil {
			t.Errorf("where all nodes are full the plugin scored: %v", raw)
		}
		d := p.decisions.Last(t.Context())[0]
		if d.OverCapacity != len(infos) || d.Known != 0 {
			t.Errorf("the decision tells of %d nodes over capacity and %d known", d.OverCapacity, d.Known)
		}
	})
}

// A node that PreScore was not told of has its own price all the same, or none where candidates are scored together: never that of
// another pod or cycle.
func TestStrayNodes(t *testing.T) {
	s := newSite(curves(t, 3*fewest)...)
	p := s.start(t, "")
	s.refresh(t, s.now, 0.1)
	infos := s.infos()
	for _, cpu := range []string{"1", "2", "3", "4", "5"} { // more than are kept
		cycle(t, p, pod("p"+cpu, cpu), infos)
	}
	six := pod("p6", "6")
	want, _ := cycle(t, s.start(t, ""), six, infos)
	cs := newState()
	if st := p.PreScore(t.Context(), cs, six, infos[:2]); !st.IsSuccess() {
		t.Fatal(st)
	}
	for _, i := range infos {
		if raw, _ := p.Score(t.Context(), cs, six, i); raw != want[i.Node().Name] {
			t.Errorf("%s costs %d mW: want %d", i.Node().Name, raw, want[i.Node().Name])
		}
	}
	p.scorer = new(together)
	cycle(t, p, pod("p7", "7"), infos)
	cs = newState()
	if st := p.PreScore(t.Context(), cs, pod("p7", "7"), infos[:12]); !st.IsSuccess() {
		t.Fatal(st)
	}
	var got []int64
	for _, i := range infos {
		raw, _ := p.Score(t.Context(), cs, nil, i)
		got = append(got, raw)
	}
	if want := append(slices.Repeat([]int64{12_000}, 12), slices.Repeat([]int64{rawUnknown}, 12)...); !slices.Equal(got, want) {
		t.Errorf("of 12 that are scored together, and 12 others, raw scores are %v", got)
	}
}
