package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// half is a source that reads every node at half load, and counts.
type half struct{ reads atomic.Int64 }

func (h *half) Read(_ context.Context, node string) ([]sensors.Reading, error) {
	h.reads.Add(1)
	return []sensors.Reading{{Kind: sensors.CPUUtilization, Value: 0.5, At: time.Now(), Source: "half"}}, nil
}

// hangs is a source of BMCs that take the connection and say nothing, for ever.
type hangs struct{ reads, hanging atomic.Int64 }

func (h *hangs) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	h.reads.Add(1)
	h.hanging.Add(1)
	defer h.hanging.Add(-1)
	<-ctx.Done()
	return nil, &sensors.Error{Source: "hangs", Node: node, Err: errors.Join(sensors.ErrUnreachable, ctx.Err())}
}

// newLive makes a site of real loops over a source, whose servers' watts per core are their label.
func newLive(tb testing.TB, src sensors.SensorSource) *scoring.Site {
	tb.Helper()
	bind := func(m scoring.Machine) (scoring.Spec, error) {
		perCore := power.Watts(len(m.Labels["watts"]))
		if perCore == 0 {
			return scoring.Spec{}, errors.New("no model for it")
		}
		return line(tb, m.Name, m.Cores, 10, perCore), nil
	}
	return scoring.NewSite(sensors.NewPoller(src, nil, sensors.PollerOptions{}), bind, scoring.SiteOptions{})
}

func labelled(name, watts string) *v1.Node {
	n := node(name, 10)
	n.Labels = map[string]string{"watts": watts}
	return n
}

func infosOf(nodes ...*v1.Node) []fwk.NodeInfo {
	out := make([]fwk.NodeInfo, len(nodes))
	for i, n := range nodes {
		out[i] = &fakeNode{node: n, generation: generations.Add(1)}
	}
	return out
}

// startLive runs the plugin over a site with the cluster's nodes, as a scheduler does.
func startLive(t *testing.T, ctx context.Context, site Site, o Options, nodes ...*v1.Node) (*Plugin, *fakeHandle) {
	t.Helper()
	f, err := New(func(string) (Setup, error) { return Setup{Site: site}, nil }, o)
	if err != nil {
		t.Fatal(err)
	}
	h := newHandle(nodes...)
	pl, err := f(ctx, nil, h)
	if err != nil {
		t.Fatal(err)
	}
	h.factory.Start(ctx.Done())
	h.factory.WaitForCacheSync(ctx.Done())
	return pl.(*Plugin), h
}

func TestNodesJoinAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a, b, c := labelled("a", "wwww"), labelled("b", "www"), labelled("c", "w")
		p, h := startLive(t, ctx, newLive(t, new(half)), Options{}, a, b)
		time.Sleep(5 * time.Second)
		if _, s := cycle(t, p, pod("p", "1"), infosOf(a, b, c)); s["b"] != 100 || s["a"] < 2 || s["c"] != 0 {
			t.Errorf("scores are %v: want b first, a behind it, c unknown", s)
		}
		if _, err := h.client.CoreV1().Nodes().Create(ctx, c, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if _, s := cycle(t, p, pod("p", "1"), infosOf(a, b, c)); s["c"] != 100 {
			t.Errorf("scores are %v: want c, which has joined, first", s)
		}
		// A node whose label changes has another model.
		c = c.DeepCopy()
		c.Labels["watts"] = "wwwwwwww"
		if _, err := h.client.CoreV1().Nodes().Update(ctx, c, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := h.client.CoreV1().Nodes().Delete(ctx, "b", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if _, s := cycle(t, p, pod("p", "1"), infosOf(a, b, c)); s["a"] != 100 || s["b"] != 0 || s["c"] < 2 {
			t.Errorf("scores are %v: want a first, c behind it, b forgotten", s)
		}
		cancel()
		h.factory.Shutdown()
		synctest.Wait()
	})
}

