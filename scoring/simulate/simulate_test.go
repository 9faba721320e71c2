package simulate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

func testNode(t testing.TB, name string, cores float64, watts ...power.Watts) Node {
	t.Helper()
	p, err := power.EvenPiecewise(watts...)
	if err != nil {
		t.Fatal(err)
	}
	return Node{Node: batch.Node{
		Node:        scoring.Node{Name: name, Capacity: power.Capacity{Cores: cores}, Predictor: p},
		Allocatable: batch.Resources{CPU: cores, Memory: cores * (4 << 30)},
	}}
}

func strategy(t testing.TB, name string) batch.Strategy {
	t.Helper()
	s, err := batch.New(name, batch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testJob(name string, at, length time.Duration, cores float64) Job {
	return Job{Name: name, Arrival: at, Duration: length, Requests: batch.Resources{CPU: cores}}
}

func run(t testing.TB, c Config, jobs ...Job) *Result {
	t.Helper()
	r, err := Run(t.Context(), c, Jobs(jobs))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9*max(1, math.Abs(want)) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// TestEnergyByHand: one server of 4 cores, 100 W idle to 200 W. Two cores for 10 s, four for 5 s, with a wait.
func TestEnergyByHand(t *testing.T) {
	c := Config{Nodes: []Node{testNode(t, "a", 4, 100, 200)}, Strategy: strategy(t, "fcfs"), Bound: true, PUE: 1.5}
	r := run(t, c, testJob("1", 0, 10*time.Second, 2), testJob("2", 5*time.Second, 5*time.Second, 4))
	near(t, "energy", float64(r.Energy), 1.5*(10*150+5*200))
	near(t, "bound", float64(r.Bound), float64(r.Energy))
	if r.Finished != 2 || r.MeanWait != 2500*time.Millisecond || r.Makespan != 15*time.Second {
		t.Errorf("finished %d, mean wait %v, makespan %v", r.Finished, r.MeanWait, r.Makespan)
	}
	if r.MeanTurnaround != 10*time.Second {
		t.Errorf("mean turnaround %v, want 10 s", r.MeanTurnaround)
	}
}

// TestOffBootSuspend pays for sleep, boot and the idle time before it.
func TestOffBootSuspend(t *testing.T) {
	n := testNode(t, "a", 4, 100, 200)
	n.OffPower, n.Wake, n.WakeWatts = 5, 2*time.Second, 150
	c := Config{Nodes: []Node{n}, Strategy: strategy(t, "leastwatt"), SwitchOff: true, IdleFor: 3 * time.Second, To: 60 * time.Second}
	r := run(t, c, testJob("1", 10*time.Second, 10*time.Second, 4))
	// off 10 s, boot 2 s, work 10 s, idle 3 s, off 35 s
	near(t, "energy", float64(r.Energy), 10*5+2*150+10*200+3*100+35*5)
	if r.SwitchOns != 1 || r.MeanWait != 2*time.Second {
		t.Errorf("%d switch-ons, mean wait %v", r.SwitchOns, r.MeanWait)
	}
	n.Suspend = &Sleep{Power: 10, Wake: time.Second}
	c.Nodes, c.OffAfter = []Node{n}, 15*time.Second
	r = run(t, c, testJob("1", 10*time.Second, 10*time.Second, 4))
	// off 10 s, boot 2 s, work 10 s, idle 3 s, suspended 15 s, off 20 s
	near(t, "energy", float64(r.Energy), 10*5+2*150+10*200+3*100+15*10+20*5)
}

// TestProfile follows the use of a job over time, and its share of the energy.
func TestProfile(t *testing.T) {
	j := testJob("1", 0, 25*time.Second, 4)
	j.Profile, j.Step = []float32{0, 1, 0.5}, 5*time.Second
	var records []Record
	c := Config{Nodes: []Node{testNode(t, "a", 4, 100, 200)}, Strategy: strategy(t, "fcfs"), Bound: true,
		OnJob: func(r Record) { records = append(records, r) }}
	r := run(t, c, j)
	near(t, "energy", float64(r.Energy), 5*100+5*200+15*150)
	if r.OverBound() != 1 || len(records) != 1 || records[0].Node != "a" || records[0].End != 25*time.Second {
		t.Fatalf("over bound %v, records %+v", r.OverBound(), records)
	}
	near(t, "energy of the job", float64(records[0].Energy), 5*200+15*150)
}

func TestFailure(t *testing.T) {
	a, b := testNode(t, "a", 4, 100, 200), testNode(t, "b", 4, 100, 200)
	a.Failures = []Outage{{At: 5 * time.Second, For: 100 * time.Second}}
	c := Config{Nodes: []Node{a, b}, Strategy: strategy(t, "fcfs")}
	r := run(t, c, testJob("1", 0, 10*time.Second, 4), testJob("2", time.Second, 10*time.Second, 4))
	// Job 1 loses 5 s and waits for job 2 on b until 11 s.
	if r.Restarted != 1 || r.Makespan != 21*time.Second || r.Finished != 2 {
		t.Errorf("%d restarted, makespan %v, finished %d", r.Restarted, r.Makespan, r.Finished)
	}
	// a draws nothing from 5 s on.
	near(t, "energy", float64(r.Energy), 5*200+100+10*200+10*200)
}

func TestInletAndDeadline(t *testing.T) {
	c := Config{Nodes: []Node{testNode(t, "a", 4, 100, 200)}, Strategy: strategy(t, "fcfs"),
		Inlet: &Inlet{Base: 25, Reference: 20, Coefficient: 0.004}}
	j := testJob("1", 0, 10*time.Second, 4)
	j.Deadline = 9 * time.Second
	r := run(t, c, j)
	near(t, "energy", float64(r.Energy), 10*200*1.02)
	if r.Missed != 1 {
		t.Errorf("%d deadlines missed, want 1", r.Missed)
	}
}

// TestBadInput: no input loops or is silently changed.
func TestBadInput(t *testing.T) {
	ok := Config{Nodes: []Node{testNode(t, "a", 4, 100, 200)}, Strategy: strategy(t, "leastwatt")}
	if r := run(t, ok); r.Finished != 0 || r.Energy != 0 {
		t.Errorf("an empty workload gives %+v", r)
	}
	r := run(t, ok, testJob("big", 0, time.Second, 5), testJob("ok", 0, 0, 4))
	if r.Unplaced != 1 || r.Finished != 1 {
		t.Errorf("%d unplaced, %d finished", r.Unplaced, r.Finished)
	}
	bad := []Job{testJob("1", -1, 1, 1), testJob("1", 0, -1, 1), testJob("1", 0, 1, math.NaN()), testJob("1", 0, 1, -1),
		{Name: "1", Use: 2}, {Name: "1", Profile: []float32{2}, Step: 1}, {Name: "1", Profile: []float32{1}}}
	for _, j := range bad {
		if _, err := Run(t.Context(), ok, Jobs([]Job{j})); err == nil {
			t.Errorf("%+v passes", j)
		}
	}
	back := func(yield func(Job, error) bool) {
		_ = yield(testJob("1", 5, 1, 1), nil) && yield(testJob("2", 4, 1, 1), nil)
	}
	if _, err := Run(t.Context(), ok, back); !errors.Is(err, ErrOrder) {
		t.Errorf("a clock that goes backwards: %v", err)
	}
	failing := func(yield func(Job, error) bool) { yield(Job{}, errors.New("file.csv:3: broken")) }
	if _, err := Run(t.Context(), ok, failing); err == nil {
		t.Error("a workload that fails passes")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, ok, Jobs([]Job{testJob("1", 0, 1, 1)})); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v", err)
	}
	none := ok
	none.Nodes = nil
	if _, err := Run(t.Context(), none, Jobs(nil)); err == nil {
		t.Error("no nodes pass")
	}
	model := ok
	model.Nodes = []Node{{Node: batch.Node{Node: scoring.Node{Name: "x"}}}}
	if _, err := Run(t.Context(), model, Jobs(nil)); !errors.Is(err, power.ErrNoModel) {
		t.Errorf("a node without a model: %v", err)
	}
}

func manyNodes(t testing.TB, n int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		idle := power.Watts(40 + 7*(i%13))
		nodes[i] = testNode(t, fmt.Sprintf("n%05d", i), float64(16+16*(i%3)), idle, 2*idle, 3*idle+power.Watts(10*(i%5)))
	}
	return nodes
}

func someShapes() []Job {
	var out []Job
	for i := range 50 {
		j := testJob("", 0, time.Duration(1+i*i)*20*time.Second, float64(1+i%7))
		if i%5 == 0 {
			j.Profile, j.Step = []float32{0.2, 0.9, 0.5, 0.5, 1}, time.Minute
		}
		out = append(out, j)
	}
	return out
}

// TestReproducible: two runs agree bit for bit, with everything switched on that could make them differ, and the bound holds.
func TestReproducible(t *testing.T) {
	for _, name := range batch.Names() {
		for _, off := range []bool{false, true} {
			do := func() *Result {
				nodes := manyNodes(t, 20)
				nodes[3].Failures = []Outage{{At: time.Hour, For: time.Hour}}
				var cores float64
				for i := range nodes {
					cores += nodes[i].Capacity.Cores
				}
				g := Generator{Shapes: someShapes(), Load: 0.6, Cores: cores, Until: 6 * time.Hour, Daily: 0.5, Burst: 2, Stationary: true, Seed: 3}
				r, err := Run(t.Context(), Config{Nodes: nodes, Strategy: strategy(t, name), SwitchOff: off, Bound: true, From: time.Hour, To: 6 * time.Hour,
					Sensors: &Sensors{Every: time.Minute, UseNoise: 0.05, WattNoise: 0.02, Learn: true}, Trace: 10 * time.Minute, Seed: 9}, g.Workload())
				if err != nil {
					t.Fatal(err)
				}
				r.SolveTime = 0
				return r
			}
			a, b := do(), do()
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("%s: two runs differ: %s", name, diff)
			}
			if a.OverBound() < 1-1e-9 || a.Finished == 0 {
				t.Errorf("%s, off=%v: energy is %v of the bound, %d finished", name, off, a.OverBound(), a.Finished)
			}
			var sum float64
			for _, n := range a.Nodes {
				sum += float64(n.Energy)
			}
			if diff := cmp.Diff(sum, float64(a.Energy), cmpopts.EquateApprox(1e-9, 0)); diff != "" {
				t.Errorf("%s: the nodes' energy is not the cluster's: %s", name, diff)
			}
		}
	}
}

