package batch

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// hourly is a grid of known values from hour 0 on.
type hourly map[string][]float64

func (hourly) Slot() time.Duration { return time.Hour }

func (h hourly) Ahead(dst []float64, site string, now time.Duration, n int) []float64 {
	v := h[site]
	from := min(int(now/time.Hour), len(v))
	return append(dst, v[from:min(len(v), from+n)]...)
}

func sited(t *testing.T, sites ...string) *Cluster {
	t.Helper()
	var nodes []Node
	for _, s := range sites {
		p, err := power.EvenPiecewise(100, 200)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, Node{Node: scoring.Node{Name: s + "-1", Capacity: power.Capacity{Cores: 4}, Predictor: p},
			Site: s, Allocatable: Resources{CPU: 4, Memory: 16e9}})
	}
	c, err := NewCluster(t.Context(), nodes, ClusterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func carbon(t *testing.T, name string, g Grid, o CarbonOptions) Strategy {
	t.Helper()
	s, err := New(name, Options{Grid: g, Carbon: o})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func work(name string, life, deadline time.Duration) Job {
	return Job{Name: name, Requests: Resources{CPU: 4, Memory: 1e9}, Demand: scoring.Demand{CPU: 4, Lifetime: life}, Deadline: deadline}
}

func plan(t *testing.T, s Strategy, now time.Duration, c *Cluster, jobs ...Job) Plan {
	t.Helper()
	p, err := s.Plan(t.Context(), now, jobs, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Assigned)+len(p.Waiting) != len(jobs) {
		t.Fatalf("%s lost a job: %+v", s.Name(), p)
	}
	return p
}

// TestCleanSiteFirst: with equal servers the cleaner site wins, and a site whose intensity is unknown never does.
func TestCleanSiteFirst(t *testing.T) {
	g := hourly{"dirty": {600, 600, 600}, "clean": {50, 50, 50}, "blind": nil}
	for _, name := range CarbonNames() {
		c := sited(t, "blind", "clean", "dirty")
		s := carbon(t, name, g, CarbonOptions{})
		if name == "ecovisor" { // it looks for the fullest server: give each some load
			for i := range c.Len() {
				c.SetUse(i, 1)
			}
		}
		for _, want := range []string{"clean", "dirty"} {
			p := plan(t, s, 0, c, work("j"+want, time.Hour, time.Hour))
			if len(p.Assigned) != 1 {
				t.Fatalf("%s: job is held: %v", name, p.Waiting)
			}
			if got := c.Node(p.Assigned[0].Node).Site; got != want {
				t.Errorf("%s places at %s, want %s", name, got, want)
			}
			if name == "threshold" {
				break // placed by free room among equally bad sites
			}
		}
	}
}

// TestHeldForTheCleanHour: the planner waits for the cheap hour within its deadline, and not beyond its latest start.
func TestHeldForTheCleanHour(t *testing.T) {
	g := hourly{"a": {500, 400, 300, 100, 450, 20}}
	c := sited(t, "a")
	s := carbon(t, "spacetime", g, CarbonOptions{})
	j := work("j", time.Hour, 5*time.Hour) // latest start 3 h 54 min: slot 5 is out of reach
	p := plan(t, s, 0, c, j)
	if len(p.Waiting) != 1 || p.Waiting[0].Reason.Planned != 3*time.Hour {
		t.Fatalf("planned %+v, want held until 3 h", p)
	}
	if p = plan(t, s, 3*time.Hour, c, j); len(p.Assigned) != 1 {
		t.Errorf("at its hour the job is held again: %+v", p.Waiting)
	}
	// At the latest start it is let go whatever comes.
	c = sited(t, "a")
	j = work("late", time.Hour, 2*time.Hour)
	if p = plan(t, s, 54*time.Minute, c, j); len(p.Assigned) != 1 {
		t.Errorf("at its latest start the job is held: %+v", p.Waiting)
	}
}

// TestNoForecastNoHold: nothing is held without a forecast, nor without a deadline, nor with a lifetime that nobody knows.
func TestNoForecastNoHold(t *testing.T) {
	for _, name := range CarbonNames() {
		for what, g := range map[string]hourly{"no forecast": {}, "unknown": {"a": {math.NaN(), math.NaN()}}} {
			if p := plan(t, carbon(t, name, g, CarbonOptions{}), 0, sited(t, "a"), work("j", time.Hour, 24*time.Hour)); len(p.Assigned) != 1 {
				t.Errorf("%s, %s: held: %+v", name, what, p.Waiting)
			}
		}
	}
	g := hourly{"a": {500, 1}}
	for what, j := range map[string]Job{"no deadline": work("j", time.Hour, 0), "no lifetime": work("j", 0, 24*time.Hour), "deadline passed": work("j", time.Hour, 1)} {
		if p := plan(t, carbon(t, "spacetime", g, CarbonOptions{}), time.Minute, sited(t, "a"), j); len(p.Assigned) != 1 {
			t.Errorf("%s: held: %+v", what, p.Waiting)
		}
	}
}

// TestRoomIsShared: two jobs that want the only clean hour of one server get different hours, the second-best one too.
func TestRoomIsShared(t *testing.T) {
	g := hourly{"a": {500, 400, 100, 200, 500, 500, 500, 500}}
	for _, together := range []bool{true, false} {
		s, c := carbon(t, "spacetime", g, CarbonOptions{}), sited(t, "a")
		a, b := work("a", time.Hour, 7*time.Hour), work("b", time.Hour, 7*time.Hour)
		var w []Wait
		if together {
			w = plan(t, s, 0, c, a, b).Waiting
		} else {
			w = append(plan(t, s, 0, c, a).Waiting, plan(t, s, 0, c, b).Waiting...)
		}
		if len(w) != 2 || w[0].Reason.Planned+w[1].Reason.Planned != 5*time.Hour || w[0].Reason.Planned == w[1].Reason.Planned {
			t.Errorf("together %v: held %+v, want until 2 h and 3 h", together, w)
		}
	}
}

// TestShortJobsShareASlot: four jobs of a quarter of an hour, each as large as the server, run one after the other in its one clean hour; a fifth does
// not, whether they come together or one by one. Where servers are switched off each takes an hour of its own.
func TestShortJobsShareASlot(t *testing.T) {
	g := hourly{"a": {500, 400, 100, 200, 500, 500, 500, 500}}
	for _, together := range []bool{true, false} {
		s, c := carbon(t, "spacetime", g, CarbonOptions{}), sited(t, "a")
		var jobs []Job
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			jobs = append(jobs, work(name, 15*time.Minute, 7*time.Hour))
		}
		var w []Wait
		if together {
			w = plan(t, s, 0, c, jobs...).Waiting
		} else {
			for _, j := range jobs {
				w = append(w, plan(t, s, 0, c, j).Waiting...)
			}
		}
		at := make(map[time.Duration]int)
		for _, x := range w {
			at[x.Reason.Planned]++
		}
		if at[2*time.Hour] != 4 || at[3*time.Hour] != 1 {
			t.Errorf("together %v: planned for %v, want four at 2 h and one at 3 h", together, at)
		}
	}
	s, c := carbon(t, "spacetime", g, CarbonOptions{}), sited(t, "a")
	c.switchOff = true
	w := plan(t, s, 0, c, work("a", 15*time.Minute, 7*time.Hour), work("b", 15*time.Minute, 7*time.Hour)).Waiting
	if len(w) != 2 || w[0].Reason.Planned == w[1].Reason.Planned {
		t.Errorf("switched off: held %+v, want different hours", w)
	}
}

// twin is a cluster of two like servers of four cores at site a that stay on.
func twin(t *testing.T) *Cluster {
	t.Helper()
	c := sited(t, "a", "b")
	nodes := []Node{c.nodes[0], c.nodes[1]}
	nodes[1].Site = "a"
	c, err := NewCluster(t.Context(), nodes, ClusterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFreedCoresAreUsed: a job that is planned for the next hour starts when cores become free before, as now is no dirtier; where servers are switched
// off, or now is dirtier, it keeps to its plan.
func TestFreedCoresAreUsed(t *testing.T) {
	for what, x := range map[string]struct {
		off   bool
		costs []float64
		early bool
	}{
		"clean": {false, []float64{100, 110, 500, 500, 500}, true},
		"dirty": {false, []float64{100, 80, 90, 500, 500}, false},
		"off":   {true, []float64{100, 110, 500, 500, 500}, false},
	} {
		s, c := carbon(t, "spacetime", hourly{"a": x.costs}, CarbonOptions{}), sited(t, "a")
		c.switchOff = x.off
		first, next := work("first", 20*time.Minute, 50*time.Minute), work("next", time.Hour, 4*time.Hour)
		if p := plan(t, s, 0, c, first); len(p.Assigned) != 1 {
			t.Fatalf("%s: the first is held: %+v", what, p.Waiting)
		}
		w := plan(t, s, time.Minute, c, next).Waiting
		if len(w) != 1 || w[0].Reason.Planned != time.Hour {
			t.Fatalf("%s: %+v, want planned for 1 h", what, w)
		}
		if want := 20 * time.Minute; x.early && w[0].Reason.Until != want {
			t.Errorf("%s: to be asked at %v, want %v, when the first ends", what, w[0].Reason.Until, want)
		}
		c.Release(0, &first)
		if p := plan(t, s, 20*time.Minute, c, next); len(p.Assigned) == 1 != x.early {
			t.Errorf("%s: starts early %v, want %v", what, len(p.Assigned) == 1, x.early)
		}
	}
}

// TestEarlyStartsLeaveRoom: cores that are free early go to no job that would keep them from others that must start before it
// ends, be it one for which its server keeps room or many for which none does, since they are small.
func TestEarlyStartsLeaveRoom(t *testing.T) {
	for _, pieces := range []int{1, 16} {
		g := hourly{"a": {100, 100, 100, 100, 200, 200, 200, 200, 200, 200}}
		s, c := carbon(t, "spacetime", g, CarbonOptions{Margin: 1}), sited(t, "a")
		first, long := work("first", 30*time.Minute, 40*time.Minute), work("long", 3*time.Hour, 9*time.Hour)
		first.Deadline = 30 * time.Minute
		hurried := make([]Job, pieces)
		for i := range hurried {
			hurried[i] = work(fmt.Sprint("hurried", i), time.Hour, 150*time.Minute)
			hurried[i].Requests.CPU /= float64(pieces)
			hurried[i].Demand.CPU /= float64(pieces)
		}
		plan(t, s, 0, c, first)
		a, b := plan(t, s, time.Minute, c, hurried...).Waiting, plan(t, s, 2*time.Minute, c, long).Waiting
		if len(a) != pieces || a[pieces-1].Reason.Planned != time.Hour || len(b) != 1 || b[0].Reason.Planned != 2*time.Hour {
			t.Fatalf("planned %+v and %+v, want 1 h and 2 h", a, b)
		}
		c.Release(0, &first)
		for _, jobs := range [][]Job{{long}, append([]Job{long}, hurried...)} {
			for _, x := range plan(t, s, 30*time.Minute, c, jobs...).Assigned {
				if jobs[x.Job].Name == "long" {
					t.Errorf("%d asked: the long job starts and keeps %d hurried ones from their latest start", len(jobs), pieces)
				}
			}
		}
	}
}

// TestUrgentFirst: of those whose latest start has come the one that can still end in time gets the room, and a server that becomes free goes to the one that waits
// for it, not to one with time that is asked about before it.
func TestUrgentFirst(t *testing.T) {
	g := hourly{"a": {100, 500, 500, 500, 500, 500, 500}}
	s, c := carbon(t, "spacetime", g, CarbonOptions{}), sited(t, "a")
	p := plan(t, s, 30*time.Minute, c, work("due", time.Hour, 95*time.Minute), work("overdue", time.Hour, time.Hour))
	if len(p.Assigned) != 1 || p.Assigned[0].Job != 0 {
		t.Fatalf("%+v, want the job to start that ends in time", p)
	}
	s, c = carbon(t, "spacetime", g, CarbonOptions{}), twin(t)
	short, long := work("short", 10*time.Minute, 11*time.Minute), work("long", 3*time.Hour, 3*time.Hour)
	if p = plan(t, s, 0, c, short, long); len(p.Assigned) != 2 {
		t.Fatalf("%+v, want both to start", p)
	}
	node := p.Assigned[slices.IndexFunc(p.Assigned, func(a Assignment) bool { return a.Job == 0 })].Node
	urgent, patient := work("urgent", 30*time.Minute, 30*time.Minute), work("patient", 10*time.Minute, 6*time.Hour)
	if p = plan(t, s, time.Minute, c, urgent); len(p.Waiting) != 1 {
		t.Fatalf("%+v, want no room", p)
	}
	c.Release(node, &short)
	if p = plan(t, s, 10*time.Minute, c, patient); len(p.Assigned) != 0 {
		t.Errorf("%+v: the patient job takes the server that the urgent one waits for", p)
	}
	if p = plan(t, s, 10*time.Minute, c, urgent); len(p.Assigned) != 1 || p.Assigned[0].Node != node {
		t.Errorf("%+v, want the urgent job on server %d", p, node)
	}
	c.Release(node, &urgent)
	if p = plan(t, s, 40*time.Minute, c, patient); len(p.Assigned) != 1 {
		t.Errorf("%+v, want the patient job to start afterwards", p)
	}
}

// TestPlannedAnew: when a slot begins, all that are held are planned together, so that one with time makes room for one that has none.
func TestPlannedAnew(t *testing.T) {
	g := hourly{"a": {600, 500, 100, 110, 600, 600, 600, 600}}
	for joint, want := range map[int][2]time.Duration{0: {3 * time.Hour, 2 * time.Hour}, -1: {2 * time.Hour, time.Hour}} {
		s, c := carbon(t, "spacetime", g, CarbonOptions{Joint: joint, Margin: 1}), sited(t, "a")
		patient, hurried := work("patient", time.Hour, 7*time.Hour), work("hurried", time.Hour, 3*time.Hour)
		first, second := plan(t, s, 0, c, patient).Waiting, plan(t, s, 10*time.Minute, c, hurried).Waiting
		if len(first) != 1 || first[0].Reason.Planned != 2*time.Hour || len(second) != 1 || second[0].Reason.Planned != time.Hour {
			t.Fatalf("joint %d: alone they are planned for %+v and %+v", joint, first, second)
		}
		got := [2]time.Duration{first[0].Reason.Planned, second[0].Reason.Planned}
		if joint == 0 {
			for _, w := range append(first, second...) {
				if w.Reason.Until != time.Hour {
					t.Errorf("%+v: want to be asked when the next slot begins", w.Reason)
				}
			}
			for _, w := range plan(t, s, time.Hour, c, patient, hurried).Waiting {
				got[w.Job] = w.Reason.Planned
			}
		}
		if got != want {
			t.Errorf("joint %d: planned for %v, want %v", joint, got, want)
		}
	}
}

// TestHoldsAreForgotten: jobs that were held and are never asked about again, as when their user gives them up, leave nothing behind.
func TestHoldsAreForgotten(t *testing.T) {
	g := hourly{"a": {500, 400, 300, 100, 450, 390, 390, 390, 390, 390, 390, 390}}
	s, c := carbon(t, "spacetime", g, CarbonOptions{}), sited(t, "a")
	suspend := work("b", 2*time.Hour, 5*time.Hour)
	suspend.Suspend = true
	if p := plan(t, s, 0, c, work("a", time.Hour, 5*time.Hour), suspend); len(p.Waiting) != 2 {
		t.Fatalf("%+v: want both held", p)
	}
	plan(t, s, time.Hour, c, work("c", time.Hour, 8*time.Hour))
	if n := len(s.(*overTime).holds); n != 3 {
		t.Errorf("%d jobs are remembered while two more may come: want 3", n)
	}
	plan(t, s, 9*time.Hour, c)
	if n := len(s.(*overTime).holds); n != 0 {
		t.Errorf("%d jobs are remembered whose time has passed", n)
	}
}

// TestSuspend: a job that may be stopped runs in the two clean hours, apart.
func TestSuspend(t *testing.T) {
	g := hourly{"a": {100, 500, 100, 500, 500}}
	s, c := carbon(t, "spacetime", g, CarbonOptions{}), sited(t, "a")
	j := work("j", 2*time.Hour, 5*time.Hour)
	j.Suspend = true
	p := plan(t, s, 0, c, j)
	if len(p.Assigned) != 1 || p.Assigned[0].For != time.Hour {
		t.Fatalf("%+v, want an hour now", p)
	}
}

// TestThresholdDelay: it delays until the next slot, and no longer than allowed.
func TestThresholdDelay(t *testing.T) {
	g := hourly{"a": {500, 500, 500, 500}}
	s := carbon(t, "threshold", g, CarbonOptions{Threshold: 300, MaxDelay: 90 * time.Minute})
	j := work("j", time.Hour, 0)
	for now, want := range map[time.Duration]time.Duration{0: time.Hour, time.Hour: 90 * time.Minute, 90 * time.Minute: 0} {
		p := plan(t, s, now, sited(t, "a"), j)
		var got time.Duration
		if len(p.Waiting) > 0 {
			got = p.Waiting[0].Reason.Until
		}
		if got != want {
			t.Errorf("at %v held until %v, want %v", now, got, want)
		}
	}
}

// TestRobust: one outlier does not squeeze the others together.
func TestRobust(t *testing.T) {
	b := &scoredClean{can: make([]bool, 101)}
	v := make([]float64, 101)
	for i := range v {
		b.can[i], v[i] = true, float64(i)
	}
	v[100] = 1e9
	b.robust(v)
	if math.Abs(v[50]-0.5) > 0.01 || v[100] != 1 || v[0] != 0 {
		t.Errorf("scaled to %v, %v, %v", v[0], v[50], v[100])
	}
}

func TestCarbonOptionsRefused(t *testing.T) {
	for what, o := range map[string]Options{"no grid": {}, "margin": {Grid: hourly{}, Carbon: CarbonOptions{Margin: 0.5}},
		"weight": {Grid: hourly{}, Carbon: CarbonOptions{CostWeight: math.NaN()}}, "horizon": {Grid: hourly{}, Carbon: CarbonOptions{Horizon: -1}}} {
		if _, err := New("spacetime", o); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
