package scheduler

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

func TestCheapestWinsAndOrderIsKept(t *testing.T) {
	s := newSite(line(t, "dear", 10, 50, 30), line(t, "cheap", 10, 50, 5), line(t, "middle", 10, 50, 12))
	p := s.start(t, "")
	s.refresh(t, s.now, 0.5)
	raw, scores := cycle(t, p, pod("p", "2"), s.infos())
	// The envelope of a line is the line: two cores at 5, 12 and 30 W.
	for name, want := range map[string]int64{"cheap": 10_000, "middle": 24_000, "dear": 60_000} {
		if raw[name] != want {
			t.Errorf("raw score of %s is %d: want %d mW", name, raw[name], want)
		}
	}
	if !(scores["cheap"] == 100 && scores["cheap"] > scores["middle"] && scores["middle"] > scores["dear"] && scores["dear"] > levelOver) {
		t.Errorf("scores are %v: want cheap at 100, then middle, then dear", scores)
	}
}

func TestUnknownNeverWins(t *testing.T) {
	specs := []string{"dead", "unmodelled", "full", "dear"}
	s := newSite(line(t, specs[0], 10, 50, 1), line(t, specs[1], 10, 50, 1), line(t, specs[2], 10, 50, 1), line(t, specs[3], 10, 50, 90))
	s.specs[1].Predictor = nil
	p := s.start(t, "")
	s.refresh(t, s.now, math.NaN(), 0.1, 0.95, 0.1)
	infos := append(s.infos(), &fakeNode{node: node("stranger", 10), generation: generations.Add(1)})
	raw, scores := cycle(t, p, pod("p", "1"), infos)
	want := map[string]int64{"dear": 100, "full": 1, "dead": 0, "unmodelled": 0, "stranger": 0}
	for name := range want {
		if scores[name] != want[name] {
			t.Errorf("score of %s is %d: want %d (raw %d)", name, scores[name], want[name], raw[name])
		}
	}
	if raw["dead"] != rawUnknown || raw["full"] != rawOver {
		t.Errorf("raw scores are %v", raw)
	}
}

func TestStepsAsideWhenNothingIsKnown(t *testing.T) {
	s := newSite(line(t, "a", 10, 50, 1), line(t, "b", 10, 50, 2))
	p := s.start(t, "")
	if raw, _ := cycle(t, p, pod("p", "1"), s.infos()); raw != nil {
		t.Errorf("before the first reading the plugin scored: %v", raw)
	}
	s.refresh(t, s.now, math.NaN())
	if raw, _ := cycle(t, p, pod("p", "1"), s.infos()); raw != nil {
		t.Errorf("with dead sensors the plugin scored: %v", raw)
	}
	s.refresh(t, s.now.Add(-time.Hour), 0.2)
	if raw, _ := cycle(t, p, pod("p", "1"), s.infos()); raw != nil {
		t.Errorf("with stale readings the plugin scored: %v", raw)
	}
	s.refresh(t, s.now, 0.2)
	if raw, _ := cycle(t, p, pod("p", "1"), s.infos()); raw == nil {
		t.Error("with fresh readings the plugin stepped aside")
	}
}

func TestPodsThatNoSampleShowsCount(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	long := at.Add(-time.Hour)
	cases := map[string]struct {
		add     func(*fakeNode)
		pending float64
	}{
		"running since long":       {func(n *fakeNode) { n.add(started(pod("a", "2"), long, long)) }, 0},
		"bound after the sample":   {func(n *fakeNode) { n.add(started(pod("a", "2"), at.Add(time.Second), at.Add(time.Second))) }, 2},
		"bound in the same second": {func(n *fakeNode) { n.add(started(pod("a", "2"), at, at)) }, 2},
		"bound before, ran after":  {func(n *fakeNode) { n.add(started(pod("a", "2"), long, at.Add(time.Second))) }, 2},
		"assumed, not bound":       {func(n *fakeNode) { n.add(pod("a", "2")) }, 2},
		"bound, not running":       {func(n *fakeNode) { p := started(pod("a", "2"), long, long); p.Status.Phase = "Pending"; n.add(p) }, 2},
		"restarted after the sample": {func(n *fakeNode) {
			p := started(pod("a", "2"), long, at.Add(time.Second))
			p.Status.ContainerStatuses[0].RestartCount = 1
			n.add(p)
		}, 0},
		"ended":           {func(n *fakeNode) { p := pod("a", "2"); p.Status.Phase = "Succeeded"; n.add(p) }, 0},
		"without request": {func(n *fakeNode) { n.add(pod("a", "")) }, 0.25},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			// Watts rise with the square of the load, so the cost shows what the load was taken to be.
			curve, err := power.EvenPiecewise(0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100)
			if err != nil {
				t.Fatal(err)
			}
			s := newSite(line(t, "n", 10, 0, 0))
			s.specs[0].Predictor = curve
			p := s.start(t, `{"defaultPodCPU":"250m"}`)
			s.refresh(t, at, 0.3)
			infos := s.infos()
			c.add(infos[0].(*fakeNode))
			raw, _ := cycle(t, p, pod("new", "1"), infos)
			u := 0.3 + c.pending/10
			if want := math.Round(1000 * float64(curve.At(u+0.1)-curve.At(u))); float64(raw["n"]) != want {
				t.Errorf("cost is %d mW: want %v, of %v cores pending", raw["n"], want, c.pending)
			}
			// A new sample, two seconds after all of that, shows what runs. Nothing else has changed.
			s.now = at.Add(5 * time.Second)
			s.refresh(t, s.now, 0.3)
			again, _ := cycle(t, p, pod("new", "1"), infos)
			fresh, _ := cycle(t, s.start(t, `{"defaultPodCPU":"250m"}`), pod("new", "1"), infos)
			if again["n"] != fresh["n"] {
				t.Errorf("cost is %d mW, but %d after a restart", again["n"], fresh["n"])
			}
		})
	}
}

