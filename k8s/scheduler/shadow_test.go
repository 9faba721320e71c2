package scheduler

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Shadow mode has no part in the choice, and counts what its choice would have saved while the pods run.
func TestShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := prometheus.NewPedanticRegistry()
		s := newSite(line(t, "cheap", 10, 50, 5), line(t, "dear", 10, 50, 30), line(t, "dead", 10, 50, 1))
		for _, sp := range s.specs {
			s.fleet.Put(sp)
		}
		intensity := func() (float64, bool) { return 360, true }
		f, err := New(func(string) (Setup, error) { return Setup{Site: s, GramsPerKWh: intensity}, nil }, Options{Registerer: r})
		if err != nil {
			t.Fatal(err)
		}
		web := pod("web", "2")
		h := newHandle()
		if _, err := h.client.CoreV1().Pods("default").Create(ctx, web, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pl, err := f(ctx, rawArgs(`{"mode":"shadow"}`), h)
		if err != nil {
			t.Fatal(err)
		}
		h.factory.Start(ctx.Done())
		h.factory.WaitForCacheSync(ctx.Done())
		p := pl.(*Plugin)
		s.refresh(t, s.now, 0.5, 0.5, math.NaN())
		place := func(name, node string) {
			pd := pod(name, "2")
			if _, scores := cycle(t, p, pd, s.infos()); scores["cheap"] != 0 || scores["dear"] != 0 || scores["dead"] != 0 {
				t.Errorf("scores are %v: want none", scores)
			}
			p.Reserve(ctx, newState(), pd, node)
			p.PostBind(ctx, newState(), pd, node)
		}
		place("web", "dear") // 60 W where 10 W would do
		place("same", "cheap")
		place("dark", "dead")
		p.Reserve(ctx, newState(), pod("hinted", "2"), "dear")
		p.PostBind(ctx, newState(), pod("hinted", "2"), "dear")
		for range 3 { // whose binding fails, each time
			cycle(t, p, pod("failed", "2"), s.infos())
			p.Reserve(ctx, newState(), pod("failed", "2"), "dear")
			p.Unreserve(ctx, newState(), pod("failed", "2"), "dear")
		}
		expect := func(watts, joules, grams float64) {
			t.Helper()
			want := fmt.Sprintf(`
# HELP leastwatt_shadow_decisions_total Pods placed while the plugin only watched, by where it would have placed them: same, other (node), unknown (too little was known), unasked (one candidate, or scores reused).
# TYPE leastwatt_shadow_decisions_total counter
leastwatt_shadow_decisions_total{profile="default-scheduler",result="other"} 1
leastwatt_shadow_decisions_total{profile="default-scheduler",result="same"} 1
leastwatt_shadow_decisions_total{profile="default-scheduler",result="unasked"} 1
leastwatt_shadow_decisions_total{profile="default-scheduler",result="unknown"} 1
# HELP leastwatt_shadow_saving_grams The saving that the watching plugin predicts in gCO2eq, since the scheduler started; may fall.
# TYPE leastwatt_shadow_saving_grams gauge
leastwatt_shadow_saving_grams{profile="default-scheduler"} %v
# HELP leastwatt_shadow_saving_joules The saving that the watching plugin predicts, since the scheduler started; may fall.
# TYPE leastwatt_shadow_saving_joules gauge
leastwatt_shadow_saving_joules{profile="default-scheduler"} %v
# HELP leastwatt_shadow_saving_watts What the pods now running are predicted to draw less, had each gone where the watching plugin would have placed it.
# TYPE leastwatt_shadow_saving_watts gauge
leastwatt_shadow_saving_watts{profile="default-scheduler"} %v
`, grams, joules, watts)
			if err := testutil.GatherAndCompare(r, strings.NewReader(want), "leastwatt_shadow_decisions_total",
				"leastwatt_shadow_saving_watts", "leastwatt_shadow_saving_joules", "leastwatt_shadow_saving_grams"); err != nil {
				t.Error(err)
			}
		}
		expect(50, 0, 0)
		time.Sleep(1000 * time.Second)
		expect(50, 50_000, 5) // 50 kJ are 1/72 kWh
		if err := h.client.CoreV1().Pods("default").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1000 * time.Second)
		expect(0, 50_000, 5)
		if d := p.decisions.Last(ctx); len(d) != 7 || !d[6].Shadow || viewOf(&d[6]).Verdict() != "placed elsewhere: the plugin only watches" {
			t.Errorf("the first decision is %+v", d[len(d)-1])
		}
		cancel()
		h.factory.Shutdown()
		synctest.Wait()
	})
}

