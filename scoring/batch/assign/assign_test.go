package assign

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// bruteForce tries every assignment: most rows served first, then least cost.
func bruteForce(rows, cols int, cost []float64) (served int, best float64) {
	used := make([]bool, cols)
	served, best = -1, math.Inf(1)
	var try func(i, n int, sum float64)
	try = func(i, n int, sum float64) {
		if i == rows {
			if n > served || n == served && sum < best {
				served, best = n, sum
			}
			return
		}
		try(i+1, n, sum)
		for j := range cols {
			if c := cost[i*cols+j]; !used[j] && !math.IsInf(c, 1) {
				used[j] = true
				try(i+1, n+1, sum+c)
				used[j] = false
			}
		}
	}
	try(0, 0, 0)
	return served, best
}

// randomCosts mixes what breaks solvers: few distinct values, forbidden pairs, products, wide ranges, negatives.
func randomCosts(r *rand.Rand, rows, cols int) []float64 {
	c := make([]float64, rows*cols)
	kind, forbid := r.IntN(6), r.Float64()*r.Float64()
	if r.IntN(3) == 0 {
		forbid = 0
	}
	a, b := make([]float64, rows), make([]float64, cols)
	for i := range a {
		a[i] = r.Float64()
	}
	for j := range b {
		b[j] = r.Float64()
	}
	for i := range rows {
		for j := range cols {
			var v float64
			switch kind {
			case 0:
				v = float64(r.IntN(3))
			case 1:
				v = r.NormFloat64()
			case 2:
				v = -a[i] * b[j]
			case 5: // a sum of two products, rounded to make ties
				v = -math.Ceil(4*a[i])*math.Ceil(4*b[j]) - a[(i+1)%rows]*math.Ceil(4*b[(j+1)%cols])
			case 3:
				v = math.Exp(20 * r.NormFloat64())
			default:
				v = float64(r.IntN(100) - 50)
			}
			if r.Float64() < forbid {
				v = math.Inf(1)
			}
			c[i*cols+j] = v
		}
	}
	return c
}

func checkValid(t *testing.T, rows, cols int, cost []float64, got Result) {
	t.Helper()
	seen := make(map[int]bool)
	n, sum := 0, 0.0
	for i, j := range got.Row {
		if j == None {
			continue
		}
		if j < 0 || j >= cols || seen[j] || math.IsInf(cost[i*cols+j], 1) {
			t.Fatalf("row %d: column %d is out of range, taken or forbidden: %v", i, j, got.Row)
		}
		seen[j] = true
		n++
		sum += cost[i*cols+j]
	}
	if len(got.Row) != rows || n != got.Served || sum != got.Cost {
		t.Fatalf("result %+v does not agree with itself: %d served, cost %v", got, n, sum)
	}
}

func TestDenseAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 20000 {
		rows, cols := r.IntN(6), r.IntN(6)
		cost := randomCosts(r, rows, cols)
		got, err := Dense(rows, cols, cost)
		if err != nil {
			t.Fatal(err)
		}
		checkValid(t, rows, cols, cost, got)
		served, best := bruteForce(rows, cols, cost)
		var scale float64
		for _, c := range cost {
			if !math.IsInf(c, 1) {
				scale = max(scale, math.Abs(c))
			}
		}
		if got.Served != served || math.Abs(got.Cost-best) > 1e-11*scale {
			t.Fatalf("case %d: %d x %d %v:\n got %d served at %v\nwant %d at %v", n, rows, cols, cost, got.Served, got.Cost, served, best)
		}
	}
}

// TestDenseDuals proves optimality of large problems by weak duality: no dual gap, no negative reduced cost.
func TestDenseDuals(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		rows := 1 + r.IntN(60)
		cols := rows + r.IntN(200)
		cost := randomCosts(r, rows, cols)
		for i, c := range cost {
			if math.IsInf(c, 1) || math.Abs(c) > 1e6 {
				cost[i] = float64(i % 7)
			}
		}
		s := newSolver(rows, cols, cost)
		s.solve()
		var dual float64
		for i := range rows {
			dual += s.rowDual[i]
			for j := range cols {
				if red := cost[i*cols+j] - s.rowDual[i] - s.colDual[j]; red < -1e-9 {
					t.Fatalf("reduced cost of (%d, %d) is %g", i, j, red)
				}
			}
		}
		for _, v := range s.colDual {
			if v > 0 {
				t.Fatalf("a column has the positive dual %g", v)
			}
			dual += v
		}
		if got := s.result(); got.Served != rows || math.Abs(got.Cost-dual) > 1e-8*(1+math.Abs(dual)) {
			t.Fatalf("%d of %d rows, cost %v, dual bound %v", got.Served, rows, got.Cost, dual)
		}
	}
}

