package scheduler

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
)

func TestDecisionsTellWhy(t *testing.T) {
	s := newSite(line(t, "dear", 10, 50, 30), line(t, "cheap", 10, 50, 5), line(t, "dead", 10, 50, 1), line(t, "middle", 10, 50, 12))
	d := new(Decisions)
	p := s.start(t, `{"explainCandidates":2,"keepDecisions":3}`)
	p.decisions, d.size = d, 3
	s.refresh(t, s.now, 0.5, 0.5, math.NaN(), 0.5)
	infos := s.infos()
	pd := pod("web", "2")
	cycle(t, p, pd, infos)
	// Another plugin outweighs ours.
	p.Reserve(t.Context(), newState(), pd, "dear")
	got := d.Last(t.Context())
	if len(got) != 1 {
		t.Fatalf("%d decisions are kept: want 1", len(got))
	}
	w := got[0]
	if w.Namespace != "default" || w.Name != "web" || w.Candidates != 4 || w.Known != 3 || w.Unknown["unreachable"] != 1 || w.Demand.CPU != 2 {
		t.Errorf("decision is %+v", w)
	}
	if len(w.Best) != 2 || w.Best[0].Node != "cheap" || w.Best[1].Node != "middle" || w.Best[0].Before != 75 || w.Best[0].After != 85 || w.Best[0].Source != "test" {
		t.Errorf("best are %+v: want cheap from 75 to 85 W, then middle", w.Best)
	}
	if w.Best[0].Score != 100 || !(w.Best[1].Score < 100 && w.Best[1].Score > 2) {
		t.Errorf("scores are %d and %d: want 100 and less", w.Best[0].Score, w.Best[1].Score)
	}
	if c := w.ChosenCandidate; w.Chosen != "dear" || c == nil || c.Node != "dear" || c.Rank != 0 || c.After-c.Before != 60 {
		t.Errorf("chosen is %s, %+v: want dear, 60 W more", w.Chosen, w.ChosenCandidate)
	}
	p.Unreserve(t.Context(), newState(), pd, "dear")
	if !d.Last(t.Context())[0].Undone {
		t.Error("a pod that did not get there is not marked")
	}
	// A pod whose node came from an earlier pod's scores has a decision too.
	p.Reserve(t.Context(), newState(), pod("batched", "2"), "cheap")
	if w := d.Last(t.Context())[0]; w.Name != "batched" || w.Chosen != "cheap" || w.Candidates != 0 || w.ChosenCandidate == nil {
		t.Errorf("decision without a cycle is %+v", w)
	}
}

func TestDecisionsKeepTheLast(t *testing.T) {
	s := newSite(line(t, "a", 10, 50, 30))
	p := s.start(t, `{"keepDecisions":3}`)
	s.refresh(t, s.now, 0.1)
	infos := s.infos()
	names := func() (out []string) {
		for _, d := range p.decisions.Last(t.Context()) {
			out = append(out, d.Name)
		}
		return out
	}
	for i := range 5 {
		cycle(t, p, pod(fmt.Sprint("p", i), "1"), infos)
		if i == 1 && fmt.Sprint(names()) != "[p1 p0]" {
			t.Errorf("decisions are %v", names())
		}
	}
	if fmt.Sprint(names()) != "[p4 p3 p2]" {
		t.Errorf("decisions are %v: want the last three, newest first", names())
	}
	// A profile that wants more makes room; one that wants fewer takes none away.
	for _, n := range []int{5, 2} {
		if err := p.decisions.keep(n, 5); err != nil {
			t.Fatal(err)
		}
	}
	for i := 5; i < 8; i++ {
		cycle(t, p, pod(fmt.Sprint("p", i), "1"), infos)
	}
	if fmt.Sprint(names()) != "[p7 p6 p5 p4 p3]" {
		t.Errorf("decisions are %v: want the last five, newest first", names())
	}
	// A second try of the same pod replaces what was noted of the first.
	cycle(t, p, pod("p7", "1"), infos)
	if fmt.Sprint(names()) != "[p7 p6 p5 p4 p3]" {
		t.Errorf("decisions are %v: want p7 once", names())
	}
}

// What profiles ask for in turn is bounded together: they share the room.
func TestKeptIsBounded(t *testing.T) {
	d := new(Decisions)
	if err := errors.Join(d.keep(10000, 5), d.keep(500, 5)); err != nil {
		t.Fatal(err)
	}
	if err := d.keep(500, 100); err == nil || !strings.Contains(err.Error(), "10000 × 100") {
		t.Errorf("10000 decisions of one profile and 100 candidates of another: %v", err)
	}
	if err := d.keep(10000, 5); err != nil {
		t.Errorf("what was refused is kept: %v", err)
	}
}

// Whoever asks for one decision has one copied, however many are kept: the scheduler waits for it.
func TestLastCopiesWhatIsAskedFor(t *testing.T) {
	allocs := func(keep int) (newest, named float64) {
		s := newSite(line(t, "a", 100, 50, 30))
		p := s.start(t, fmt.Sprintf(`{"keepDecisions":%d}`, keep))
		s.refresh(t, s.now, 0.1)
		infos := s.infos()
		for i := range keep {
			cycle(t, p, pod(fmt.Sprint("p", i, "-"), "1"), infos)
		}
		d := p.decisions
		for n, name := range map[int]string{1: "", 10: "default/p1-"} {
			if got := d.last(t.Context(), n, name); len(got) != 1 || name != "" && got[0].Name != "p1-" {
				t.Errorf("up to %d named %q: %d decisions", n, name, len(got))
			}
		}
		return testing.AllocsPerRun(10, func() { d.last(t.Context(), 1, "") }), testing.AllocsPerRun(10, func() { d.last(t.Context(), 10, "p1-") })
	}
	newest, named := allocs(3)
	// The plugin's other goroutines allocate meanwhile, so that figures differ by one or two; to copy all takes thousands.
	if n, m := allocs(300); n > newest+20 || m > named+20 {
		t.Errorf("of 300 decisions one takes %v allocations, one by name %v: of 3 they take %v and %v", n, m, newest, named)
	}
}

// People read while the scheduler decides; -race looks on.
func TestDecisionsAreReadMeanwhile(t *testing.T) {
	s := newSite(curves(t, 50)...)
	p := s.start(t, `{"keepDecisions":4}`)
	s.refresh(t, s.now, 0.1, 0.3, math.NaN())
	infos := s.infos()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 200 {
				for _, d := range p.decisions.Last(t.Context()) {
					if len(d.Best) != 5 {
						t.Errorf("decision has %d best: want 5", len(d.Best))
						return
					}
				}
			}
		})
	}
	for i := range 500 {
		pd := pod(fmt.Sprint("p", i), "100m")
		_, scores := cycle(t, p, pd, infos)
		for n, v := range scores {
			if v == 100 {
				p.Reserve(t.Context(), newState(), pd, n)
			}
		}
		if i%100 == 0 {
			s.refresh(t, s.now, 0.2, 0.1, math.NaN())
		}
	}
	wg.Wait()
}
