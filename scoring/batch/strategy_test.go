package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

func curve(t testing.TB, watts ...power.Watts) *power.Piecewise {
	t.Helper()
	p, err := power.EvenPiecewise(watts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func node(name string, cores float64, p power.Predictor) Node {
	return Node{
		Node:        scoring.Node{Name: name, Capacity: power.Capacity{Cores: cores}, Predictor: p},
		Allocatable: Resources{CPU: cores, Memory: cores * (4 << 30)},
	}
}

func job(name string, cores float64) Job {
	return Job{Name: name, Requests: Resources{CPU: cores, Memory: cores * (1 << 30)},
		Demand: scoring.Demand{CPU: cores, Lifetime: time.Hour}}
}

func mixed(t testing.TB, r *rand.Rand, n int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		idle := 20 + 100*r.Float64()
		peak := idle * (1.5 + 3*r.Float64())
		mid := idle + (peak-idle)*(0.3+0.5*r.Float64())
		nodes[i] = node(fmt.Sprintf("n%03d", (i*7)%n), float64(8+8*r.IntN(8)), curve(t, power.Watts(idle), power.Watts(mid), power.Watts(peak)))
	}
	return nodes
}

func every(t testing.TB) []Strategy {
	var all []Strategy
	for _, name := range append(Names(), "ecsched-mostloaded") {
		s, err := New(name, Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if s.Name() != name {
			t.Errorf("strategy %q calls itself %q", name, s.Name())
		}
		all = append(all, s)
	}
	return append(all, FromScorer("scorer", scoring.EnvelopePower{}))
}

// TestStrategiesObeyTheLaws: each job is assigned or waits, once; nothing is overbooked; what fits an idle cluster is placed; a repeated
// run decides the same.
func TestStrategiesObeyTheLaws(t *testing.T) {
	for _, off := range []bool{false, true} {
		first, second := every(t), every(t)
		for n := range first {
			t.Run(fmt.Sprintf("%s/off=%v", first[n].Name(), off), func(t *testing.T) {
				run := func(s Strategy) []Plan {
					r := rand.New(rand.NewPCG(4, 4))
					c, err := NewCluster(t.Context(), mixed(t, r, 13), ClusterOptions{SwitchOff: off})
					if err != nil {
						t.Fatal(err)
					}
					var plans []Plan
					for round := range 6 {
						jobs := make([]Job, 1+r.IntN(40))
						for k := range jobs {
							jobs[k] = job(fmt.Sprint(round, "-", k), float64(1+r.IntN(12)))
							jobs[k].Priority = r.IntN(3)
						}
						before := make([]Resources, c.Len())
						for i := range before {
							before[i] = c.Free(i)
						}
						p, err := s.Plan(t.Context(), time.Duration(round)*time.Minute, jobs, c)
						if err != nil {
							t.Fatal(err)
						}
						seen := make([]int, len(jobs))
						for _, a := range p.Assigned {
							seen[a.Job]++
							before[a.Node].add(&jobs[a.Job].Requests, -1)
						}
						for _, w := range p.Waiting {
							seen[w.Job]++
							if w.Reason.Never || w.Reason.String() == "" {
								t.Errorf("job %v waits for ever: %v", jobs[w.Job].Requests, w.Reason)
							}
						}
						for k, m := range seen {
							if m != 1 {
								t.Fatalf("job %d is in the plan %d times", k, m)
							}
						}
						for i := range before {
							free := c.Free(i)
							if free.CPU < -1e-6 || free.Memory < -1 || math.Abs(free.CPU-before[i].CPU) > 1e-6 {
								t.Fatalf("node %d has %v free, the plan leaves %v", i, free, before[i])
							}
						}
						if round == 0 && len(p.Assigned) == 0 {
							t.Error("an idle cluster takes nothing")
						}
						plans = append(plans, p)
					}
					return plans
				}
				if a, b := run(first[n]), run(second[n]); !reflect.DeepEqual(a, b) {
					t.Error("two runs of the same history differ")
				}
			})
		}
	}
}

// TestStrategiesRefuse: jobs that are too large or not valid are reported, not tried for ever.
func TestStrategiesRefuse(t *testing.T) {
	for _, s := range every(t) {
		c, err := NewCluster(t.Context(), []Node{node("a", 8, curve(t, 10, 20)), node("b", 16, curve(t, 10, 20))}, ClusterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		gpu := job("gpu", 1)
		gpu.Requests.GPU = 1
		nan := job("nan", 1)
		nan.Requests.CPU = math.NaN()
		lost := job("lost", 1)
		lost.Node = "nowhere"
		jobs := []Job{job("large", 17), gpu, nan, lost, job("fits", 16)}
		p, err := s.Plan(t.Context(), 0, jobs, c)
		if err != nil {
			t.Fatalf("%s: %v", s.Name(), err)
		}
		if len(p.Assigned) != 1 || p.Assigned[0].Job != 4 || c.Node(p.Assigned[0].Node).Name != "b" {
			t.Errorf("%s: assigned %v", s.Name(), p.Assigned)
		}
		reasons := map[int]string{}
		for _, w := range p.Waiting {
			if !w.Reason.Never {
				t.Errorf("%s: job %d may still hope: %v", s.Name(), w.Job, w.Reason)
			}
			reasons[w.Job] = w.Reason.String()
		}
		for k, want := range map[int]string{0: "cpu", 1: "gpu", 2: "NaN", 3: "nowhere"} {
			if !strings.Contains(reasons[k], want) {
				t.Errorf("%s: reason of job %d is %q, want it to name %q", s.Name(), k, reasons[k], want)
			}
		}
	}
}

// TestUnknownNeverWins: strategies that look at power take a node without a model last, and still take it.
func TestUnknownNeverWins(t *testing.T) {
	for _, name := range []string{"energyaware", "wao", "peaks", "leastwatt"} {
		s, err := New(name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewCluster(t.Context(), []Node{node("a", 8, nil), node("b", 8, curve(t, 100, 800))}, ClusterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Plan(t.Context(), 0, []Job{job("1", 4), job("2", 4), job("3", 4)}, c)
		if err != nil || len(p.Assigned) != 3 {
			t.Fatalf("%s: %v, %v", name, p, err)
		}
		for k, want := range []string{"b", "b", "a"} {
			if got := c.Node(p.Assigned[k].Node).Name; got != want {
				t.Errorf("%s: job %d goes to %s, want %s", name, k+1, got, want)
			}
		}
	}
}

func TestNewUnknown(t *testing.T) {
	if _, err := New("best", Options{}); err == nil || !strings.Contains(err.Error(), "leastwatt") {
		t.Errorf("error %v does not say what there is", err)
	}
}

// TestOther: a named resource limits like any other.
func TestOther(t *testing.T) {
	a, b := node("a", 8, curve(t, 10, 20)), node("b", 8, curve(t, 10, 200))
	b.Allocatable.Other = map[string]float64{"licence": 1}
	for _, s := range every(t) {
		c, err := NewCluster(t.Context(), []Node{a, b}, ClusterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		one, two := job("1", 1), job("2", 1)
		one.Requests.Other = map[string]float64{"licence": 1}
		two.Requests.Other = map[string]float64{"licence": 1}
		p, err := s.Plan(t.Context(), 0, []Job{one, two}, c)
		if err != nil || len(p.Assigned) != 1 || p.Assigned[0].Node != 1 || len(p.Waiting) != 1 || p.Waiting[0].Reason.Short != "licence" {
			t.Errorf("%s: %+v, %v", s.Name(), p, err)
		}
	}
	if b.Allocatable.Other["licence"] != 1 {
		t.Error("the caller's map was changed")
	}
}

func TestFirstFitAgainstScan(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for _, n := range []int{1, 2, 3, 8, 13} {
		c, err := NewCluster(t.Context(), mixed(t, r, n), ClusterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		type placed struct {
			job  Job
			node int
		}
		var live []placed
		for step := range 3000 {
			j := job("x", 16*r.Float64())
			from := r.IntN(n + 1)
			want := -1
			for i := from; i < n && want < 0; i++ {
				if c.Fits(i, &j) {
					want = i
				}
			}
			got := c.FirstFit(&j, from)
			if got != want {
				t.Fatalf("%d nodes, step %d: first fit from %d is %d, want %d", n, step, from, got, want)
			}
			if got >= 0 && r.IntN(2) == 0 {
				c.Reserve(got, &j, 0)
				live = append(live, placed{j, got})
			}
			if len(live) > 0 && r.IntN(3) == 0 {
				k := r.IntN(len(live))
				c.Release(live[k].node, &live[k].job)
				live = append(live[:k], live[k+1:]...)
			}
			if r.IntN(50) == 0 {
				c.SetDown(r.IntN(n), r.IntN(2) == 0)
			}
		}
	}
}