// TestDenseTransposed states that the two orientations agree on the optimum.
func TestDenseTransposed(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		rows, cols := 1+r.IntN(30), 1+r.IntN(30)
		cost := make([]float64, rows*cols)
		turned := make([]float64, rows*cols)
		for i := range cost {
			cost[i] = float64(r.IntN(50))
			if r.IntN(3) == 0 {
				cost[i] = math.Inf(1)
			}
			turned[i%cols*rows+i/cols] = cost[i]
		}
		a, err := Dense(rows, cols, cost)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Dense(cols, rows, turned)
		if err != nil {
			t.Fatal(err)
		}
		if a.Served != b.Served || a.Cost != b.Cost {
			t.Fatalf("%d x %d: %d at %v, turned %d at %v", rows, cols, a.Served, a.Cost, b.Served, b.Cost)
		}
	}
}

func TestDenseErrors(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(-1), 1e300, -1e300} {
		for _, shape := range [][2]int{{2, 3}, {3, 2}} {
			cost := make([]float64, 6)
			cost[1*shape[1]+1] = bad
			_, err := Dense(shape[0], shape[1], cost)
			if !errors.Is(err, ErrCost) || !strings.Contains(err.Error(), "row 1, column 1") {
				t.Errorf("%v in %v: error %v does not name row 1, column 1", bad, shape, err)
			}
		}
	}
	if _, err := Dense(2, 2, make([]float64, 3)); err == nil {
		t.Error("three costs for 2 x 2 pass")
	}
	if _, err := Dense(-1, 0, nil); err == nil {
		t.Error("minus one row passes")
	}
}

// TestDenseTies states that equal costs go to the lower numbers.
func TestDenseTies(t *testing.T) {
	got, err := Dense(3, 5, make([]float64, 15))
	if err != nil {
		t.Fatal(err)
	}
	for i, j := range got.Row {
		if j >= 3 {
			t.Errorf("row %d got column %d of five equal ones: %v", i, j, got.Row)
		}
	}
	again, _ := Dense(3, 5, make([]float64, 15))
	for i := range got.Row {
		if got.Row[i] != again.Row[i] {
			t.Errorf("two runs differ: %v, %v", got.Row, again.Row)
		}
	}
}

func FuzzDense(f *testing.F) {
	f.Add(uint8(3), uint8(4), []byte{1, 2, 3, 0xff, 9, 9, 0, 0, 4})
	f.Add(uint8(5), uint8(2), []byte{0xff, 0xff, 1, 0xfe})
	f.Fuzz(func(t *testing.T, rows, cols uint8, raw []byte) {
		m, n := int(rows%6), int(cols%6)
		cost := make([]float64, m*n)
		for i := range cost {
			if len(raw) == 0 {
				break
			}
			switch b := raw[i%len(raw)]; b {
			case 0xff:
				cost[i] = math.Inf(1)
			case 0xfe:
				cost[i] = math.NaN()
			case 0xfd:
				cost[i] = -1e9
			default:
				cost[i] = float64(b) - 100 + float64(i%3)/3
			}
		}
		got, err := Dense(m, n, cost)
		if err != nil {
			return
		}
		checkValid(t, m, n, cost, got)
		served, best := bruteForce(m, n, cost)
		if got.Served != served || math.Abs(got.Cost-best) > 1e-5 { // sums up to 5e9
			t.Fatalf("got %d at %v, want %d at %v", got.Served, got.Cost, served, best)
		}
	})
}

