package minplus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// enumerate tries every split, as WAO's estimator does.
func enumerate(added [][]float64, k int) []float64 {
	best := make([]float64, k)
	for i := range best {
		best[i] = math.Inf(1)
	}
	var try func(n, used int, cost float64)
	try = func(n, used int, cost float64) {
		if n == len(added) {
			if used > 0 {
				best[used-1] = min(best[used-1], cost)
			}
			return
		}
		try(n+1, used, cost)
		for i := range min(len(added[n]), k-used) {
			try(n+1, used+i+1, cost+added[n][i])
		}
	}
	try(0, 0, 0)
	return best
}

// TestLeastEstimator is the example of WAO's estimator: three nodes, three workloads.
func TestLeastEstimator(t *testing.T) {
	got, err := Least([][]float64{{11, 14, 14}, {10, 17, 19}, {15, 26, 31}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{10, 14, 14}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLeastAgainstEnumeration(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		added := make([][]float64, r.IntN(5))
		for n := range added {
			sum, step := 0.0, r.Float64()
			for range r.IntN(5) {
				switch r.IntN(3) {
				case 0: // concave or falling
					sum += 3*r.Float64() - 1
				default:
					step += r.Float64()
					sum += step
				}
				if r.IntN(12) == 0 {
					sum = math.Inf(1)
				}
				added[n] = append(added[n], sum)
			}
		}
		k := r.IntN(7)
		got, err := Least(added, k)
		if err != nil {
			t.Fatal(err)
		}
		want := enumerate(added, k)
		if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-12), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%v, k = %d: %s", added, k, diff)
		}
		if k == 0 {
			continue
		}
		cost, split, err := Split(added, k)
		if err != nil {
			t.Fatal(err)
		}
		if math.IsInf(want[k-1], 1) {
			if split != nil || !math.IsInf(cost, 1) {
				t.Fatalf("split %v at %v where %d do not fit", split, cost, k)
			}
			continue
		}
		sum, n := 0.0, 0
		for i, m := range split {
			if m > 0 {
				sum += added[i][m-1]
			}
			n += m
		}
		if n != k || math.Abs(sum-want[k-1]) > 1e-12 || math.Abs(cost-sum) > 1e-12 {
			t.Fatalf("split %v of %v costs %v (%v), want %v", split, added, sum, cost, want[k-1])
		}
	}
}

func TestLeastErrors(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(-1)} {
		if _, err := Least([][]float64{{1}, {1, bad}}, 2); !errors.Is(err, ErrCost) {
			t.Errorf("%v: error %v", bad, err)
		}
	}
	if _, err := Least(nil, -1); err == nil {
		t.Error("minus one workload passes")
	}
}

func BenchmarkLeast(b *testing.B) {
	for _, kind := range []string{"convex", "any"} {
		b.Run(fmt.Sprintf("5000servers100workloads/%s", kind), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			added := make([][]float64, 5000)
			for n := range added {
				sum, step := 0.0, r.Float64()
				for range 100 {
					if kind == "convex" {
						step += r.Float64() / 100
					} else {
						step = r.Float64()
					}
					sum += step
					added[n] = append(added[n], sum)
				}
			}
			for b.Loop() {
				if _, err := Least(added, 100); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestPieces holds halving against trying all sums, on curves of few convex pieces and many workloads, with rounding, holes and ends.
func TestPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 1))
	for n := range 200 {
		k := 50 + r.IntN(200)
		var added [][]float64
		for range 1 + r.IntN(6) {
			base, watts, slope := 300*r.Float64(), 0.0, 5*r.Float64()
			var curve []float64
			for i := range k - r.IntN(40) {
				if r.IntN(40) == 0 {
					slope = 5 * r.Float64()
				}
				if n%2 == 0 {
					slope += r.Float64() / 50
				}
				watts += slope
				curve = append(curve, base+watts-base)
				if n%5 == 0 && i > 20 && i < 30 {
					curve[i] = math.Inf(1)
				}
			}
			added = append(added, curve)
		}
		want := append([]float64{0}, make([]float64, k)...)
		for i := 1; i <= k; i++ {
			want[i] = math.Inf(1)
		}
		for _, curve := range added {
			next := append([]float64(nil), want...)
			for i := 1; i <= k; i++ {
				for j := 1; j <= min(i, len(curve)); j++ {
					next[i] = min(next[i], want[i-j]+curve[j-1])
				}
			}
			want = next
		}
		got, err := Least(added, k)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[1:], got, cmpopts.EquateApprox(1e-12, 0)); diff != "" {
			t.Fatalf("case %d: %s", n, diff)
		}
		cost, split, err := Split(added, k)
		if err != nil || math.Abs(cost-want[k]) > 1e-12*want[k] {
			t.Fatalf("case %d: %d workloads split %v at %v (%v), want %v", n, k, split, cost, err, want[k])
		}
	}
}

// TestSumStops: a sum whose context is done adds nothing and says so.
func TestSumStops(t *testing.T) {
	s, err := NewSum(3)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(t.Context(), []float64{3, 4, 9}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Add(ctx, []float64{1, 1, 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled sum: %v", err)
	}
	if diff := cmp.Diff([]float64{3, 4, 9}, s.Least()); diff != "" {
		t.Error(diff)
	}
}

// FuzzLeast compares with trying every division, on two servers, and holds Split to what Least says.
func FuzzLeast(f *testing.F) {
	f.Add([]byte{11, 14, 14, 10, 17, 19}, uint8(3))
	f.Add([]byte{255, 0, 7}, uint8(6))
	f.Fuzz(func(t *testing.T, raw []byte, workloads uint8) {
		k := int(workloads % 12)
		half := min(len(raw)/2, 12)
		curve := func(b []byte) []float64 {
			out := make([]float64, len(b))
			for i, v := range b {
				if out[i] = float64(v) - 50; v == 255 {
					out[i] = math.Inf(1)
				}
			}
			return out
		}
		added := [][]float64{curve(raw[:half]), curve(raw[half : 2*half])}
		got, err := Least(added, k)
		if err != nil || len(got) != k {
			t.Fatal(got, err)
		}
		at := func(s, n int) float64 {
			switch {
			case n == 0:
				return 0
			case n > half:
				return math.Inf(1)
			}
			return added[s][n-1]
		}
		for n := 1; n <= k; n++ {
			want := math.Inf(1)
			for a := range n + 1 {
				want = min(want, at(0, a)+at(1, n-a))
			}
			if got[n-1] != want {
				t.Fatalf("%d workloads cost %v, want %v", n, got[n-1], want)
			}
			cost, split, err := Split(added, n)
			if err != nil || cost != want || split != nil && at(0, split[0])+at(1, split[1]) != want {
				t.Fatalf("%d workloads split %v at %v (%v), want %v", n, split, cost, err, want)
			}
		}
	})
}
