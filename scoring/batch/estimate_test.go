package batch

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestEstimateIsExact: no way to place k equal jobs one after another adds less, and some way adds as much; the bound is not above it.
func TestEstimateIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, off := range []bool{false, true} {
		for range 40 {
			nodes := mixed(t, r, 3)
			c, err := NewCluster(t.Context(), nodes, ClusterOptions{SwitchOff: off})
			if err != nil {
				t.Fatal(err)
			}
			bound, err := NewBound(t.Context(), nodes, off)
			if err != nil {
				t.Fatal(err)
			}
			j := job("x", 4)
			const k = 6
			got, err := c.Estimate(t.Context(), &j, k)
			if err != nil {
				t.Fatal(err)
			}
			idle := 0.0 // of the empty cluster
			for i := range c.Len() {
				if !off {
					idle += float64(c.curve[i].Idle())
				}
			}
			best := make([]float64, k)
			for i := range best {
				best[i] = math.Inf(1)
			}
			var try func(n int, watts float64, at int)
			try = func(n int, watts float64, at int) {
				if n > 0 {
					best[n-1] = min(best[n-1], watts)
				}
				if n == k {
					return
				}
				for i := at; i < c.Len(); i++ {
					if c.Fits(i, &j) {
						add := c.added(i, j.Demand.CPU)
						c.Reserve(i, &j, time.Duration(0))
						try(n+1, watts+add, i)
						c.Release(i, &j)
					}
				}
			}
			try(0, 0, 0)
			for n := range best {
				if math.Abs(best[n]-got[n]) > 1e-9 && !(math.IsInf(best[n], 1) && math.IsInf(got[n], 1)) {
					t.Fatalf("off=%v: %d jobs add %v, enumeration says %v", off, n+1, got[n], best[n])
				}
				if b := float64(bound.At(Load{Use: 4 * float64(n+1), CPU: 4 * float64(n+1)})); b > idle+got[n]+1e-9 {
					t.Fatalf("bound %v above %v", b, idle+got[n])
				}
			}
		}
	}
}
