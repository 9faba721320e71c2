package scheduler

import (
	"context"
	"errors"
	"math"
	"testing"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

type fakeAssignment struct {
	fwk.ProposedAssignment
	pod  *v1.Pod
	node string
}

func (a fakeAssignment) GetPod() *v1.Pod     { return a.pod }
func (a fakeAssignment) GetNodeName() string { return a.node }

type fakeGroup struct{ fwk.PodGroupInfo }

func (fakeGroup) GetName() string      { return "group" }
func (fakeGroup) GetNamespace() string { return "default" }

// placed is a placement of nodes and the pods, one core each, that would go to them.
func placed(name string, nodes []fwk.NodeInfo, to ...string) *fwk.PodGroupAssignments {
	a := &fwk.PodGroupAssignments{Placement: &fwk.Placement{Name: name, Nodes: nodes}}
	for _, n := range to {
		a.ProposedAssignments = append(a.ProposedAssignments, fakeAssignment{pod: pod("p", "1"), node: n})
	}
	return a
}

// The rack wins where a pod costs least, with all pods of the group on their nodes at once; a rack with an unknown
// node loses, and a rack that takes fewer pods has no advantage.
func TestPlacementScore(t *testing.T) {
	s := newSite(line(t, "a", 10, 50, 10), line(t, "b", 10, 50, 30), squared(t, "steep"), line(t, "dead", 10, 50, 1))
	for _, sp := range s.specs {
		s.fleet.Put(sp)
	}
	all, err := NewAll(func(string) (Setup, error) { return Setup{Site: s, Scorer: scoring.MarginalPower{}}, nil }, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := all[PlacementName](t.Context(), nil, newHandle())
	if err != nil {
		t.Fatal(err)
	}
	p := pl.(fwk.PlacementScorePlugin)
	s.refresh(t, s.now, 0.5, 0.5, 0.5, math.NaN())
	nodes := s.infos()
	var scores []fwk.PlacementScore
	for _, x := range []struct {
		a    *fwk.PodGroupAssignments
		want int64
	}{
		{placed("mixed", nodes[:2], "a", "b", "a", "b"), 20_000},
		{placed("steep", nodes[2:3], "steep", "steep"), 12_000}, // 25 to 49 W
		{placed("few", nodes[1:2], "b"), 30_000},
		{placed("dark", nodes[:4], "a", "dead"), rawUnknown},
		{placed("stranger", nodes[:1], "a", "nobody"), rawUnknown},
		{placed("full", nodes[:1], "a", "a", "a", "a", "a", "a"), rawUnknown},
		{placed("none", nodes[:1]), rawUnknown},
	} {
		got, st := p.ScorePlacement(t.Context(), nil, fakeGroup{}, x.a)
		if !st.IsSuccess() || got != x.want {
			t.Errorf("placement %s costs %d a pod, %v: want %d", x.a.Name, got, st, x.want)
		}
		scores = append(scores, fwk.PlacementScore{Placement: x.a.Placement, Score: got})
	}
	if st := p.PlacementScoreExtensions().NormalizePlacementScore(context.Background(), nil, fakeGroup{}, scores); !st.IsSuccess() {
		t.Fatal(st)
	}
	if !(scores[1].Score == 100 && scores[0].Score < 100 && scores[0].Score > scores[2].Score && scores[2].Score > 0 && scores[3].Score == 0 && scores[6].Score == 0) {
		t.Errorf("scores are %+v", scores)
	}
	if _, err := DecodePlacementArgs(rawArgs(`{"mode":"shadow"}`)); err == nil {
		t.Error("an argument that does not exist was taken")
	}
}

// A rack in a place whose intensity or price is not known does not win over one where it is, though watts are fewer than grams; where none
// is known, watts decide.
func TestPlacementWithoutTariff(t *testing.T) {
	away := errors.New("away")
	for unit, known := range map[scoring.Unit]scoring.Tariff{
		scoring.GramsPerHour: {Intensity: 600, PriceErr: away},
		scoring.MoneyPerHour: {Price: 0.3, IntensityErr: away},
		scoring.Watts:        {PUE: 2},
	} {
		s := newSite(line(t, "lit", 10, 50, 10), line(t, "dark", 10, 50, 10), line(t, "dead", 10, 50, 1))
		lit, dark := meter("lit", known), meter("dark", scoring.Tariff{IntensityErr: away, PriceErr: away})
		if unit == scoring.Watts {
			dark.Set(scoring.Tariff{Err: away})
		}
		s.specs[0].Meter, s.specs[1].Meter, s.specs[2].Meter = lit, dark, lit
		for _, sp := range s.specs {
			s.fleet.Put(sp)
		}
		all, err := NewAll(func(string) (Setup, error) {
			return Setup{Site: s, Scorer: scoring.Objective{Power: scoring.MarginalPower{}, Unit: unit}}, nil
		}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		pl, err := all[PlacementName](t.Context(), nil, newHandle())
		if err != nil {
			t.Fatal(err)
		}
		p := pl.(*PlacementScore)
		s.refresh(t, s.now, 0.5, 0.5, math.NaN())
		nodes := s.infos()
		costs := func() (of [2]int64) {
			for i, name := range []string{"lit", "dark"} {
				var st *fwk.Status
				if of[i], st = p.ScorePlacement(t.Context(), nil, fakeGroup{}, placed(name, nodes[i:i+1], name, name)); !st.IsSuccess() {
					t.Fatal(st)
				}
			}
			return of
		}
		if got := costs(); got[0] >= rawOver || got[1] != rawUnknown {
			t.Errorf("%v: the rack whose tariff is known costs %d and the other %d: want that unknown", unit, got[0], got[1])
		}
		lit.Set(scoring.Tariff{Err: away})
		if got := costs(); got != [2]int64{10_000, 10_000} {
			t.Errorf("%v: without any tariff the racks cost %v: want 10 W each", unit, got)
		}
	}
}
