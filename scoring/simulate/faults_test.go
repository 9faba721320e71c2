package simulate

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// everyStrategy makes all strategies, those that go by a grid included, whose forecast is as bad as forecasts can be.
func everyStrategy(t *testing.T) map[string]batch.Strategy {
	t.Helper()
	all := map[string]batch.Strategy{"ecsched-mostloaded": strategy(t, "ecsched-mostloaded")}
	for _, name := range batch.Names() {
		all[name] = strategy(t, name)
	}
	for _, name := range batch.CarbonNames() {
		for what, v := range map[string]float64{"NaN": math.NaN(), "+Inf": math.Inf(1), "-Inf": math.Inf(-1)} {
			all[name+" of "+what] = clean(t, name, foretold{"": {v, 100, v, 50}})
		}
	}
	return all
}

// TestFaultsForEveryStrategy: whatever is wrong with jobs, nodes and forecasts, each strategy ends, places what can be placed, and reports
// the rest.
func TestFaultsForEveryStrategy(t *testing.T) {
	nodes := func() []Node {
		out := []Node{testNode(t, "a", 4, 100, 200), testNode(t, "b", 4, 100, 150), testNode(t, "c", 4, 10, 20)}
		out[2].Failures = []Outage{{At: 5 * time.Second, For: time.Minute}}
		return out
	}
	for name := range everyStrategy(t) {
		for _, every := range []time.Duration{0, 10 * time.Second} {
			for what, c := range map[string]struct {
				jobs                       []Job
				believe                    func(string, *power.Piecewise) *power.Piecewise
				finished, unplaced, missed int
			}{
				"no jobs":       {},
				"nothing to do": {jobs: []Job{testJob("0", 0, 0, 0), testJob("1", 0, 0, 4)}, finished: 2},
				"too large":     {jobs: []Job{testJob("0", 0, time.Second, 5), testJob("1", 0, time.Second, 4), testJob("2", time.Hour, time.Second, math.MaxFloat64)}, finished: 1, unplaced: 2},
				"a deadline that cannot be met": {jobs: []Job{
					{Name: "past", Arrival: time.Hour, Duration: time.Minute, Deadline: time.Minute, Requests: batch.Resources{CPU: 1}},
					{Name: "short", Arrival: time.Hour, Duration: time.Hour, Deadline: time.Hour + time.Minute, Requests: batch.Resources{CPU: 1}, Suspend: true},
				}, finished: 2, missed: 2},
				"for ever": {jobs: []Job{{Name: "0", Duration: math.MaxInt64, Requests: batch.Resources{CPU: 1}}, testJob("1", 0, time.Second, 1)}, finished: 1}, // the other has not ended when time does
				"no models": {jobs: []Job{testJob("0", 0, time.Minute, 4), testJob("1", 0, time.Minute, 4), testJob("2", 0, time.Minute, 4)},
					believe: func(string, *power.Piecewise) *power.Piecewise { return nil }, finished: 3},
				"one model": {jobs: []Job{testJob("0", 0, time.Minute, 4), testJob("1", 0, time.Minute, 4), testJob("2", 0, time.Minute, 4)},
					believe: func(n string, p *power.Piecewise) *power.Piecewise {
						if n == "b" {
							return p
						}
						return nil
					}, finished: 3},
			} {
				t.Run(fmt.Sprintf("%s/every=%v/%s", name, every, what), func(t *testing.T) {
					s := everyStrategy(t)[name]
					r, err := Run(t.Context(), Config{Nodes: nodes(), Strategy: s, Every: every, Lifetimes: Told, Believe: c.believe, SwitchOff: every > 0}, Jobs(c.jobs))
					if err != nil {
						t.Fatal(err)
					}
					if r.Finished != c.finished || r.Unplaced != c.unplaced || r.Missed != c.missed || r.Waiting != 0 {
						t.Errorf("%d finished, %d unplaced, %d late, %d waiting; want %d, %d, %d and 0", r.Finished, r.Unplaced, r.Missed, r.Waiting, c.finished, c.unplaced, c.missed)
					}
					if e := float64(r.Energy); math.IsNaN(e) || math.IsInf(e, 0) || e < 0 {
						t.Errorf("energy is %v", e)
					}
				})
			}
		}
	}
}

// TestPriority: an urgent job that comes last, behind more waiting jobs than are looked at in one decision, is the first to run when there is room.
func TestPriority(t *testing.T) {
	for _, every := range []time.Duration{0, time.Second} {
		jobs := []Job{testJob("first", 0, 10*time.Second, 4)}
		for i := range 300 {
			jobs = append(jobs, testJob(fmt.Sprint(i), time.Second, time.Second, 4))
		}
		urgent := testJob("urgent", 2*time.Second, time.Second, 4)
		urgent.Priority = 7
		var order []string
		run(t, Config{Nodes: []Node{testNode(t, "a", 4, 100, 200)}, Strategy: strategy(t, "fcfs"), Every: every,
			OnJob: func(r Record) { order = append(order, r.Job.Name) }}, append(jobs, urgent)...)
		if len(order) != 302 || order[0] != "first" || order[1] != "urgent" || order[2] != "0" || order[301] != "299" {
			t.Errorf("every %v: %d jobs ran, in the order %v …", every, len(order), order[:min(3, len(order))])
		}
	}
}

// TestLiveMemory: what is kept grows with the jobs that live at one time, not with those that have been: a hundred times the jobs take no more room.
func TestLiveMemory(t *testing.T) {
	size := func(n int) (jobs, events int) {
		work := func(yield func(Job, error) bool) {
			for i := range n {
				if !yield(testJob("", time.Duration(i)*time.Second, time.Minute, 0.1), nil) {
					return
				}
			}
		}
		cfg := Config{Nodes: manyNodes(t, 5), Strategy: strategy(t, "leastwatt"), SwitchOff: true}
		s, err := newSimulation(t.Context(), &cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.loop(work); err != nil {
			t.Fatal(err)
		}
		if s.res.Finished != n || s.res.PeakLive > 61 {
			t.Fatalf("%d of %d finished, %d at one time", s.res.Finished, n, s.res.PeakLive)
		}
		return cap(s.jobs), cap(s.events.events)
	}
	few, fewEvents := size(300)
	many, manyEvents := size(30_000)
	if many > few || manyEvents > fewEvents {
		t.Errorf("300 jobs need room for %d jobs and %d events, 30,000 for %d and %d", few, fewEvents, many, manyEvents)
	}
}

// BenchmarkLiveJobs reports what a simulation keeps in memory for each job that runs, after three times as many have come and gone.
func BenchmarkLiveJobs(b *testing.B) {
	for _, live := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(live), func(b *testing.B) {
			nodes := manyNodes(b, 200)
			heap := func() float64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return float64(m.HeapAlloc)
			}
			for b.Loop() {
				before, at := heap(), 0.0
				work := func(yield func(Job, error) bool) {
					for i := range 4 * live {
						if i == 4*live-1 {
							at = heap()
						}
						if !yield(testJob("", time.Duration(i)*time.Second, time.Duration(live)*time.Second, 0.001), nil) {
							return
						}
					}
				}
				r, err := Run(b.Context(), Config{Nodes: nodes, Strategy: strategy(b, "fcfs"), Lifetimes: Hidden, Uses: Hidden}, work)
				if err != nil || r.PeakLive < live {
					b.Fatal(r, err)
				}
				b.ReportMetric((at-before)/float64(live), "bytes/job")
			}
		})
	}
}
