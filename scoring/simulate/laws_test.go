package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// anyNodes draws servers of several speeds, curves and ways to sleep, that fail now and then.
func anyNodes(t *testing.T, r *rand.Rand) []Node {
	var nodes []Node
	for i := range 1 + r.IntN(6) {
		watts := []power.Watts{power.Watts(20 + r.IntN(100))}
		for range 1 + r.IntN(4) {
			watts = append(watts, max(0, watts[len(watts)-1]+power.Watts(r.IntN(80)-10)))
		}
		n := testNode(t, fmt.Sprint("n", i), float64(2+r.IntN(8)), watts...)
		n.OffPower, n.Wake = power.Watts(r.IntN(6)), time.Duration(r.IntN(3))*time.Second
		n.WakeWatts = power.Watts(r.IntN(3) * r.IntN(100))
		if r.IntN(3) == 0 {
			n.Suspend = &Sleep{Power: power.Watts(r.IntN(10)), Wake: time.Duration(r.IntN(2)) * time.Second}
		}
		if r.IntN(3) == 0 {
			n.Capacity.Speed = 0.5 + r.Float64()
		}
		at := time.Duration(0)
		for range r.IntN(4) {
			o := Outage{At: at + time.Duration(1+r.IntN(100))*time.Second, For: time.Duration(1+r.IntN(50)) * time.Second}
			n.Failures, at = append(n.Failures, o), o.At+o.For
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// anyJobs draws jobs with everything that a job can have; some are larger than any node.
func anyJobs(r *rand.Rand) []Job {
	var jobs []Job
	at := time.Duration(0)
	for k := range 5 + r.IntN(120) {
		if r.IntN(3) > 0 {
			at += time.Duration(r.IntN(8)) * time.Second
		}
		j := testJob(fmt.Sprint("j", k), at, time.Duration(r.IntN(60))*time.Second, float64(1+r.IntN(6))/2)
		j.Priority, j.Scales, j.Pinned, j.Suspend = r.IntN(3), r.IntN(4) == 0, r.IntN(4) == 0, r.IntN(4) == 0
		if !j.Scales {
			j.Use = float64(r.IntN(3)) / 2
		}
		if r.IntN(4) == 0 {
			j.Deadline = j.Arrival + time.Duration(r.IntN(100))*time.Second
		}
		if j.Requests.Memory = float64(r.IntN(8)) * (1 << 30); r.IntN(20) == 0 {
			j.Requests.CPU = 50
		}
		if r.IntN(15) == 0 {
			j.Node = "n0"
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// anyConfig draws how the cluster is run.
func anyConfig(r *rand.Rand) Config {
	c := Config{SwitchOff: r.IntN(2) == 0, Bound: true, Every: time.Duration(r.IntN(2)*r.IntN(5)) * time.Second, Window: 1 + r.IntN(100), Lifetimes: Knowledge(r.IntN(3)),
		Uses: Knowledge(r.IntN(3)), IdleFor: time.Duration(r.IntN(3)) * time.Second, OffAfter: time.Duration(r.IntN(10)) * time.Second}
	if r.IntN(2) == 0 {
		c.PUE = 1.3
	}
	if r.IntN(2) == 0 {
		c.Sensors = &Sensors{Every: 7 * time.Second, UseNoise: 0.1, WattNoise: 0.1, Learn: true}
	}
	if r.IntN(2) == 0 {
		c.Rebalancer, c.RebalanceEvery = batch.NewRebalancer(batch.RebalanceOptions{Share: 50}), 11*time.Second
	}
	if r.IntN(2) == 0 {
		c.To = time.Duration(1+r.IntN(300)) * time.Second
	}
	return c
}

// TestLaws: whatever the servers, jobs, strategy and settings, every job is told of once and accounted for, no energy is below the bound, and that of
// the nodes is that of the cluster.
func TestLaws(t *testing.T) {
	seeds := uint64(500)
	if testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		nodes, jobs, cfg := anyNodes(t, r), anyJobs(r), anyConfig(r)
		names := append(batch.Names(), "ecsched-mostloaded", "spacetime", "threshold")
		name := names[r.IntN(len(names))]
		s, err := batch.New(name, batch.Options{Grid: foretold{"": {100, 50, 200, 1}}})
		if err != nil {
			t.Fatal(err)
		}
		running, ended, unplaced := 0, 0, 0
		told := map[string]bool{}
		cfg.Nodes, cfg.Strategy = nodes, s
		cfg.OnJob = func(x Record) {
			if told[x.Job.Name] {
				t.Errorf("seed %d, %s: %s is told of twice", seed, name, x.Job.Name)
			}
			told[x.Job.Name] = true
			switch {
			case x.Running:
				running++
			case x.Unplaced != "":
				unplaced++
			default:
				if ended++; x.Start < x.Job.Arrival || x.End < x.Start {
					t.Errorf("seed %d, %s: %s arrives at %v and runs from %v to %v", seed, name, x.Job.Name, x.Job.Arrival, x.Start, x.End)
				}
			}
		}
		res := run(t, cfg, jobs...)
		if res.Arrived != ended+running+unplaced+res.Waiting || ended != res.Finished || unplaced != res.Unplaced || cfg.To == 0 && res.Waiting+running > 0 {
			t.Errorf("seed %d, %s: %d arrived; %d ended, %d run, %d are unplaced and %d wait", seed, name, res.Arrived, ended, running, unplaced, res.Waiting)
		}
		if float64(res.Energy) < float64(res.Bound)*(1-1e-9)-1e-6 {
			t.Errorf("seed %d, %s: energy is %v of the bound", seed, name, res.OverBound())
		}
		sum := 0.0
		for _, n := range res.Nodes {
			sum += float64(n.Energy)
		}
		if cfg.PUE > 0 {
			sum *= cfg.PUE
		}
		if math.Abs(sum-float64(res.Energy)) > 1e-6*max(1, sum) {
			t.Errorf("seed %d, %s: the nodes drew %v J, all together %v", seed, name, sum, float64(res.Energy))
		}
	}
}

// TestDimBoot: a server that draws less while it boots than idle is not below the bound, whether it comes to run its job or fails before.
func TestDimBoot(t *testing.T) {
	n := testNode(t, "a", 4, 100, 200)
	n.Wake, n.WakeWatts = 10*time.Second, 50
	c := Config{Nodes: []Node{n}, Strategy: strategy(t, "fcfs"), SwitchOff: true, Bound: true}
	r := run(t, c, testJob("1", 0, time.Second, 4))
	near(t, "energy", float64(r.Energy), 10*50+200)
	near(t, "bound", float64(r.Bound), float64(r.Energy))
	c.Nodes[0].Failures = []Outage{{At: 5 * time.Second, For: 10 * time.Second}}
	r = run(t, c, testJob("1", 0, time.Second, 4))
	near(t, "energy", float64(r.Energy), 5*50+10*50+200)
	near(t, "bound", float64(r.Bound), float64(r.Energy))
}

// TestSlowServer: a job that asks for more than a slow server has makes it draw all it can, and the bound counts the work that it does.
func TestSlowServer(t *testing.T) {
	n := testNode(t, "a", 4, 100, 200)
	n.Capacity.Speed = 0.5
	r := run(t, Config{Nodes: []Node{n}, Strategy: strategy(t, "fcfs"), Bound: true}, testJob("1", 0, 10*time.Second, 4), testJob("2", 20*time.Second, 10*time.Second, 1))
	near(t, "energy", float64(r.Energy), 10*200+10*100+10*150)
	near(t, "bound", float64(r.Bound), float64(r.Energy))
}
