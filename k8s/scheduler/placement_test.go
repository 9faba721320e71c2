package scheduler

import (
	"context"
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
