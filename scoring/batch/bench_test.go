package batch

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

// BenchmarkPlace measures one decision, on servers that are half full. "least" is the baseline that everything else is a multiple of:
// one look at each node's free CPU. The jobs are of one size, so that what a strategy has found for the last one may serve the next, or, in "differ", each of its own.
func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		r := rand.New(rand.NewPCG(1, 2))
		nodes := mixed(b, r, n)
		b.Run(fmt.Sprintf("nodes=%d/baseline", n), func(b *testing.B) {
			c := halfFull(b, nodes)
			for b.Loop() {
				best := 0
				for i, f := range c.fitCPU {
					if f > c.fitCPU[best] {
						best = i
					}
				}
				if best < 0 {
					b.Fatal("none")
				}
			}
		})
		alike, differ := make([]Job, 1), make([]Job, 5000)
		alike[0] = job("x", 2)
		for k := range differ {
			differ[k] = job("x", 1+2*r.Float64())
		}
		for _, name := range Names() {
			place := func(b *testing.B, jobs []Job) {
				c := halfFull(b, nodes)
				s, err := New(name, Options{})
				if err != nil {
					b.Fatal(err)
				}
				k := 0
				for b.Loop() {
					k = (k + 1) % len(jobs)
					p, err := s.Plan(b.Context(), 0, jobs[k:k+1], c)
					if err != nil || len(p.Assigned) != 1 {
						b.Fatal(p, err)
					}
					c.Release(p.Assigned[0].Node, &jobs[k])
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "placements/s")
			}
			b.Run(fmt.Sprintf("nodes=%d/%s", n, name), func(b *testing.B) { place(b, alike) })
			b.Run(fmt.Sprintf("nodes=%d/%s/differ", n, name), func(b *testing.B) { place(b, differ) })
		}
	}
}

func halfFull(b *testing.B, nodes []Node) *Cluster {
	c, err := NewCluster(b.Context(), nodes, ClusterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range c.Len() {
		j := job("y", c.work[i]*r.Float64())
		c.Reserve(i, &j, 0)
	}
	return c
}

// BenchmarkEstimate is the worst case of the estimator's call: as many workloads as it takes, so small that they all fit on any one of
// thousands of servers whose curves are not convex.
func BenchmarkEstimate(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	nodes := make([]Node, 5000)
	for i := range nodes {
		watts := []power.Watts{power.Watts(40 + 60*r.Float64())}
		for range 10 {
			watts = append(watts, watts[len(watts)-1]+power.Watts(5+20*r.Float64()))
		}
		nodes[i] = node(fmt.Sprintf("n%04d", i), 64, curve(b, watts...))
	}
	c := halfFull(b, nodes)
	j := job("x", 0.001)
	for b.Loop() {
		if _, err := c.Estimate(b.Context(), &j, 1000); err != nil {
			b.Fatal(err)
		}
	}
}
