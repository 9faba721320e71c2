package batch_test

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// evening is a grid that gets clean at three o'clock.
type evening struct{}

func (evening) Slot() time.Duration { return time.Hour }

func (evening) Ahead(dst []float64, _ string, now time.Duration, n int) []float64 {
	grams := []float64{480, 460, 400, 120, 130}
	for k := int(now / time.Hour); k < len(grams) && n > 0; k, n = k+1, n-1 {
		dst = append(dst, grams[k])
	}
	return dst
}

// A job that may end by six waits for the clean hours; one without a deadline starts at once.
func ExampleCarbonNames() {
	curve, err := power.EvenPiecewise(100, 200)
	if err != nil {
		panic(err)
	}
	c, err := batch.NewCluster(context.Background(), []batch.Node{{
		Node: scoring.Node{Name: "a", Capacity: power.Capacity{Cores: 8}, Predictor: curve},
		Site: "home", Allocatable: batch.Resources{CPU: 8},
	}}, batch.ClusterOptions{})
	if err != nil {
		panic(err)
	}
	s, err := batch.New("spacetime", batch.Options{Grid: evening{}})
	if err != nil {
		panic(err)
	}
	demand := scoring.Demand{CPU: 2, Lifetime: time.Hour}
	plan, err := s.Plan(context.Background(), 0, []batch.Job{
		{Name: "now", Requests: batch.Resources{CPU: 2}, Demand: demand},
		{Name: "by six", Requests: batch.Resources{CPU: 2}, Demand: demand, Deadline: 6 * time.Hour},
	}, c)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(plan.Assigned), "starts;", plan.Waiting[0].Reason)
	// Output: 1 starts; held, planned for 3h0m0s
}
