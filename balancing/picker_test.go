package balancing_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leastwatt/leastwatt/balancing"
)

// pickers makes one of each kind for the same weights.
func pickers(t testing.TB, ids []string, weights []float64) map[string]balancing.Picker {
	t.Helper()
	must := func(p balancing.Picker, err error) balancing.Picker {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	out := map[string]balancing.Picker{}
	a, err := balancing.NewAlias(weights)
	out["alias"] = must(a, err)
	r, err := balancing.NewRoundRobin(weights, 0)
	out["round robin"] = must(r, err)
	m, err := balancing.NewMaglev(ids, weights)
	out["maglev"] = must(m, err)
	c, err := balancing.NewTwoChoices(weights, nil)
	out["two choices"] = must(c, err)
	return out
}

func pick(p balancing.Picker, key uint64) int {
	i := p.Pick(key)
	if t, ok := p.(balancing.TrackingPicker); ok && i >= 0 {
		t.Done(i)
	}
	return i
}

func names(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("10.1.0.%d:80", i)
	}
	return ids
}

func TestPickersFollowTheShares(t *testing.T) {
	weights := []float64{0.45, 0, 0.3, 0.2, 0.05}
	for name, p := range pickers(t, names(5), weights) {
		if name == "two choices" {
			continue // with nothing in flight it prefers the heavier of two
		}
		const n = 200_000
		count := make([]int, 5)
		for i := range n {
			count[pick(p, uint64(i))]++
		}
		for i, w := range weights {
			if got := float64(count[i]) / n; math.Abs(got-w) > 0.008 {
				t.Errorf("%s: endpoint %d gets %v of the picks: its share is %v", name, i, got, w)
			}
		}
	}
}

func TestPickersNeverPickNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for round := range 50 {
		n := 1 + r.IntN(30)
		weights := make([]float64, n)
		for i := range weights {
			if r.IntN(3) > 0 {
				weights[i] = r.ExpFloat64()
			}
		}
		weights[r.IntN(n)] = 1e-3
		for name, p := range pickers(t, names(n), weights) {
			for range 2000 {
				if i := pick(p, r.Uint64()); i < 0 || i >= n || weights[i] == 0 {
					t.Fatalf("round %d: %s picks %d of %v", round, name, i, weights)
				}
			}
		}
	}
	for name, p := range pickers(t, nil, nil) {
		if i := p.Pick(1); i != -1 {
			t.Errorf("%s picks %d of no endpoints", name, i)
		}
	}
	for name, p := range pickers(t, names(3), make([]float64, 3)) {
		seen := map[int]bool{}
		for i := range 1000 {
			seen[pick(p, uint64(i))] = true
		}
		if len(seen) != 3 {
			t.Errorf("%s: all weights 0 pick only %v", name, seen)
		}
	}
}

func TestPickersRefuseBadWeights(t *testing.T) {
	for _, bad := range []float64{math.NaN(), -1, math.Inf(1)} {
		w := []float64{1, bad}
		_, e1 := balancing.NewAlias(w)
		_, e2 := balancing.NewRoundRobin(w, 0)
		_, e3 := balancing.NewMaglev(names(2), w)
		_, e4 := balancing.NewTwoChoices(w, nil)
		_, e5 := balancing.Quantize(w, 10)
		for i, err := range []error{e1, e2, e3, e4, e5} {
			if err == nil {
				t.Errorf("constructor %d takes weight %v", i, bad)
			}
		}
	}
	if _, err := balancing.NewMaglev(names(1), []float64{1, 2}); err == nil {
		t.Error("maglev takes one endpoint and two weights")
	}
}

// Smooth: no stretch of picks gives an endpoint much more than its share.
func TestRoundRobinIsSmooth(t *testing.T) {
	weights := []float64{5, 1, 1}
	r, err := balancing.NewRoundRobin(weights, 700)
	if err != nil {
		t.Fatal(err)
	}
	run, longest := 0, 0
	last := -1
	count := make([]int, 3)
	for range 700 {
		i := r.Pick(0)
		count[i]++
		if i == last {
			run++
		} else {
			run, last = 1, i
		}
		longest = max(longest, run)
	}
	if count[0] != 500 || count[1] != 100 || longest > 6 {
		t.Errorf("one turn of 700 gives %v, longest run %d", count, longest)
	}
}

