package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/assign"
)

// TestGroupsAgainstPlainFormulas: Min-Min, Max-Min and Tetris over many jobs at once do as their definition says, looked up anew in each round; ECSched's
// rounds cost what an assignment of their costs does.
func TestGroupsAgainstPlainFormulas(t *testing.T) {
	for _, name := range []string{"minmin", "maxmin", "tetris"} {
		r := rand.New(rand.NewPCG(6, 12))
		for round := range 60 {
			seed := r.Uint64()
			a, b := motley(t, rand.New(rand.NewPCG(seed, 1)), 12, round%2 == 0), motley(t, rand.New(rand.NewPCG(seed, 1)), 12, round%2 == 0)
			for i := range a.Len() { // waking one takes its time from the first job alone
				asleep := r.IntN(3) == 0
				a.SetOff(i, asleep)
				b.SetOff(i, asleep)
			}
			jobs := make([]Job, 2+r.IntN(30))
			for k := range jobs {
				jobs[k] = job(fmt.Sprint(k), float64(1+r.IntN(9)))
				jobs[k].Demand.Lifetime = time.Duration(1+r.IntN(4)) * time.Hour
			}
			s, err := New(name, Options{})
			if err != nil {
				t.Fatal(err)
			}
			p, err := s.Plan(t.Context(), 0, jobs, a)
			if err != nil {
				t.Fatal(err)
			}
			if want := plainRounds(name, b, jobs); !reflect.DeepEqual(p.Assigned, want) {
				t.Fatalf("%s, round %d:\ngot  %v\nwant %v", name, round, p.Assigned, want)
			}
		}
	}
}

func plainRounds(name string, c *Cluster, jobs []Job) []Assignment {
	rule := plainCompletion
	if name == "tetris" {
		l := c.Largest()
		left := func(j *Job) float64 {
			return j.Demand.Lifetime.Seconds() * (j.Requests.CPU/l.CPU + j.Requests.Memory/l.Memory)
		}
		var align, rest float64
		for k := range jobs {
			best := 0.0
			for i := range c.Len() {
				if c.Fits(i, &jobs[k]) {
					best = max(best, plainDot(c, &jobs[k], i))
				}
			}
			align, rest = align+best, rest+left(&jobs[k])
		}
		rule = func(c *Cluster, j *Job, i int) float64 { return align/rest*left(j) - plainDot(c, j, i) }
	}
	done := make([]bool, len(jobs))
	var out []Assignment
	for {
		job, node, cost := -1, -1, 0.0
		for k := range jobs {
			if done[k] {
				continue
			}
			i := plainChoice(each(rule), c, &jobs[k])
			if i < 0 {
				continue
			}
			if v := rule(c, &jobs[k], i); job < 0 || name != "maxmin" && v < cost || name == "maxmin" && v > cost {
				job, node, cost = k, i, v
			}
		}
		if job < 0 {
			return out
		}
		done[job] = true
		c.Reserve(node, &jobs[job], 0)
		out = append(out, Assignment{Job: job, Node: node})
	}
}

// TestECSchedLooksBehind: a hundred requests that nobody has room for do not hide those behind them.
func TestECSchedLooksBehind(t *testing.T) {
	var nodes []Node
	for i := range 12 {
		nodes = append(nodes, node(fmt.Sprintf("n%02d", i), 16, curve(t, 100, 200)))
	}
	c := fresh(t, nodes, false)
	held := job("held", 8)
	for i := range c.Len() {
		c.Reserve(i, &held, 0)
	}
	var jobs []Job
	for k := range 150 {
		cores := 12.0
		if k >= ecRequests {
			cores = 1
		}
		jobs = append(jobs, job(fmt.Sprint(k), cores))
	}
	for _, name := range []string{"ecsched", "ecsched-mostloaded"} {
		s, err := New(name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := plan(t, s, 0, fresh(t, nodes[:0], false), jobs...)
		if len(p.Assigned) != 0 || len(p.Waiting) != len(jobs) {
			t.Errorf("%s without machines: %d assigned, %d wait", name, len(p.Assigned), len(p.Waiting))
		}
		p = plan(t, s, 0, c, jobs...)
		// The first round finds that out; of the other four each serves one request a machine.
		if len(p.Assigned) != 4*12 || len(p.Waiting) != len(jobs)-4*12 {
			t.Errorf("%s: %d assigned, %d wait", name, len(p.Assigned), len(p.Waiting))
		}
		for _, a := range p.Assigned {
			c.Release(a.Node, &jobs[a.Job])
		}
	}
}

// TestECSchedRound: one round of ECSched serves as many requests as can be and costs the least among the ways to do so.
func TestECSchedRound(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 13))
	for range 60 {
		seed := r.Uint64()
		a, b := motley(t, rand.New(rand.NewPCG(seed, 1)), 12, false), motley(t, rand.New(rand.NewPCG(seed, 1)), 12, false)
		jobs := make([]Job, 2+r.IntN(8))
		for k := range jobs {
			jobs[k] = job(fmt.Sprint(k), float64(1+r.IntN(9)))
		}
		s, err := New("ecsched", Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Plan(t.Context(), 0, jobs, a)
		if err != nil {
			t.Fatal(err)
		}
		var cost []float64
		for k := range jobs {
			for i := range b.Len() {
				v := math.Inf(1)
				if b.Fits(i, &jobs[k]) {
					v = -plainDot(b, &jobs[k], i)
				}
				cost = append(cost, v)
			}
		}
		want, err := assign.Dense(len(jobs), b.Len(), cost)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Assigned) < want.Served {
			t.Fatalf("%d requests served, want %d", len(p.Assigned), want.Served)
		}
		var sum float64
		for _, x := range p.Assigned[:want.Served] {
			sum += cost[x.Job*b.Len()+x.Node]
		}
		if math.Abs(sum-want.Cost) > 1e-12*math.Abs(want.Cost) {
			t.Errorf("the first round costs %v, want %v", sum, want.Cost)
		}
	}
}