// What was found for a try of a pod says nothing of its next try, where there may be one candidate.
func TestShadowOfNextTry(t *testing.T) {
	s := newSite(line(t, "cheap", 10, 50, 5), line(t, "dear", 10, 50, 30))
	p := s.start(t, `{"mode":"shadow"}`)
	s.refresh(t, s.now, 0.5, 0.5)
	for name, reserved := range map[string]bool{"its binding failed": true, "another plugin reserved nothing": false} {
		before := testutil.ToFloat64(p.shadow.unasked)
		pd := pod("web", "2")
		cycle(t, p, pd, s.infos())
		if reserved {
			p.Reserve(t.Context(), newState(), pd, "dear")
		}
		p.Unreserve(t.Context(), newState(), pd, "dear")
		p.Reserve(t.Context(), newState(), pd, "dear") // the only one by now: PreScore is not asked
		p.PostBind(t.Context(), newState(), pd, "dear")
		if got := testutil.ToFloat64(p.shadow.unasked) - before; got != 1 || p.shadow.saving != 0 {
			t.Errorf("%s: %v tries were unasked, and %v W would be saved: want 1 and 0", name, got, p.shadow.saving)
		}
		if d := p.decisions.Last(t.Context()); d[0].Candidates != 0 || len(d[0].Best) != 0 || d[0].Undone || !d[1].Undone || d[1].Candidates != 2 {
			t.Errorf("%s: the decisions are %+v", name, d)
		}
		p.Unreserve(t.Context(), newState(), pd, "dear")
		for range 2 { // and again with all, where another plugin reserves nothing
			cycle(t, p, pd, s.infos())
			p.Unreserve(t.Context(), newState(), pd, "dear")
		}
		if d := p.decisions.Last(t.Context()); d[0].Chosen+d[1].Chosen != "" || d[0].Candidates != 2 || d[1].Candidates != 2 || d[2].Chosen != "dear" {
			t.Errorf("%s: the decisions of the last three tries are %+v", name, d)
		}
	}
}

// A pod counts from when it is bound, however long that takes, and not at all if it was deleted before.
func TestShadowCountsFromBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newSite(line(t, "cheap", 10, 50, 5), line(t, "dear", 10, 50, 30))
		for _, sp := range s.specs {
			s.fleet.Put(sp)
		}
		f, err := New(func(string) (Setup, error) { return Setup{Site: s}, nil }, Options{})
		if err != nil {
			t.Fatal(err)
		}
		h := newHandle()
		early := pod("early", "2")
		if _, err := h.client.CoreV1().Pods("default").Create(ctx, early, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pl, err := f(ctx, rawArgs(`{"mode":"shadow"}`), h)
		if err != nil {
			t.Fatal(err)
		}
		h.factory.Start(ctx.Done())
		h.factory.WaitForCacheSync(ctx.Done())
		synctest.Wait()
		p := pl.(*Plugin)
		s.refresh(t, s.now, 0.5)
		reserve := func(pd *v1.Pod) {
			cycle(t, p, pd, s.infos())
			p.Reserve(ctx, newState(), pd, "dear") // 60 W where 10 W would do
			time.Sleep(time.Minute)
		}
		want := func(when string, others, watts, joules float64) {
			t.Helper()
			p.shadow.mu.Lock()
			defer p.shadow.mu.Unlock()
			p.shadow.advance(time.Now())
			if got := testutil.ToFloat64(p.shadow.other); got != others || float64(p.shadow.saving) != watts || float64(p.shadow.joules) != joules || len(p.shadow.binding) != 0 {
				t.Errorf("%s: %v pods elsewhere, %v W, %v J, %d being bound: want %v, %v, %v and 0", when, got, p.shadow.saving, p.shadow.joules,
					len(p.shadow.binding), others, watts, joules)
			}
		}
		late := pod("late", "2")
		reserve(late)
		p.PostBind(ctx, newState(), late, "dear")
		want("bound after a minute", 1, 50, 0)
		time.Sleep(10 * time.Second)
		want("bound for 10 s", 1, 50, 500)
		p.shadow.gone(late.UID)
		reserve(early)
		if err := h.client.CoreV1().Pods("default").Delete(ctx, "early", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.PostBind(ctx, newState(), early, "dear")
		time.Sleep(time.Minute)
		want("bound, and deleted before we were told", 2, 0, 500)
		cancel()
		h.factory.Shutdown()
		synctest.Wait()
	})
}

