package assign

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestFinish: most auctions are proved before their bit is too small to matter, with the result of the search that makes no guess, and what
// is not the optimum is never proved.
func TestFinish(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 11))
	early, better := 0, 0
	const cases = 60
	for n := range cases {
		rows := 35 + r.IntN(60)
		cols := rows + 1 + r.IntN(200)
		a, b, x, y := make([]float64, rows), make([]float64, rows), make([]float64, cols), make([]float64, cols)
		for _, f := range [][]float64{a, b, x, y} {
			for i := range f {
				if f[i] = r.Float64(); n%3 == 0 { // few kinds of rows and columns
					f[i] = math.Ceil(5 * f[i])
				}
			}
		}
		cost := make([]float64, rows*cols)
		for i := range rows {
			for j := range cols {
				cost[i*cols+j] = -a[i]*x[j] - b[i]*y[j]
			}
		}
		plain := newSolver(rows, cols, cost)
		for _, i := range plain.reduce(plain.byStake()) {
			plain.augment(i)
		}
		want := plain.result()

		s := newSolver(rows, cols, cost)
		most, _ := sizes(cost)
		s.slack = 1e-13 * most
		c := newAuction(s)
		if !c.rounds(most, s.slack/4, true) {
			t.Fatalf("case %d: the auction found no end", n)
		}
		if !c.proved {
			continue
		}
		early++
		got := s.result()
		checkValid(t, rows, cols, cost, got)
		if got.Served != rows || math.Abs(got.Cost-want.Cost) > 1e-9*math.Abs(want.Cost) {
			t.Errorf("case %d: %d × %d: %d rows at %v, want %d at %v", n, rows, cols, got.Served, got.Cost, want.Served, want.Cost)
		}

		i, k := int32(r.IntN(rows)), int32(r.IntN(rows))
		j, l := c.has[i], c.has[k]
		if worse := s.line(int(i))[l] + s.line(int(k))[j] - s.line(int(i))[j] - s.line(int(k))[l]; worse > 1e-6 {
			c.has[i], c.has[k], c.owner[j], c.owner[l] = l, j, k, i
			for bit := most; bit > s.slack; bit /= 10 {
				if c.finish(bit) {
					t.Errorf("case %d: an assignment that costs %v too much is proved, by prices with %v more", n, worse, bit)
				}
			}
			better++
		}
	}
	if early < cases/2 || better < cases/4 {
		t.Errorf("%d of %d were proved early, %d were tried with two rows exchanged", early, cases, better)
	}
}
