package simulate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// BenchmarkCloudSim is the size of CloudSim Plus' published case: 20,000 hosts, 40,000 virtual machines that stay, 50,000 tasks. CloudSim Plus
// takes 1.3 minutes with FirstFit and 15.7 with WorstFit (its own figures).
func BenchmarkCloudSim(b *testing.B) {
	const hosts, machines, tasks = 20_000, 40_000, 50_000
	p, err := power.EvenPiecewise(50, 100, 130, 170, 220)
	if err != nil {
		b.Fatal(err)
	}
	nodes := make([]Node, hosts)
	for i := range nodes {
		n := &nodes[i]
		n.Name, n.Capacity.Cores, n.Predictor = fmt.Sprintf("host-%05d", i), 8, p
		n.Allocatable = batch.Resources{CPU: 8, Memory: 64 << 30}
	}
	r := rand.New(rand.NewPCG(1, 1))
	var jobs []Job
	for range machines {
		jobs = append(jobs, Job{Duration: 24 * time.Hour, Requests: batch.Resources{CPU: 2, Memory: 4 << 30}})
	}
	for range tasks {
		jobs = append(jobs, Job{Arrival: time.Duration(r.IntN(86400)) * time.Second, Duration: time.Duration(r.IntN(3600)) * time.Second,
			Requests: batch.Resources{CPU: 1, Memory: 1 << 30}})
	}
	for _, name := range []string{"fcfs", "roundrobin", "leastwatt"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				res, err := Run(b.Context(), Config{Nodes: nodes, Strategy: strategy(b, name), Lifetimes: Hidden, Uses: Hidden}, Jobs(jobs))
				if err != nil || res.Finished != machines+tasks {
					b.Fatal(res, err)
				}
			}
		})
	}
}