// TestMoreThanFits: a flood at one instant ends, in order, and memory follows the jobs that are left.
func TestMoreThanFits(t *testing.T) {
	n := 200_000
	if testing.Short() {
		n = 20_000
	}
	flood := func(yield func(Job, error) bool) {
		for i := range n {
			if !yield(testJob("", 0, time.Second, float64(1+i%4)), nil) {
				return
			}
		}
	}
	r, err := Run(t.Context(), Config{Nodes: manyNodes(t, 30), Strategy: strategy(t, "fcfs")}, flood)
	if err != nil {
		t.Fatal(err)
	}
	if r.Finished != n || r.Waiting != 0 {
		t.Errorf("%d of %d finished, %d wait", r.Finished, n, r.Waiting)
	}
}

// TestGenerator: the load asked for is the load that comes.
func TestGenerator(t *testing.T) {
	for _, g := range []Generator{{Load: 0.5}, {Load: 0.5, Stationary: true}, {Load: 0.5, Daily: 0.8, Burst: 5}} {
		g.Shapes, g.Cores, g.Until, g.Seed = someShapes(), 1000, 20*24*time.Hour, 5
		var work float64
		last := time.Duration(0)
		for j, err := range g.Workload() {
			if err != nil {
				t.Fatal(err)
			}
			if j.Arrival < last {
				t.Fatalf("arrival %v after %v", j.Arrival, last)
			}
			last = j.Arrival
			work += j.Requests.CPU * j.Duration.Seconds()
		}
		if load := work / 1000 / g.Until.Seconds(); math.Abs(load-0.5) > 0.02 {
			t.Errorf("%+v: load %v, want 0.5", g.Daily, load)
		}
	}
	for _, g := range []Generator{{}, {Shapes: someShapes()}, {Shapes: someShapes(), Until: 1}, {Shapes: someShapes(), Until: 1, Rate: 1, Daily: 2}} {
		for _, err := range g.Workload() {
			if err == nil {
				t.Errorf("%+v passes", g)
			}
			break
		}
	}
}