// A cycle reads memory. While every BMC hangs, no cycle makes a read or waits for one: what it does is
// the same, and time (which only passes here when all are waiting) stands still.
func TestCycleWaitsForNoHardware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		src := new(hangs)
		a, b := labelled("a", "wwww"), labelled("b", "www")
		p, h := startLive(t, ctx, newLive(t, src), Options{}, a, b)
		time.Sleep(2 * time.Second)
		if src.hanging.Load() != 2 {
			t.Fatalf("%d reads hang: want 2", src.hanging.Load())
		}
		reads, before := src.reads.Load(), time.Now()
		for range 100 {
			if raw, _ := cycle(t, p, pod("p", "1"), infosOf(a, b)); raw != nil {
				t.Fatalf("raw scores are %v of servers that nobody could read", raw)
			}
		}
		if n := src.reads.Load(); n != reads {
			t.Errorf("100 cycles made %d reads", n-reads)
		}
		if d := time.Since(before); d != 0 {
			t.Errorf("100 cycles waited %v", d)
		}
		cancel()
		h.factory.Shutdown()
		synctest.Wait()
	})
}

// The same with readings that were there before: they are used until they are too old, and then the plugin
// steps aside. The time of a cycle has nothing to wait for in either.
func TestReadingsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		good, bad := new(half), new(hangs)
		var dead atomic.Bool
		src := sensors.SourceFunc(func(ctx context.Context, node string) ([]sensors.Reading, error) {
			if dead.Load() {
				return bad.Read(ctx, node)
			}
			return good.Read(ctx, node)
		})
		a, b := labelled("a", "wwww"), labelled("b", "www")
		p, h := startLive(t, ctx, newLive(t, src), Options{}, a, b)
		time.Sleep(5 * time.Second)
		dead.Store(true)
		time.Sleep(30 * time.Second)
		if bad.reads.Load() == 0 {
			t.Fatal("no read hangs")
		}
		reads, before := good.reads.Load()+bad.reads.Load(), time.Now()
		for range 100 {
			if _, s := cycle(t, p, pod("p", "1"), infosOf(a, b)); s["b"] != 100 {
				t.Fatalf("after 30 s scores are %v: want b first", s)
			}
		}
		if n, d := good.reads.Load()+bad.reads.Load()-reads, time.Since(before); n != 0 || d != 0 {
			t.Errorf("100 cycles with scores made %d reads and waited %v while every BMC hangs", n, d)
		}
		time.Sleep(time.Minute)
		if raw, _ := cycle(t, p, pod("p", "1"), infosOf(a, b)); raw != nil {
			t.Errorf("after 90 s raw scores are %v: want the plugin to step aside", raw)
		}
		cancel()
		h.factory.Shutdown()
		synctest.Wait()
	})
}

