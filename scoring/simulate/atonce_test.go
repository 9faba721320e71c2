package simulate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// BenchmarkAtOnce runs jobs that all come at one instant: of a few sizes, no two alike ("differ"), which mostly wait, or so small that all fit ("small").
func BenchmarkAtOnce(b *testing.B) {
	nodes := manyNodes(b, 1000)
	for _, name := range []string{"fcfs", "energyaware", "leastwatt"} {
		for _, kind := range []string{"alike", "differ", "small"} {
			for _, n := range []int{100_000, 1_000_000} {
				b.Run(fmt.Sprintf("%s/%s/%d", name, kind, n), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 2))
					jobs := make([]Job, n)
					for k := range jobs {
						size := float64(1 + r.IntN(8))
						switch kind {
						case "differ":
							size = 1 + 7*r.Float64()
						case "small":
							size /= 1000
						}
						jobs[k] = testJob("", 0, time.Duration(1+r.IntN(3600))*time.Second, size)
					}
					for b.Loop() {
						res, err := Run(b.Context(), Config{Nodes: nodes, Strategy: strategy(b, name), SwitchOff: true}, Jobs(jobs))
						if err != nil || res.Finished != n {
							b.Fatal(res, err)
						}
					}
					b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
				})
			}
		}
	}
}

// asked is a strategy that is asked about every job, whether it fits or not.
type asked struct{ batch.Strategy }

// TestMisfitsNeedNotBeAsked: what strategies decide is the same whether or not they are asked again about jobs that fit nowhere.
func TestMisfitsNeedNotBeAsked(t *testing.T) {
	nodes := manyNodes(t, 7)
	nodes[2].Allocatable.GPU = 2
	nodes[4].Failures = []Outage{{At: 10 * time.Minute, For: 20 * time.Minute}}
	r := rand.New(rand.NewPCG(3, 4))
	jobs := make([]Job, 600)
	for k := range jobs {
		j := &jobs[k]
		*j = testJob(fmt.Sprint("job-", k), time.Duration(r.IntN(1800))*time.Second, time.Duration(1+r.IntN(3600))*time.Second, float64(1+r.IntN(12)))
		j.Requests.Memory, j.Priority = float64(r.IntN(4)), r.IntN(2)
		if r.IntN(20) == 0 {
			j.Requests.GPU = 1
		}
		if r.IntN(20) == 0 {
			j.Node = nodes[r.IntN(len(nodes))].Name
		}
	}
	jobs[9].Requests.CPU = 1000
	for i := range nodes {
		nodes[i].Allocatable.Memory = 10
	}
	for _, name := range []string{"fcfs", "leastallocated", "energyaware", "wao", "minmin"} {
		do := func(st batch.Strategy) *Result {
			res, err := Run(t.Context(), Config{Nodes: nodes, Strategy: st, Bound: true, Window: 20}, Jobs(jobs))
			if err != nil {
				t.Fatal(err)
			}
			if res.Finished+res.Unplaced != len(jobs) || res.Finished < 500 || res.Unplaced == 0 || res.MeanWait == 0 {
				t.Errorf("%s: %d finished, %d unplaced, they waited %v", name, res.Finished, res.Unplaced, res.MeanWait)
			}
			res.SolveTime, res.Decisions = 0, 0
			return res
		}
		if !batch.Forgets(strategy(t, name)) || batch.Forgets(asked{strategy(t, name)}) {
			t.Fatalf("%s: both are asked the same", name)
		}
		if diff := cmp.Diff(do(asked{strategy(t, name)}), do(strategy(t, name))); diff != "" {
			t.Errorf("%s decides otherwise: %s", name, diff)
		}
	}
}

// TestCrowdedNode: until when a node is in use is found for many jobs as for few: not before it is, and little later.
func TestCrowdedNode(t *testing.T) {
	s, err := newSimulation(t.Context(), &Config{Nodes: manyNodes(t, 1), Strategy: strategy(t, "leastwatt"), SwitchOff: true, Lifetimes: Told})
	if err != nil {
		t.Fatal(err)
	}
	if !s.ends {
		t.Fatal("the strategy does not ask")
	}
	r := rand.New(rand.NewPCG(5, 6))
	var on []int32
	for range 4 * crowd {
		j := testJob("", 0, time.Duration(1+r.IntN(3600))*time.Second, 0.001)
		s.arrive(&j)
		k := s.pending[len(s.pending)-1]
		s.pending = s.pending[:0]
		s.jobs[k].tell(&s.one)
		s.cluster.Reserve(0, &s.one, 0)
		s.start(k, 0)
		on = append(on, k)
	}
	r.Shuffle(len(on), func(a, b int) { on[a], on[b] = on[b], on[a] })
	late := 0
	for n, k := range on {
		s.leave(k)
		var most int64
		for _, o := range on[n+1:] {
			most = max(most, s.jobs[o].ends)
		}
		if v := s.servers[0].until; v < most || v > most && s.servers[0].jobs <= crowd {
			t.Fatalf("%d jobs are left, until %v: expected %v", len(on)-n-1, time.Duration(most), time.Duration(v))
		} else if v > most {
			late++
		}
	}
	if late > len(on)/4 {
		t.Errorf("%d of %d times it was too late", late, len(on))
	}
}