// TestGeneratorDeadlines: a job drawn from a trace has as long to its deadline as there, less what of it is over when the simulation starts.
func TestGeneratorDeadlines(t *testing.T) {
	shape := testJob("", 1000*time.Second, 30*time.Second, 1)
	shape.Deadline = 1060 * time.Second
	g := Generator{Shapes: []Job{shape}, Load: 1, Cores: 100, Until: time.Hour, Stationary: true, Seed: 5}
	old := 0
	for j, err := range g.Workload() {
		if err != nil {
			t.Fatal(err)
		}
		want := 60 * time.Second
		if j.Arrival == 0 {
			old++
			want = 30*time.Second + j.Duration
		}
		if j.Deadline-j.Arrival != want {
			t.Fatalf("a job of %v that arrives at %v has until %v, want %v", j.Duration, j.Arrival, j.Deadline, want)
		}
	}
	if old == 0 {
		t.Error("nothing runs at the start")
	}
}

func BenchmarkRun(b *testing.B) {
	for _, c := range []struct {
		name  string
		nodes int
	}{{"fcfs", 1000}, {"roundrobin", 1000}, {"leastallocated", 1000}, {"kubernetes", 1000}, {"energyaware", 1000}, {"leastwatt", 1000}, {"leastwatt", 5000}} {
		b.Run(fmt.Sprintf("%s/%d", c.name, c.nodes), func(b *testing.B) {
			nodes := manyNodes(b, c.nodes)
			var cores float64
			for i := range nodes {
				cores += nodes[i].Capacity.Cores
			}
			shapes := someShapes()
			for i := range shapes {
				shapes[i].Profile = nil
			}
			g := Generator{Shapes: shapes, Load: 0.5, Cores: cores, Until: 24 * time.Hour, Stationary: true, Seed: 3}
			var jobs []Job
			for j := range g.Workload() {
				jobs = append(jobs, j)
			}
			var events int
			for b.Loop() {
				cfg := Config{Nodes: nodes, Strategy: strategy(b, c.name)}
				if c.name != "leastwatt" { // the others do not ask
					cfg.Lifetimes, cfg.Uses = Hidden, Hidden
				}
				r, err := Run(b.Context(), cfg, Jobs(jobs))
				if err != nil {
					b.Fatal(err)
				}
				events += r.Events
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(events)/2/b.Elapsed().Seconds(), "placements/s")
		})
	}
}

