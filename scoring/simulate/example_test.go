package simulate_test

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// Two servers, one of which needs half as much; four hours of work; what two strategies draw, beside the least that is possible.
func ExampleRun() {
	var nodes []simulate.Node
	for name, busy := range map[string]power.Watts{"a-old": 400, "b-new": 200} {
		p, err := power.EvenPiecewise(100, 100+busy)
		if err != nil {
			fmt.Println(err)
			return
		}
		var n simulate.Node
		n.Node = batch.Node{Node: scoring.Node{Name: name, Capacity: power.Capacity{Cores: 16}, Predictor: p}, Allocatable: batch.Resources{CPU: 16}}
		nodes = append(nodes, n)
	}
	jobs := []simulate.Job{
		{Name: "day", Duration: 4 * time.Hour, Requests: batch.Resources{CPU: 8}},
		{Name: "short", Arrival: time.Hour, Duration: time.Hour, Requests: batch.Resources{CPU: 8}},
	}
	for _, name := range []string{"fcfs", "leastwatt"} {
		s, err := batch.New(name, batch.Options{})
		if err != nil {
			fmt.Println(err)
			return
		}
		r, err := simulate.Run(context.Background(), simulate.Config{Nodes: nodes, Strategy: s, Bound: true}, simulate.Jobs(jobs))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %.2f kWh, %.3f of the bound\n", name, r.Energy.KilowattHours(), r.OverBound())
	}
	// Output:
	// fcfs: 1.80 kWh, 1.385 of the bound
	// leastwatt: 1.30 kWh, 1.000 of the bound
}

// A generator draws jobs from shapes until the servers are as busy as asked.
func ExampleGenerator() {
	g := simulate.Generator{
		Shapes: []simulate.Job{
			{Class: "web", Duration: time.Hour, Requests: batch.Resources{CPU: 1}},
			{Class: "batch", Duration: 10 * time.Minute, Requests: batch.Resources{CPU: 4}},
		},
		Load: 0.5, Cores: 100, Until: 24 * time.Hour, Daily: 0.3, Stationary: true, Seed: 1,
	}
	rate, err := g.MeanRate()
	if err != nil {
		fmt.Println(err)
		return
	}
	n, again := 0, 0
	for range g.Workload() {
		n++
	}
	for range g.Workload() {
		again++
	}
	fmt.Printf("%.0f jobs an hour in the mean; the same again: %v\n", rate*3600, n == again)
	// Output: 60 jobs an hour in the mean; the same again: true
}

// A job a second for ten minutes, as KubeEnergyScheduler's generator writes them.
func ExampleKubeEnergyMix() {
	g := simulate.Generator{Shapes: simulate.KubeEnergyMix(1000, 1), Rate: 1, Until: 10 * time.Minute, Seed: 1}
	n := 0
	for j, err := range g.Workload() {
		if err != nil {
			panic(err)
		}
		if j.Class == "periodic" && j.Requests.CPU >= 8 && j.Duration >= 200*time.Second {
			n++
		}
	}
	fmt.Println(n > 100 && n < 200, "about a quarter of 600")
	// Output: true about a quarter of 600
}

// Jobs of a mix arrive with a daily swing; what a generator like them would be is read from their arrivals.
func ExampleFit() {
	shapes, err := simulate.Mix(simulate.SmallMediumLarge(), 1000, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	var jobs []simulate.Job
	for j, err := range (&simulate.Generator{Shapes: shapes, Rate: 0.05, Daily: 0.5, Peak: 15 * time.Hour, Until: 60 * 24 * time.Hour, Seed: 1}).Workload() {
		if err != nil {
			fmt.Println(err)
			return
		}
		jobs = append(jobs, j)
	}
	g, err := simulate.Fit(jobs)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.0f jobs an hour, swing %.1f, most at %v\n", g.Rate*3600, g.Daily, g.Peak.Round(time.Hour))
	// Output: 181 jobs an hour, swing 0.5, most at 15h0m0s
}
