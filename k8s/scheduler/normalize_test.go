package scheduler

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/power"
)

// raws makes raw scores of one of several shapes.
func raws(r *rand.Rand, n int) []int64 {
	kinds := 1 + r.IntN(300)
	scale := math.Pow(10, float64(r.IntN(15)))
	values := make([]int64, kinds)
	for i := range values {
		switch v := r.NormFloat64() * scale; r.IntN(3) {
		case 0:
			values[i] = int64(v)
		case 1:
			values[i] = int64(r.IntN(200))
		default:
			values[i] = int64(math.Abs(v))
		}
	}
	out := make([]int64, n)
	for i := range out {
		switch out[i] = values[r.IntN(kinds)]; r.IntN(20) {
		case 0:
			out[i] = rawUnknown
		case 1:
			out[i] = rawOver
		}
	}
	return out
}

// What NormalizeScore promises, on scores of many shapes.
func TestNormalizeKeepsOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		raw := raws(r, 1+r.IntN(400))
		list := make(fwk.NodeScoreList, len(raw))
		for i := range raw {
			list[i] = fwk.NodeScore{Name: fmt.Sprint(i), Score: raw[i]}
		}
		normalize(list, -1)
		order := make([]int, len(raw))
		distinct := make(map[int64]bool)
		for i := range raw {
			order[i] = i
			if raw[i] < rawOver {
				distinct[raw[i]] = true
			}
		}
		slices.SortFunc(order, func(a, b int) int {
			if raw[a] != raw[b] {
				if raw[a] < raw[b] {
					return -1
				}
				return 1
			}
			return int(list[b].Score - list[a].Score)
		})
		best := 0
		for k, i := range order {
			score := list[i].Score
			switch {
			case score < 0 || score > 100:
				t.Fatalf("score %d is not within 0 and 100", score)
			case raw[i] == rawUnknown && score != 0, raw[i] == rawOver && score != 1, raw[i] < rawOver && score < 2:
				t.Fatalf("raw %d has score %d", raw[i], score)
			}
			if score == 100 {
				best++
			}
			if k == 0 {
				if raw[i] < rawOver && score != 100 {
					t.Fatalf("the cheapest, %d, has score %d", raw[i], score)
				}
				continue
			}
			was := order[k-1]
			if score > list[was].Score {
				t.Fatalf("raw %d has score %d, and %d has %d", raw[was], list[was].Score, raw[i], score)
			}
			if len(distinct) <= 97 && raw[i] != raw[was] && raw[i] < rawOver && score == list[was].Score {
				t.Fatalf("%d distinct costs, and %d and %d both have score %d", len(distinct), raw[was], raw[i], score)
			}
		}
		if want := min(len(distinct), 1); best != want {
			t.Fatalf("%d nodes have score 100: want %d", best, want)
		}
	}
}

// Many distinct costs use the levels that there are, even beside an outlier.
func TestNormalizeUsesItsLevels(t *testing.T) {
	list := make(fwk.NodeScoreList, 1000)
	for i := range list {
		list[i] = fwk.NodeScore{Name: fmt.Sprint(i), Score: int64(5000 + 7*i)}
	}
	list[999].Score = 1e12
	normalize(list, -1)
	levels := make(map[int64]bool)
	for _, s := range list {
		levels[s.Score] = true
	}
	if len(levels) < 90 {
		t.Errorf("1000 distinct costs have %d distinct scores: want nearly 99", len(levels))
	}
	if list[1].Score == list[2].Score || list[2].Score == list[3].Score {
		t.Errorf("the cheapest few are not told apart: %v", list[:4])
	}
}

func TestTies(t *testing.T) {
	s := newSite(line(t, "emptiest", 10, 50, 7), line(t, "fullest", 10, 50, 7), line(t, "half", 10, 50, 7), line(t, "dear", 10, 50, 8))
	p := s.start(t, "")
	s.refresh(t, s.now, 0.1, 0.8, 0.5, 0.8)
	_, scores := cycle(t, p, pod("p", "1"), s.infos())
	if scores["fullest"] != 100 || scores["half"] != 99 || scores["emptiest"] != 99 || scores["dear"] >= 99 {
		t.Errorf("scores are %v: want the fullest of the cheapest at 100, the others at 99, dear below", scores)
	}
}

