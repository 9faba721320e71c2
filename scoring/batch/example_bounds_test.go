package batch_test

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// servers returns two of 16 cores: old with 120 to 300 W, recent with 60 to 200 W.
func servers() []batch.Node {
	node := func(name string, watts ...power.Watts) batch.Node {
		curve, err := power.EvenPiecewise(watts...)
		if err != nil {
			panic(err)
		}
		return batch.Node{
			Node:        scoring.Node{Name: name, Capacity: power.Capacity{Cores: 16}, Predictor: curve},
			Allocatable: batch.Resources{CPU: 16, Memory: 64 << 30},
		}
	}
	return []batch.Node{node("old", 120, 200, 300), node("recent", 60, 110, 200)}
}

// What no placement of 12 cores can undercut, where servers stay on and where they may be switched off.
func ExampleNewBound() {
	for _, off := range []bool{false, true} {
		b, err := batch.NewBound(context.Background(), servers(), off)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%.0f W\n", b.At(batch.Load{Use: 12}))
	}
	// Output:
	// 270 W
	// 150 W
}

// The least that one, two and three more workloads of 6 cores add: the third no longer fits beside the others on one server.
func ExampleCluster_Estimate() {
	c, err := batch.NewCluster(context.Background(), servers(), batch.ClusterOptions{})
	if err != nil {
		panic(err)
	}
	j := batch.Job{Name: "web", Requests: batch.Resources{CPU: 6}, Demand: scoring.Demand{CPU: 6}}
	watts, err := c.Estimate(context.Background(), &j, 3)
	if err != nil {
		panic(err)
	}
	for k, w := range watts {
		fmt.Printf("%d: %.1f W\n", k+1, w)
	}
	// Output:
	// 1: 37.5 W
	// 2: 95.0 W
	// 3: 155.0 W
}

// A job runs on the old server, the recent one has room: the move saves energy for the hours that are left, if the budget has grown to a move.
func ExampleNewRebalancer() {
	ctx := context.Background()
	c, err := batch.NewCluster(ctx, servers(), batch.ClusterOptions{})
	if err != nil {
		panic(err)
	}
	var running []batch.Running
	for i, pinned := range []bool{false, true} {
		j := batch.Job{Name: fmt.Sprint("job", i), Requests: batch.Resources{CPU: 4}, Demand: scoring.Demand{CPU: 4, Lifetime: 10 * time.Hour}, Pinned: pinned}
		c.Reserve(c.Find("old"), &j, 0)
		running = append(running, batch.Running{Job: j, Node: c.Find("old")})
	}
	r := batch.NewRebalancer(batch.RebalanceOptions{Share: 0.5, Cost: 1000})
	for _, now := range []time.Duration{0, time.Hour} {
		moves, err := r.Plan(ctx, now, running, c)
		if err != nil {
			panic(err)
		}
		for _, m := range moves {
			fmt.Printf("after %v %s to %s saves %.2f kWh\n", now, running[m.Running].Job.Name, c.Node(m.To).Name, m.Saves.KilowattHours())
		}
	}
	// Output: after 1h0m0s job0 to recent saves 0.15 kWh
}

// Three tasks on two machines that run one at a time. Min-Min takes the shortest first, Max-Min the longest.
func ExampleMinMin() {
	times := [][]float64{{2, 3}, {4, 6}, {8, 9}}
	for _, rule := range []func([][]float64, []float64) ([]int, float64, error){batch.MinMin, batch.MaxMin} {
		machines, makespan, err := rule(times, []float64{0, 0})
		if err != nil {
			panic(err)
		}
		fmt.Println(machines, makespan)
	}
	// Output:
	// [0 0 1] 9
	// [1 1 0] 9
}

// Any scorer is a strategy: here the slope of the envelope, which the scheduler plugin goes by.
func ExampleFromScorer() {
	ctx := context.Background()
	c, err := batch.NewCluster(ctx, servers(), batch.ClusterOptions{})
	if err != nil {
		panic(err)
	}
	s := batch.FromScorer("envelope", scoring.EnvelopePower{})
	plan, err := s.Plan(ctx, 0, []batch.Job{{Name: "a", Requests: batch.Resources{CPU: 2}, Demand: scoring.Demand{CPU: 2}}}, c)
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Name(), "takes", c.Node(plan.Assigned[0].Node).Name)
	// Output: envelope takes recent
}

// Of nine jobs that took a minute and one that took ten hours, one that has run for an hour is not one of the nine.
func ExampleLifetimes() {
	var l batch.Lifetimes
	fmt.Println(l.Remaining("batch", 0))
	for range 9 {
		l.Observe("batch", time.Minute)
	}
	l.Observe("batch", 10*time.Hour)
	fmt.Println(l.Remaining("batch", 0).Round(time.Minute), l.Remaining("batch", time.Hour).Round(time.Hour))
	// Output:
	// 0s
	// 1h1m0s 9h0m0s
}

// PEAKS' model of a server whose power grows ever more slowly.
func ExampleFitExponential() {
	watts := make([]power.Watts, 11)
	for i := range watts {
		watts[i] = power.Watts(200 - 100*math.Exp(-0.03*float64(10*i)))
	}
	curve, err := power.EvenPiecewise(watts...)
	if err != nil {
		panic(err)
	}
	e := batch.FitExponential(curve)
	fmt.Printf("%.0f %.0f %.3f; from 20 to 30 %% %.1f W\n", e.K0, e.K1, e.K2, e.Rise(20, 30))
	// Output: 200 -100 -0.030; from 20 to 30 % 14.2 W
}