// TestContest: where rows want the same columns, the auction finds what the search finds that makes no guess, with spare columns and
// without, with ties, and when its sample of rows has left out columns that are worth having. That it finds it is tested too.
func TestContest(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	proved, late := 0, 0
	for n := range 80 {
		rows := 35 + r.IntN(60)
		cols := rows + r.IntN(4)*r.IntN(200)
		feature := func(n int) []float64 {
			f := make([]float64, n)
			for i := range f {
				f[i] = math.Pow(r.Float64(), 2)
				if r.IntN(2) == 0 {
					f[i] = math.Ceil(5 * f[i])
				}
			}
			return f
		}
		a, b, x, y := feature(rows), feature(rows), feature(cols), feature(cols)
		cost := make([]float64, rows*cols)
		for i := range rows {
			for j := range cols {
				cost[i*cols+j] = -a[i]*x[j] - b[i]*y[j]
			}
		}
		if n%4 == 3 { // one row alone wants the columns that nobody wants
			i := r.IntN(rows)
			for j := range cols {
				cost[i*cols+j] = -10 - cost[i*cols+j]
			}
		}
		s := newSolver(rows, cols, cost)
		if contested, _ := s.contested(); contested && s.contest() {
			proved++
			var dual float64
			for i := range rows {
				dual += s.rowDual[i]
			}
			for j, v := range s.colDual {
				if v > 0 || v < 0 && s.rowOf[j] == none {
					t.Fatalf("case %d: column %d has the dual value %v, row %d", n, j, v, s.rowOf[j])
				}
				dual += v
			}
			if got := s.result(); math.Abs(got.Cost-dual) > 1e-9*math.Abs(dual) {
				t.Errorf("case %d: cost %v, dual bound %v", n, got.Cost, dual)
			}
		}
		keep := s.sample()
		for j := range keep {
			if !keep[j] && s.rowOf[j] != none {
				late++
			}
		}
		plain := newSolver(rows, cols, cost)
		for _, i := range plain.reduce(plain.byStake()) {
			plain.augment(i)
		}
		want := plain.result()
		got, err := Dense(rows, cols, cost)
		if err != nil {
			t.Fatal(err)
		}
		checkValid(t, rows, cols, cost, got)
		if got.Served != want.Served || math.Abs(got.Cost-want.Cost) > 1e-9*math.Abs(want.Cost) {
			t.Errorf("case %d: %d × %d: %d rows at %v, want %d at %v", n, rows, cols, got.Served, got.Cost, want.Served, want.Cost)
		}
	}
	if proved < 60 || late == 0 {
		t.Errorf("%d of 80 were proved, %d columns came in late: want most, and some", proved, late)
	}
}

// TestGroups: columns that cost every row the same are one group and no others are, with round costs too, which differ in their high bits alone.
func TestGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	const rows, kinds, cols = 40, 3000, 6000
	cost := make([]float64, rows*cols)
	for i := range rows {
		for j := range kinds {
			v := float64(int(1) << r.IntN(4))
			cost[i*cols+j], cost[i*cols+cols-1-j] = v, v
		}
	}
	a := newAuction(newSolver(rows, cols, cost))
	if len(a.groups) != kinds {
		t.Errorf("%d groups, want %d", len(a.groups), kinds)
	}
	for g, x := range a.groups {
		if len(x.cols) != 2 || x.cols[0]+x.cols[1] != cols-1 {
			t.Fatalf("group %d is of the columns %v", g, x.cols)
		}
	}
}

// TestProducts checks the guess for rows that compete for the same columns against the search that makes none, and that it is made.
func TestProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	guessed := 0
	for n := range 60 {
		rows := 4 + r.IntN(20)
		cols := rows + r.IntN(40)
		demand, free := make([]float64, rows), make([]float64, cols)
		for i := range demand {
			demand[i] = float64(1 + r.IntN(8))
		}
		for j := range free {
			free[j] = float64(r.IntN(30)) / 7
		}
		cost := make([]float64, rows*cols)
		for k := range cost {
			cost[k] = -demand[k/cols] * free[k%cols]
			if n%3 == 1 { // not quite a product
				cost[k] -= r.Float64() * 4
			}
			if n%3 == 2 && r.IntN(9) == 0 {
				cost[k] = math.Inf(1)
			}
		}
		got, err := Dense(rows, cols, cost)
		if err != nil {
			t.Fatal(err)
		}
		checkValid(t, rows, cols, cost, got)
		s := newSolver(rows, cols, cost)
		order := s.byStake()
		if contested, _ := s.contested(); contested && newSolver(rows, cols, cost).prime(order) {
			guessed++
		}
		for _, i := range s.reduce(order) {
			s.augment(i)
		}
		want := s.result()
		if got.Served != want.Served || math.Abs(got.Cost-want.Cost) > 1e-9*math.Abs(want.Cost) {
			t.Errorf("%d × %d: %d rows at %v, want %d at %v", rows, cols, got.Served, got.Cost, want.Served, want.Cost)
		}
	}
	if guessed < 10 {
		t.Errorf("only %d of 60 were solved by the guess", guessed)
	}
}
