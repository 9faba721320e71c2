package batch

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/leastwatt/leastwatt/power"
)

// TestMinMinByHand: two machines, three tasks. Least completions are 2 (task 0 on machine 0), 3 (task 1 on 1), 5 (task 2 on 1).
// Min-Min takes 0, then 1 (machine 1, ends at 3), then 2, which ends at 2+6 on machine 0 and 3+5 on machine 1.
func TestMinMinByHand(t *testing.T) {
	etc := [][]float64{{2, 4}, {4, 3}, {6, 5}}
	at, span, err := MinMin(etc, []float64{0, 0})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{0, 1, 0}, at); diff != "" || span != 8 {
		t.Errorf("makespan %v: %s", span, diff)
	}
	// Max-Min takes task 2 first (machine 1, ends at 5), then task 1 (4 on machine 0), then task 0 (6 on machine 0).
	at, span, err = MaxMin(etc, []float64{0, 0})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{0, 0, 1}, at); diff != "" || span != 6 {
		t.Errorf("makespan %v: %s", span, diff)
	}
}

func TestMinMinErrors(t *testing.T) {
	for _, bad := range [][][]float64{{{1}}, {{1, math.NaN()}}, {{-1, 1}}} {
		if _, _, err := MinMin(bad, []float64{0, 0}); err == nil {
			t.Errorf("%v passes", bad)
		}
	}
	if _, _, err := MaxMin(nil, []float64{math.Inf(1)}); err == nil {
		t.Error("a machine that is never ready passes")
	}
	at, _, err := MinMin([][]float64{{math.Inf(1)}}, []float64{0})
	if err != nil || at[0] != -1 {
		t.Errorf("a task that runs nowhere: %v, %v", at, err)
	}
}

// TestWAONormalize has the cases of WAO-Scheduler's MinimizePower.
func TestWAONormalize(t *testing.T) {
	score := func(watts []int64) []int64 {
		lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
		for _, w := range watts {
			if w != waoFailed && w != waoOver {
				lo, hi = min(lo, w), max(hi, w)
			}
		}
		out := make([]int64, len(watts))
		for i, w := range watts {
			out[i] = waoNormalize(w, lo, hi)
		}
		return out
	}
	for _, c := range []struct{ in, want []int64 }{
		{[]int64{0, 50, 100}, []int64{100, 60, 20}},
		{[]int64{waoFailed, waoOver, 10, 20, 30}, []int64{0, 1, 100, 60, 20}},
		{[]int64{7, 7}, []int64{20, 20}},
	} {
		if diff := cmp.Diff(c.want, score(c.in)); diff != "" {
			t.Error(diff)
		}
	}
}

// TestExponential has PEAKS' published coefficients and the differences they give.
func TestExponential(t *testing.T) {
	e := Exponential{K1: -91.50493019588365, K2: -0.07186049052516228}
	for _, c := range []struct{ from, to, want float64 }{{0, 100, 91.435654157550}, {20, 30, 11.143557716109}} {
		if got := e.Rise(c.from, c.to); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("rise %v to %v is %.12f, want %.12f", c.from, c.to, got, c.want)
		}
	}
	// A fit to a curve that is an exponential finds it again.
	e.K0 = 200
	watts := make([]float64, 11)
	for i := range watts {
		watts[i] = e.At(float64(10 * i))
	}
	fit := FitExponential(curve(t, toWatts(watts)...))
	if diff := cmp.Diff(e, fit, cmpopts.EquateApprox(1e-3, 0)); diff != "" {
		t.Error(diff)
	}
}

// TestBoundNeverExceeds: no placement of whole jobs draws less than the bound, and an exact optimum of tiny jobs comes close.
func TestBoundNeverExceeds(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 60 {
		nodes := mixed(t, r, 1+r.IntN(4))
		for _, off := range []bool{false, true} {
			b, err := NewBound(t.Context(), nodes, off)
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				// Any split of work, with whatever it reserves.
				var l Load
				var watts float64
				for i := range nodes {
					n := &nodes[i]
					u := max(0, 1.3*r.Float64()-0.3)
					on := u > 0 || !off
					if on {
						est, err := n.Predictor.Predict(t.Context(), n.State.With(u))
						if err != nil {
							t.Fatal(err)
						}
						watts += float64(est)
						l.Use += u * n.Capacity.Cores
						l.CPU += (u + (1-u)*r.Float64()) * n.Allocatable.CPU
						l.Memory += r.Float64() * n.Allocatable.Memory
					} else {
						watts += float64(n.OffPower)
					}
				}
				if got := float64(b.At(l)); got > watts*(1+1e-12) {
					t.Fatalf("off=%v: bound %v above a real %v", off, got, watts)
				}
			}
		}
	}
	// One server, 100 W idle, 200 W full: half its memory reserved keeps half of it on.
	n := node("a", 10, curve(t, 100, 200))
	b, err := NewBound(t.Context(), []Node{n, n}, true)
	if err != nil {
		t.Fatal(err)
	}
	full := n.Allocatable.Memory
	for _, c := range []struct {
		l    Load
		want float64
	}{
		{Load{}, 0},
		{Load{Use: 10}, 200},
		{Load{Use: 1, Memory: full}, 110},
		{Load{Use: 1, CPU: 10}, 110},
		{Load{Use: 20}, 400},
	} {
		if got := float64(b.At(c.l)); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("bound of %+v is %v, want %v", c.l, got, c.want)
		}
	}
}

func toWatts(v []float64) []power.Watts {
	out := make([]power.Watts, len(v))
	for i, w := range v {
		out[i] = power.Watts(w)
	}
	return out
}