// The pods of a group are tried on each placement and taken back; those of the best are reserved again without another cycle. Each
// counts once, by the candidates that it had there, and so is its decision told.
func TestShadowOfPodGroup(t *testing.T) {
	s := newSite(line(t, "a1", 10, 50, 5), line(t, "a2", 10, 50, 30), line(t, "b1", 10, 50, 50), line(t, "b2", 10, 50, 60))
	p := s.start(t, `{"mode":"shadow"}`)
	p.told = newTold(nil)
	s.refresh(t, s.now, 0.5)
	infos := s.infos()
	pods := []*v1.Pod{pod("p0", "1"), pod("p1", "1"), pod("p2", "1")}
	states := map[string][]*fakeState{}
	to := map[string][]string{"a": {"a2", "a1", "a2"}, "b": {"b1", "b1", "b2"}}
	for k, rack := range []string{"a", "b"} {
		for i, pd := range pods {
			cs := newState()
			cs.group = true
			cycleIn(t, p, cs, pd, infos[2*k:2*k+2])
			p.Reserve(t.Context(), cs, pd, to[rack][i])
			infos[2*k+map[string]int{"1": 0, "2": 1}[to[rack][i][1:]]].(*fakeNode).add(pd)
			states[rack] = append(states[rack], cs)
		}
		for i, pd := range pods {
			p.Unreserve(t.Context(), states[rack][i], pd, to[rack][i])
		}
		for _, n := range infos {
			n.(*fakeNode).pods, n.(*fakeNode).generation = nil, generations.Add(1)
		}
	}
	for i, pd := range pods {
		cs := states["a"][i]
		cs.group = false
		p.Reserve(t.Context(), cs, pd, to["a"][i])
		p.PostBind(t.Context(), cs, pd, to["a"][i])
	}
	if same, other, unasked := testutil.ToFloat64(p.shadow.same), testutil.ToFloat64(p.shadow.other), testutil.ToFloat64(p.shadow.unasked); same != 1 || other != 2 || unasked != 0 || p.shadow.saving != 50 {
		t.Errorf("%v pods are where the plugin would have them, %v elsewhere and %v unasked, saving %v: want 1, 2, 0 and 50 W", same, other, unasked, p.shadow.saving)
	}
	var got []string
	for _, d := range p.decisions.Last(t.Context()) {
		if v := viewOf(&d); !d.Undone {
			got = append(got, fmt.Sprintf("%s of %d to %s: %v W", d.Name, d.Candidates, d.Chosen, *v.ChosenNode.WattsAfter-*v.ChosenNode.WattsBefore), v.Verdict())
		}
	}
	if want := []string{"p2 of 2 to a2: 30 W", "placed elsewhere: the plugin only watches", "p1 of 2 to a1: 5 W", "placed where it costs least", "p0 of 2 to a2: 30 W", "placed elsewhere: the plugin only watches"}; !slices.Equal(got, want) {
		t.Errorf("decisions are %q, want %q", got, want)
	}
}

type events []string

func (e *events) Eventf(about, _ runtime.Object, kind, reason, _, note string, args ...any) {
	*e = append(*e, fmt.Sprintf("%s %s ", kind, reason)+fmt.Sprintf(note, args...))
}

func TestEvents(t *testing.T) {
	s := newSite(line(t, "cheap", 10, 50, 5), line(t, "dear", 10, 50, 30))
	p := s.start(t, "")
	p.told = newTold(nil)
	got := new(events)
	s.refresh(t, s.now, 0.5)
	pd := pod("web", "2")
	cycle(t, p, pd, s.infos())
	p.Reserve(t.Context(), newState(), pd, "dear")
	p.PostBind(t.Context(), newState(), pd, "dear")
	p.events = got
	p.PostBind(t.Context(), newState(), pd, "dear")
	p.PostBind(t.Context(), newState(), pod("other", "2"), "dear")
	if len(*got) != 1 || !strings.Contains((*got)[0], "Normal PlacedByPower dear is predicted to draw +60.00 W for it (200.0 to 260.0 W, model line, load from test") ||
		!strings.Contains((*got)[0], "of 2 candidates 2 were known; cheap would have cost less: other plugins outweighed") {
		t.Errorf("events are %q", *got)
	}
	if n := note(&Decision{Chosen: strings.Repeat("ä", 900)}); len(n) > maxNote || !strings.HasPrefix(n, "ää") {
		t.Errorf("a note of %d bytes", len(n))
	}
}