// TestRebalancing: moves within their budget save energy, and no job is lost.
func TestRebalancing(t *testing.T) {
	do := func(r batch.Rebalancer) *Result {
		g := Generator{Shapes: someShapes(), Load: 0.5, Cores: 20 * 32, Until: 24 * time.Hour, Stationary: true, Daily: 0.5, Seed: 3}
		res, err := Run(t.Context(), Config{Nodes: manyNodes(t, 20), Strategy: strategy(t, "leastwatt"), SwitchOff: true, Bound: true, Rebalancer: r}, g.Workload())
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	still, moved := do(nil), do(batch.NewRebalancer(batch.RebalanceOptions{Share: 0.3}))
	if moved.Moves == 0 || moved.OverBound() >= still.OverBound() || moved.Finished != still.Finished {
		t.Errorf("%d moves: %.4f of the bound, %.4f without; %d and %d finished", moved.Moves, moved.OverBound(), still.OverBound(), moved.Finished, still.Finished)
	}
}

// asking hides from the simulator that a strategy does not go by until when servers are in use.
type asking struct{ batch.Strategy }

// TestEndsThatNobodyAsksFor: what the simulator does not find out for a strategy changes nothing of what the strategy does.
func TestEndsThatNobodyAsksFor(t *testing.T) {
	for _, name := range batch.Names() {
		for _, off := range []bool{false, true} {
			do := func(s batch.Strategy) *Result {
				g := Generator{Shapes: someShapes(), Load: 0.6, Cores: 6 * 32, Until: 6 * time.Hour, Stationary: true, Seed: 5}
				r, err := Run(t.Context(), Config{Nodes: manyNodes(t, 6), Strategy: s, SwitchOff: off}, g.Workload())
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			got, want := do(strategy(t, name)), do(asking{strategy(t, name)})
			if got.Energy != want.Energy || got.MeanWait != want.MeanWait || got.SwitchOns != want.SwitchOns {
				t.Errorf("%s, off %v: %v and mean wait %v, asked for ends %v and %v", name, off, got.Energy, got.MeanWait, want.Energy, want.MeanWait)
			}
		}
	}
}
