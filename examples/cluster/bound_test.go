package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

// No placement draws less than the bound: random ones, and those that a careful greedy search finds.
func TestLowerBound(t *testing.T) {
	for seed := range uint64(20) {
		fleet := mustFleet(t, 8, seed)
		rng := rand.New(rand.NewPCG(seed, 99))
		sizes := newWorkload(40, 0.05+0.75*rng.Float64(), capacity(fleet), seed)
		bound, err := lowerBound(fleet, cores(sizes))
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			used := make([]int64, len(fleet))
			for _, size := range sizes {
				used[roomy(rng, fleet, used, size)] += size
			}
			checkAbove(t, fleet, used, bound)
		}
		// Greedy: one quantum after the other where it adds least. It ends near the bound.
		used := make([]int64, len(fleet))
		for range int64(cores(sizes) * 1000 / quantum) {
			best, least := -1, math.Inf(1)
			for i := range fleet {
				if used[i]+quantum > int64(fleet[i].hardware.Threads)*1000 {
					continue
				}
				before := fleet[i].watts(float64(used[i]) / 1000 / fleet[i].cores())
				after := fleet[i].watts(float64(used[i]+quantum) / 1000 / fleet[i].cores())
				if d := float64(after - before); d < least {
					best, least = i, d
				}
			}
			used[best] += quantum
		}
		checkAbove(t, fleet, used, bound)
	}
}

// The bound is tight: servers at the corners of their envelopes draw exactly that.
func TestLowerBoundIsReached(t *testing.T) {
	fleet := mustFleet(t, 6, 3)
	var idle, full power.Watts
	for i := range fleet {
		idle += fleet[i].watts(0)
		full += fleet[i].watts(1)
	}
	for _, test := range []struct {
		demand float64
		want   power.Watts
	}{{0, idle}, {capacity(fleet), full}} {
		got, err := lowerBound(fleet, test.demand)
		if err != nil || math.Abs(float64(got-test.want)) > 1e-6 {
			t.Errorf("bound of %.1f cores = %v, %v; want %v", test.demand, got, err, test.want)
		}
	}
	if _, err := lowerBound(fleet, capacity(fleet)+1); err == nil {
		t.Error("more work than the servers can do has a bound")
	}
}

// The envelope lies on or below every point and is convex.
func TestEnvelope(t *testing.T) {
	fleet := mustFleet(t, 24, 1)
	for i := range fleet {
		all := points(&fleet[i])
		hull := envelope(all)
		if hull[0] != all[0] || hull[len(hull)-1] != all[len(all)-1] {
			t.Fatalf("%s: the envelope has other ends than the curve", fleet[i].name)
		}
		slope := math.Inf(-1)
		k := 0
		for j := 1; j < len(hull); j++ {
			a, b := hull[j-1], hull[j]
			next := (b.watts - a.watts) / (b.cores - a.cores)
			if next <= slope {
				t.Fatalf("%s: the envelope is not convex at %v cores", fleet[i].name, a.cores)
			}
			slope = next
			for ; k < len(all) && all[k].cores <= b.cores; k++ {
				if line := a.watts + slope*(all[k].cores-a.cores); line > all[k].watts+1e-9 {
					t.Fatalf("%s: the envelope is above the curve at %v cores", fleet[i].name, all[k].cores)
				}
			}
		}
	}
}

func checkAbove(t *testing.T, fleet []server, used []int64, bound power.Watts) {
	t.Helper()
	var sum power.Watts
	for i := range fleet {
		sum += fleet[i].watts(float64(used[i]) / 1000 / fleet[i].cores())
	}
	if sum < bound-1e-6 {
		t.Errorf("a placement draws %v, less than the bound %v", sum, bound)
	}
}

// roomy picks a random server with room, or the emptiest.
func roomy(rng *rand.Rand, fleet []server, used []int64, size int64) int {
	free := func(i int) int64 { return int64(fleet[i].hardware.Threads)*1000 - used[i] }
	for range 20 {
		if i := rng.IntN(len(fleet)); free(i) >= size {
			return i
		}
	}
	all := make([]int, len(fleet))
	for i := range all {
		all[i] = i
	}
	return slices.MaxFunc(all, func(a, b int) int { return int(free(a) - free(b)) })
}

func mustFleet(t *testing.T, n int, seed uint64) []server {
	t.Helper()
	fleet, err := newFleet(n, seed)
	if err != nil {
		t.Fatal(err)
	}
	return fleet
}