// Picks one after the other follow the order, whichever goroutine makes them.
func TestRoundRobinIsExactInTurn(t *testing.T) {
	r, err := balancing.NewRoundRobin([]float64{5, 1, 1}, 700)
	if err != nil {
		t.Fatal(err)
	}
	turn := func() (order [700]int) {
		for i := range order {
			var wg sync.WaitGroup
			wg.Go(func() { order[i] = r.Pick(0) })
			wg.Wait()
		}
		return order
	}
	if first, second := turn(), turn(); first != second {
		t.Errorf("two turns differ:\n%v\n%v", first, second)
	}
}

// Goroutines that meet take different places: with one place an endpoint, none is picked twice in a turn.
func TestRoundRobinPicksNoPlaceTwice(t *testing.T) {
	const n, goroutines, each = 1 << 16, 8, 7000 // and room for what is left of the goroutines' batches
	w := make([]float64, n)
	for i := range w {
		w[i] = 1
	}
	r, err := balancing.NewRoundRobin(w, n)
	if err != nil {
		t.Fatal(err)
	}
	var count [n]atomic.Int32
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				if c := count[r.Pick(0)].Add(1); c != 1 {
					t.Errorf("a place is picked %d times", c)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMaglevMovesFewKeys(t *testing.T) {
	const n, keys = 50, 20_000
	weights := make([]float64, n)
	for i := range weights {
		weights[i] = 1
	}
	table := func(ids []string, w []float64) func(uint64) string {
		m, err := balancing.NewMaglev(ids, w)
		if err != nil {
			t.Fatal(err)
		}
		return func(k uint64) string { return ids[m.Pick(k)] }
	}
	before := table(names(n), weights)
	moved := func(after func(uint64) string) float64 {
		c := 0
		for k := range uint64(keys) {
			if before(k) != after(k) {
				c++
			}
		}
		return float64(c) / keys
	}
	if m := moved(table(names(n), weights)); m != 0 {
		t.Errorf("the same endpoints: %v of the keys move", m)
	}
	if m := moved(table(names(n)[1:], weights[1:])); m > 0.06 {
		t.Errorf("one of %d endpoints gone: %v of the keys move", n, m)
	}
	weights[3] = 0.5
	if m := moved(table(names(n), weights)); m > 0.06 {
		t.Errorf("one weight halved: %v of the keys move", m)
	}
}

func TestTwoChoicesAvoidsTheSlow(t *testing.T) {
	c, err := balancing.NewTwoChoices([]float64{1, 1, 1, 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	count := make([]int, 4)
	for range 1000 {
		if i := c.Pick(0); i != 2 { // endpoint 2 never answers
			c.Done(i)
			count[i]++
		} else {
			count[i]++
		}
	}
	if count[2] > 50 {
		t.Errorf("an endpoint that never answers gets %d of 1000", count[2])
	}
}

// The two draws are independent: of four equal endpoints the idle one is met by one of two draws, or by a third where
// the first two meet the same.
func TestTwoChoicesDrawsTwice(t *testing.T) {
	var f balancing.Flights
	flights := f.Of([]string{"idle", "a", "b", "c"})
	for _, busy := range flights[1:] {
		busy.Add(1000)
	}
	c, err := balancing.NewTwoChoices([]float64{1, 1, 1, 1}, flights)
	if err != nil {
		t.Fatal(err)
	}
	const n = 200_000
	idle := 0
	for range n {
		i := c.Pick(0)
		c.Done(i)
		if i == 0 {
			idle++
		}
	}
	want := 1./4 + 3./4*(1./4+1./4*1./4)
	if got := float64(idle) / n; math.Abs(got-want) > 0.01 {
		t.Errorf("the idle endpoint gets %v of the picks, want %v", got, want)
	}
}

func TestFlightsOutliveTheTable(t *testing.T) {
	var f balancing.Flights
	first := f.Of([]string{"a", "b"})
	first[0].Add(3)
	f.Of([]string{"b"})
	if again := f.Of([]string{"a", "b"}); again[0] != first[0] || again[1] != first[1] {
		t.Error("the counter of an endpoint with requests in flight is lost")
	}
	first[0].Add(-3)
	f.Of([]string{"b"})
	if again := f.Of([]string{"a"}); again[0] == first[0] {
		t.Error("an endpoint that is gone is never forgotten")
	}
}

func TestQuantize(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 500 {
		n := 1 + r.IntN(40)
		w := make([]float64, n)
		sum := 0.0
		for i := range w {
			w[i] = math.Pow(r.Float64(), 6)
			sum += w[i]
		}
		slots, err := balancing.Quantize(w, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for i, s := range slots {
			total += s
			if exact := w[i] / sum * 10_000; math.Abs(float64(s)-exact) > 1+float64(n) || w[i] > 0 && s == 0 || exact > float64(n) && math.Abs(float64(s)-exact) > float64(n) {
				t.Errorf("%v of 10000 slots, exact is %v", s, exact)
			}
		}
		if total != 10_000 {
			t.Errorf("%d slots", total)
		}
	}
	got, _ := balancing.Quantize([]float64{3, 3, 4}, 5)
	if fmt.Sprint(got) != "[2 1 2]" {
		t.Errorf("largest remainder of 1.5, 1.5, 2: %v", got)
	}
}

func TestSelectorSwapsWhileOthersPick(t *testing.T) {
	var s balancing.Selector[string]
	if _, ok := s.Pick(0); ok {
		t.Error("an empty selector picks")
	}
	var f balancing.Flights
	swap := func(n int) {
		ids := names(n)
		w := make([]float64, n)
		for i := range w {
			w[i] = float64(1 + i)
		}
		c, err := balancing.NewTwoChoices(w, f.Of(ids))
		if err != nil {
			t.Error(err)
		}
		s.Swap(ids, c)
	}
	swap(3)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range uint64(5000) {
				c, ok := s.Pick(i)
				if !ok || c.Endpoint == "" {
					t.Error("nothing picked")
					return
				}
				c.Done()
			}
		})
	}
	for i := range 200 {
		swap(1 + i%7)
	}
	wg.Wait()
	for i, c := range f.Of(names(7)) {
		if c.Load() != 0 {
			t.Errorf("endpoint %d has %d requests in flight at the end", i, c.Load())
		}
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	w := make([]float64, 100)
	for i := range w {
		w[i] = float64(i)
	}
	for name, p := range pickers(t, names(100), w) {
		var s balancing.Selector[int]
		s.Swap(make([]int, 100), p)
		if n := testing.AllocsPerRun(1000, func() {
			c, _ := s.Pick(7)
			c.Done()
		}); n != 0 {
			t.Errorf("%s: %v allocations a pick", name, n)
		}
	}
}

// BenchmarkPick picks with 64 requests in flight a goroutine, and ends the oldest after each pick where the picker wants
// to know.
func BenchmarkPick(b *testing.B) {
	type flight struct {
		ring [64]int
		k    uint64
	}
	step := func(p balancing.Picker, t balancing.TrackingPicker, f *flight) {
		i := p.Pick(f.k)
		if t != nil {
			at := &f.ring[f.k%64]
			if f.k >= 64 {
				t.Done(*at)
			}
			*at = i
		}
		f.k++
	}
	for _, n := range []int{10, 100, 1000} {
		r := rand.New(rand.NewPCG(7, 8))
		w := make([]float64, n)
		for i := range w {
			w[i] = r.ExpFloat64()
		}
		for name, p := range pickers(b, names(n), w) {
			t, _ := p.(balancing.TrackingPicker)
			b.Run(fmt.Sprintf("%s/endpoints=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				var f flight
				for b.Loop() {
					step(p, t, &f)
				}
			})
			b.Run(fmt.Sprintf("%s/endpoints=%d/parallel", name, n), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					var f flight
					for pb.Next() {
						step(p, t, &f)
					}
				})
			})
		}
	}
}

// BenchmarkSelector is a pick through a Selector and the Done of its choice, as a proxy does it.
func BenchmarkSelector(b *testing.B) {
	w := make([]float64, 100)
	for i := range w {
		w[i] = float64(1 + i)
	}
	for name, p := range pickers(b, names(100), w) {
		b.Run(name, func(b *testing.B) {
			var s balancing.Selector[string]
			s.Swap(names(100), p)
			b.ReportAllocs()
			for k := uint64(0); b.Loop(); k++ {
				c, _ := s.Pick(k)
				c.Done()
			}
		})
	}
}