// A difference that is lost in milliwatts still decides between the cheapest.
func TestTiesOfRoundingGoToTheCheaper(t *testing.T) {
	s := newSite(line(t, "full", 100, 50, 0.0302), line(t, "cheaper", 100, 50, 0.0298))
	p := s.start(t, "")
	s.refresh(t, s.now, 0.8, 0.1)
	raw, scores := cycle(t, p, pod("p", "1"), s.infos())
	if raw["full"] != raw["cheaper"] || scores["cheaper"] != 100 {
		t.Errorf("raw scores are %v and scores %v: want equal raw scores and the cheaper at 100", raw, scores)
	}
}

// With opportunistic batching the framework reuses the raw scores of an earlier pod for all nodes but the
// last one chosen: PreScore sees all candidates, Score one of them, NormalizeScore old and new together.
func TestBatchedCyclesMix(t *testing.T) {
	convex, err := power.EvenPiecewise(50, 60, 80, 110, 150, 200)
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(line(t, "a", 10, 0, 0), line(t, "b", 10, 0, 0), line(t, "c", 10, 0, 0), line(t, "dead", 10, 0, 0))
	for i := range s.specs {
		s.specs[i].Predictor = convex
	}
	p := s.start(t, "")
	s.refresh(t, s.now, 0.15, 0.25, 0.45, math.NaN())
	infos := s.infos()
	pd := pod("p", "1")
	raw, scores := cycle(t, p, pd, infos)
	if scores["a"] != 100 {
		t.Fatalf("scores are %v: want a first", scores)
	}
	// Three pods go to a, which is then as steep as c; b is next.
	for range 3 {
		infos[0].(*fakeNode).add(pd)
	}
	// Meanwhile the view changes and b's sensor dies: its old score is still used, and mixes.
	s.refresh(t, s.now, 0.15, math.NaN(), 0.45, math.NaN())
	cs := newState()
	if st := p.PreScore(t.Context(), cs, pd, infos); !st.IsSuccess() {
		t.Fatal(st)
	}
	fresh, _ := p.Score(t.Context(), cs, pd, infos[0])
	if fresh <= raw["a"] || fresh <= raw["b"] {
		t.Errorf("with three pods more a costs %d mW: want more than before, %d, and than b, %d", fresh, raw["a"], raw["b"])
	}
	list := fwk.NodeScoreList{{Name: "c", Score: raw["c"]}, {Name: "dead", Score: raw["dead"]}, {Name: "b", Score: raw["b"]}, {Name: "a", Score: fresh},
		{}} // a node that was scored in a cycle that skipped the plugin
	if st := p.NormalizeScore(t.Context(), cs, pd, list); !st.IsSuccess() {
		t.Fatal(st)
	}
	if list[2].Score != 100 || list[1].Score != 0 || list[4].Score != 0 || list[3].Score < list[0].Score && fresh < raw["c"] {
		t.Errorf("scores are %v: want b at 100, what is not known at 0", list)
	}
	for _, few := range []fwk.NodeScoreList{{}, {{Name: "a", Score: fresh}}} { // fewer than there are candidates
		if st := p.NormalizeScore(t.Context(), cs, pd, few); !st.IsSuccess() || len(few) > 0 && few[0].Score != 100 {
			t.Errorf("alone a has %v (%v), want 100", few, st)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	f.Add(int64(0), int64(1), int64(math.MaxInt64), int64(-5))
	f.Fuzz(func(t *testing.T, a, b, c, d int64) {
		list := fwk.NodeScoreList{{Name: "a", Score: a}, {Name: "b", Score: b}, {Name: "c", Score: c}, {Name: "d", Score: d}}
		normalize(list, -1)
		for _, s := range list {
			if s.Score < 0 || s.Score > 100 {
				t.Fatalf("score %d is not within 0 and 100", s.Score)
			}
		}
	})
}

func TestRaw(t *testing.T) {
	for cost, want := range map[float64]int64{0: 0, 0.0004: 0, 0.0005: 1, 12.3456: 12346, -1: -1000, 1e300: rawMost, -1e300: -rawMost, math.Inf(1): rawOver} {
		if got := raw(cost, 1e3); got != want {
			t.Errorf("raw(%v) = %d: want %d", cost, got, want)
		}
	}
	if raw(math.NaN(), 1e3) != rawUnknown {
		t.Error("NaN has a raw score")
	}
}
