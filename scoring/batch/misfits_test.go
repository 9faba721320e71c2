package batch

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWaitingFitsNowhere: after a plan that goes job by job, whatever waits fits on no node, and the reason names what most nodes lack.
func TestWaitingFitsNowhere(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for trial := range 200 {
		nodes := mixed(t, r, 1+r.IntN(12))
		for i := range nodes {
			nodes[i].Name, nodes[i].Allocatable.Memory, nodes[i].Down = fmt.Sprintf("n%02d", i), float64(r.IntN(40)), r.IntN(9) == 0
		}
		jobs := make([]Job, 60)
		for k := range jobs {
			jobs[k] = job(fmt.Sprint(k), 1+20*r.Float64())
			jobs[k].Requests.Memory = float64(r.IntN(3) * r.IntN(8))
		}
		for _, name := range []string{"fcfs", "leastallocated", "energyaware"} {
			c, err := NewCluster(t.Context(), nodes, ClusterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			s, err := New(name, Options{})
			if err != nil {
				t.Fatal(err)
			}
			p, err := s.Plan(t.Context(), 0, jobs, c)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Assigned)+len(p.Waiting) != len(jobs) {
				t.Fatalf("trial %d, %s: %d assigned and %d waiting of %d", trial, name, len(p.Assigned), len(p.Waiting), len(jobs))
			}
			for _, w := range p.Waiting {
				j := &jobs[w.Job]
				lack := map[string]int{}
				for i := range c.nodes {
					if c.Fits(i, j) {
						t.Fatalf("trial %d, %s: job %d waits, node %d has room", trial, name, w.Job, i)
					}
					if short := j.Requests.Short(&c.free[i]); short != "" {
						lack[short]++
					}
				}
				if got := c.reason(j); !got.Never {
					want := ""
					if lack["memory"] > 0 {
						want = "memory"
					}
					if lack["cpu"] > 0 && lack["cpu"] >= lack["memory"] {
						want = "cpu"
					}
					if diff := cmp.Diff(Reason{Short: want}, got); diff != "" {
						t.Fatalf("trial %d, %s: nodes lack %v: %s", trial, name, lack, diff)
					}
				}
			}
		}
	}
}
