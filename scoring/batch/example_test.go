package batch_test

import (
	"context"
	"fmt"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// Two servers that may be switched off, three jobs, one of which is too large.
func ExampleStrategy() {
	ctx := context.Background()
	old, err := power.EvenPiecewise(120, 200, 300)
	if err != nil {
		panic(err)
	}
	recent, err := power.EvenPiecewise(60, 110, 200)
	if err != nil {
		panic(err)
	}
	nodes := []batch.Node{
		{Node: scoring.Node{Name: "old", Capacity: power.Capacity{Cores: 16}, Predictor: old}, Allocatable: batch.Resources{CPU: 16}},
		{Node: scoring.Node{Name: "recent", Capacity: power.Capacity{Cores: 16}, Predictor: recent}, Allocatable: batch.Resources{CPU: 16}},
	}
	c, err := batch.NewCluster(ctx, nodes, batch.ClusterOptions{SwitchOff: true})
	if err != nil {
		panic(err)
	}
	s, err := batch.New("leastwatt", batch.Options{})
	if err != nil {
		panic(err)
	}
	var jobs []batch.Job
	for i, cores := range []float64{4, 6, 32} {
		jobs = append(jobs, batch.Job{Name: fmt.Sprint("job", i), Requests: batch.Resources{CPU: cores}, Demand: scoring.Demand{CPU: cores}})
	}
	plan, err := s.Plan(ctx, 0, jobs, c)
	if err != nil {
		panic(err)
	}
	for _, a := range plan.Assigned {
		fmt.Println(jobs[a.Job].Name, "on", c.Node(a.Node).Name)
	}
	for _, w := range plan.Waiting {
		fmt.Println(jobs[w.Job].Name, "waits:", w.Reason)
	}
	// Output:
	// job0 on recent
	// job1 on recent
	// job2 waits: larger than any node: cpu
}