// A device whose clock runs ahead by less than the age that readings may have passes as fresh, but its sample shows
// no pod that came after it was read, nor does it when the view is made anew.
func TestClockAheadShowsNoLaterPod(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	s := newSite(line(t, "n", 10, 0, 0))
	curve, err := power.EvenPiecewise(0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100)
	if err != nil {
		t.Fatal(err)
	}
	s.specs[0].Predictor = curve
	p := s.start(t, "")
	infos := s.infos()
	infos[0].(*fakeNode).add(started(pod("a", "2"), at.Add(time.Second), at.Add(time.Second)))
	want := int64(math.Round(1000 * float64(curve.At(0.6)-curve.At(0.5))))
	for _, later := range []time.Duration{0, 4 * time.Second, 8 * time.Second} {
		s.now = at.Add(later)
		s.refresh(t, at.Add(30*time.Second), 0.3) // the same sample, of a clock 30 s ahead
		if raw, _ := cycle(t, p, pod("new", "1"), infos); raw["n"] != want {
			t.Errorf("%v after it was read: cost is %d mW, want %d, with the 2 cores of the pod that came later", later, raw["n"], want)
		}
	}
	// The next sample, by the same clock, does show it.
	s.now = at.Add(10 * time.Second)
	s.refresh(t, at.Add(40*time.Second), 0.5)
	if raw, _ := cycle(t, p, pod("new", "1"), infos); raw["n"] != want {
		t.Errorf("with the next sample the cost is %d mW, want %d", raw["n"], want)
	}
}

func TestArgs(t *testing.T) {
	if _, err := DecodeArgs(nil); err != nil {
		t.Errorf("no arguments: %v", err)
	}
	a, err := DecodeArgs(rawArgs(`{"podUsageAssumption":0.5,"defaultPodCPU":"1500m"}`))
	if err != nil || a.PodUsageAssumption != 0.5 || a.cpu(0) != 1.5 || a.cpu(3000) != 1.5 || a.KeepDecisions != 128 {
		t.Errorf("arguments are %+v, %v", a, err)
	}
	for json, want := range map[string]string{
		`{"podUsageAsumption":0.5}`:                       "podUsageAsumption",
		`{"PodUsageAssumption":0.5}`:                      "PodUsageAssumption",
		`{"podUsageAssumption":1,"podUsageAssumption":2}`: "duplicate",
		`{"podUsageAssumption":0}`:                        "podUsageAssumption",
		`{"podUsageAssumption":"half"}`:                   "podUsageAssumption",
		`{"defaultPodCPU":"some"}`:                        "defaultPodCPU",
		`{"defaultPodCPU":"0"}`:                           "defaultPodCPU",
		`{"keepDecisions":-1}`:                            "keepDecisions",
		`{"keepDecisions":0,"annotate":true}`:             "keepDecisions",
		`{"explainCandidates":0}`:                         "explainCandidates",
		`{"keepDecisions":10000,"explainCandidates":100}`: "keepDecisions × explainCandidates is 10000 × 100: want at most 50000",
		`{`: Name,
	} {
		if _, err := DecodeArgs(rawArgs(json)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), Name) {
			t.Errorf("arguments %s: error %v: want one that names the plugin and %q", json, err, want)
		}
	}
	if _, err := DecodeArgs(node("n", 1)); err == nil {
		t.Error("a Node was taken for arguments")
	}
}
