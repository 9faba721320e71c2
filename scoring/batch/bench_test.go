package batch

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkPlace measures one decision, on servers that are half full. "least" is the baseline that everything else is a multiple of:
// one look at each node's free CPU.
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
		for _, name := range Names() {
			b.Run(fmt.Sprintf("nodes=%d/%s", n, name), func(b *testing.B) {
				c := halfFull(b, nodes)
				s, err := New(name, Options{})
				if err != nil {
					b.Fatal(err)
				}
				j := []Job{job("x", 2)}
				j[0].Demand.Lifetime = time.Hour
				for b.Loop() {
					p, err := s.Plan(b.Context(), 0, j, c)
					if err != nil || len(p.Assigned) != 1 {
						b.Fatal(p, err)
					}
					c.Release(p.Assigned[0].Node, &j[0])
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "placements/s")
			})
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