func TestSetupIsSharedByProfilesAndRestarts(t *testing.T) {
	opened := 0
	f, err := New(func(config string) (Setup, error) {
		if opened++; config == "missing.yaml" {
			return Setup{}, errors.New("no such file")
		}
		return Setup{Site: newSite()}, nil
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		if _, err := f(ctx, nil, newHandle()); err != nil {
			t.Fatal(err)
		}
	}
	if opened != 1 {
		t.Errorf("two profiles opened the configuration %d times", opened)
	}
	if _, err := f(ctx, rawArgs(`{"config":"missing.yaml"}`), newHandle()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error is %v", err)
	}
	cancel()
	if _, err := f(t.Context(), nil, newHandle()); err != nil || opened != 3 {
		t.Errorf("a new scheduler: %v, opened %d times in all", err, opened)
	}
	if _, err := f(t.Context(), rawArgs(`{"config":"b.yaml","no":1}`), newHandle()); err == nil {
		t.Error("an unknown argument was taken")
	}
}

// A profile that names the file that the program was started with has no site of its own: two would read every sensor twice, and
// register the same metrics.
func TestProfileThatNamesTheProgramsFile(t *testing.T) {
	var opened []string
	all, err := NewAll(func(config string) (Setup, error) {
		opened = append(opened, config)
		return Setup{Site: newSite()}, nil
	}, Options{Config: "a.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{`{}`, `{"config":"a.yaml"}`, `{"config":"b.yaml"}`} {
		if _, err := all[Name](t.Context(), rawArgs(args), newHandle()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := all[PlacementName](t.Context(), nil, newHandle()); err != nil || fmt.Sprint(opened) != "[a.yaml b.yaml]" {
		t.Errorf("opened %v, %v", opened, err)
	}
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	s := newSite(line(t, "a", 10, 50, 5), line(t, "dead", 10, 50, 5), line(t, "full", 10, 50, 5))
	for _, sp := range s.specs {
		s.fleet.Put(sp)
	}
	f, err := New(func(string) (Setup, error) { return Setup{Site: s}, nil }, Options{Registerer: r})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := f(t.Context(), nil, newHandle())
	if err != nil {
		t.Fatal(err)
	}
	p := pl.(*Plugin)
	s.refresh(t, s.now, 0.5, math.NaN(), 1)
	cycle(t, p, pod("p", "1"), s.infos())
	s.refresh(t, s.now, math.NaN())
	cycle(t, p, pod("q", "1"), s.infos())
	const want = `
# HELP leastwatt_decisions_total Scheduling cycles, by what the plugin did: scored, skipped (no candidate was known), failed (so skipped).
# TYPE leastwatt_decisions_total counter
leastwatt_decisions_total{profile="default-scheduler",result="failed"} 0
leastwatt_decisions_total{profile="default-scheduler",result="scored"} 1
leastwatt_decisions_total{profile="default-scheduler",result="skipped"} 1
# HELP leastwatt_candidates_total Candidates of scheduling cycles, by what was known of their cost: known, over_capacity, unknown.
# TYPE leastwatt_candidates_total counter
leastwatt_candidates_total{profile="default-scheduler",state="known"} 1
leastwatt_candidates_total{profile="default-scheduler",state="over_capacity"} 1
leastwatt_candidates_total{profile="default-scheduler",state="unknown"} 4
# HELP leastwatt_nodes Nodes of the cluster, by state: known, or the reason why the state or model is not. Where profiles have several files, a node counts once, as by the one that knows it least.
# TYPE leastwatt_nodes gauge
leastwatt_nodes{state="known"} 0
leastwatt_nodes{state="unreachable"} 3
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "leastwatt_decisions_total", "leastwatt_candidates_total", "leastwatt_nodes"); err != nil {
		t.Error(err)
	}
	if n := testutil.ToFloat64(p.metrics.unknown[reasonOf(sensors.ErrUnreachable)]); n != 4 {
		t.Errorf("%v candidates were unreachable: want 4", n)
	}
	if _, err := New(nil, Options{Registerer: r}); err == nil {
		t.Error("metrics were registered twice without an error")
	}
}

// Profiles of two files see the same nodes: each counts once, in the state of the file that knows it least, whichever was opened first.
func TestNodesOfTwoFilesCountOnce(t *testing.T) {
	for _, order := range [][]string{{"a.yaml", "b.yaml"}, {"b.yaml", "a.yaml"}} {
		r := prometheus.NewPedanticRegistry()
		all := map[string]*fleetSite{}
		for _, name := range order {
			s := newSite(line(t, "both", 10, 50, 5), line(t, "one", 10, 50, 5), line(t, "none", 10, 50, 5))
			for _, sp := range s.specs {
				s.fleet.Put(sp)
			}
			all[name] = s
		}
		f, err := New(func(name string) (Setup, error) { return Setup{Site: all[name]}, nil }, Options{Registerer: r})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range order {
			if _, err := f(t.Context(), rawArgs(`{"config":"`+name+`"}`), newHandle()); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Now()
		all["a.yaml"].now, all["b.yaml"].now = now, now
		all["a.yaml"].refresh(t, now.Add(-20*time.Second), 0.5, 0.5, math.NaN())
		all["b.yaml"].refresh(t, now, 0.5, math.NaN(), math.NaN())
		const want = `
# HELP leastwatt_nodes Nodes of the cluster, by state: known, or the reason why the state or model is not. Where profiles have several files, a node counts once, as by the one that knows it least.
# TYPE leastwatt_nodes gauge
leastwatt_nodes{state="known"} 1
leastwatt_nodes{state="unreachable"} 2
# HELP leastwatt_utilization_nodes Nodes by the source that their load is known from; none is not measured.
# TYPE leastwatt_utilization_nodes gauge
leastwatt_utilization_nodes{source="none"} 2
leastwatt_utilization_nodes{source="test"} 1
`
		if err := testutil.GatherAndCompare(r, strings.NewReader(want), "leastwatt_nodes", "leastwatt_utilization_nodes"); err != nil {
			t.Errorf("%v: %v", order, err)
		}
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "leastwatt_utilization_age_seconds" {
				if h := f.GetMetric()[0].GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() < 20 {
					t.Errorf("%v: %d samples of %v s in all: want the older of the one node that both know", order, h.GetSampleCount(), h.GetSampleSum())
				}
			}
		}
	}
}
