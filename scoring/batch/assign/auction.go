package assign

import (
	"math"
	"slices"
)

// auction is the auction algorithm with scaling (Bertsekas, "The auction algorithm: a distributed relaxation method for the assignment
// problem", Annals of Operations Research 14, 1988; Bertsekas and Castañon, "A forward/reverse auction algorithm for asymmetric assignment
// problems", Computational Optimization and Applications 1, 1993): free rows bid for their best column what it is worth to them more than
// the second best, and a bit. The bit is large first and in the end too small to matter, within the rounding of the sums that any
// other way to the dual values has. The columns that no row gets are held by nobody's rows, all alike, who bid for the cheapest, so that
// all have one price, from which the others are counted.
//
// Where there are many rows, a sixty-fourth of the problem is solved first, roughly and in the same way, and its rows say what they would
// give for each column. Columns that cost every row the same are looked at as one.
//
// After some rounds finish looks whether what rows have can be proved already, which it mostly can be long before.
//
// It returns false where a cost is +Inf, where costs are of so different sizes that the bit would matter, and where it takes too long.
func (s *solver) auction() bool {
	most, sum := 0.0, 0.0
	for i := range s.rows {
		m, x := sizes(s.line(i))
		most, sum = max(most, m), sum+x
	}
	if most > MaxCost || most == 0 || !(most <= 1e4*(sum/float64(len(s.cost)))) {
		return false
	}
	a := newAuction(s)
	s.slack = 1e-13 * most
	return a.rounds(most, s.slack/4, true) && (a.proved || a.settle(a.duals()))
}

// sizes returns the largest size of a line's costs and the sum of all, which four sums at a time make quickly.
func sizes(line []float64) (most, sum float64) {
	var m, n, w, x, y, z float64
	for len(line) >= 4 {
		a, b, c, d := math.Abs(line[0]), math.Abs(line[1]), math.Abs(line[2]), math.Abs(line[3])
		if a > m {
			m = a
		}
		if b > n {
			n = b
		}
		if c > m {
			m = c
		}
		if d > n {
			n = d
		}
		w, x, y, z = w+a, x+b, y+c, z+d
		line = line[4:]
	}
	for _, c := range line {
		c = math.Abs(c)
		m, w = max(m, c), w+c
	}
	return max(m, n), w + x + y + z
}

type auction struct {
	s       *solver
	price   []float64
	owner   []int32 // row of each column, or none
	has     []int32 // column of each row, or none
	free    []int32 // rows to bid
	bids    int
	proved  bool
	work    []float64
	list    []int32
	few     []int32
	sorted  []float64
	width   float64   // what limits were above the least
	near    []nearest // of each row
	groups  []group
	groupOf []int32   // of each column
	cost    []float64 // of each row and group
	low     []float64 // the lowest price in each group
}

func newAuction(s *solver) *auction {
	a := &auction{s: s, price: make([]float64, s.cols), owner: make([]int32, s.cols), has: make([]int32, s.rows), near: make([]nearest, s.rows),
		work: make([]float64, s.cols), list: make([]int32, s.cols)}
	for j := range a.owner {
		a.owner[j] = none
	}
	for i := range a.has {
		a.has[i] = none
		a.near[i].limit = math.Inf(-1)
	}
	a.collect()
	return a
}

// guess takes first prices from a smaller problem, an eighth of the rows and of the columns.
func (a *auction) guess(most float64) bool {
	const part = 8
	s := a.s
	small := newSolver(s.rows/part, s.cols/part, make([]float64, s.rows/part*(s.cols/part)))
	for i := range small.rows {
		to, from := small.line(i), s.line(i*part)
		for j := range to {
			to[j] = from[j*part]
		}
	}
	b := newAuction(small)
	if !b.rounds(most, most/float64(32*small.rows), false) {
		return false
	}
	base := b.base()
	for i := range small.rows {
		j := b.has[i]
		worth := small.line(i)[j] + max(0, b.price[j]-base)
		line := s.line(i * part)
		for j, p := range a.price[:len(line)] {
			if v := worth - line[j]; v > p {
				a.price[j] = v
			}
		}
	}
	a.sort()
	return true
}

// rounds lowers the bit to last, or until what rows have is proved to be the optimum, if that is asked for. What costs are at most says how large
// the bit is at first.
func (a *auction) rounds(most, last float64, prove bool) bool {
	bit := most / 4
	if a.s.rows >= 8*sampled && a.guess(most) {
		bit = 2.5 * most / float64(a.s.rows)
	}
	for n := 0; ; bit = max(bit/6, last) {
		if !a.round(bit) {
			return false
		}
		if bit <= last {
			return true
		}
		if n++; prove && n > 1 && a.finish(bit) {
			a.proved = true
			return true
		}
	}
}

// round lets rows bid until each has a column that is its best but for a bit, and nobody's columns are the cheapest but for a bit.
func (a *auction) round(bit float64) bool {
	a.free = a.free[:0]
	for i := range a.s.rows {
		j := a.has[i]
		if j >= 0 {
			if best, _, _ := a.best(int32(i)); a.s.cost[i*a.s.cols+int(j)]+a.price[j] <= best+bit {
				continue
			}
			a.owner[j], a.has[i] = none, none
		}
		a.free = append(a.free, int32(i))
	}
	for {
		for len(a.free) > 0 {
			if a.bids++; a.bids > 1000*a.s.rows {
				return false
			}
			i := a.free[len(a.free)-1]
			a.free = a.free[:len(a.free)-1]
			best, second, g := a.best(i)
			if math.IsInf(second, 1) { // the only column
				second = best
			}
			j := a.groups[g].cols[0]
			a.price[j] += second - best + bit
			a.sink(g)
			if o := a.owner[j]; o >= 0 {
				a.has[o] = none
				a.free = append(a.free, o)
			}
			a.owner[j], a.has[i] = i, j
		}
		if a.bids++; !a.clear(bit) {
			return true
		}
	}
}

// clear gives nobody's rows the cheapest columns, at the price of the next, and tells whether a row lost its column by that.
func (a *auction) clear(bit float64) bool {
	spare := a.s.cols - a.s.rows
	if spare == 0 {
		return false
	}
	held, left := math.Inf(1), math.Inf(-1)
	for j, p := range a.price {
		if a.owner[j] >= 0 {
			held = min(held, p)
		} else {
			left = max(left, p)
		}
	}
	if left <= held+bit {
		return false
	}
	copy(a.work, a.price)
	next := nthLeast(a.work, spare) // the cheapest that nobody's rows need not have
	for j, p := range a.price {
		if p < next || p == next && a.owner[j] < 0 {
			spare--
		}
	}
	lost := false
	for j, p := range a.price {
		o := a.owner[j]
		if p > next || p == next && (o < 0 || spare <= 0) {
			continue
		}
		if p == next {
			spare--
		}
		a.price[j] = next
		if o >= 0 {
			a.owner[j], a.has[o] = none, none
			a.free = append(a.free, o)
			lost = true
		}
	}
	a.sort()
	return lost
}

// base is the price of the columns that no row has, or the least of all where there are none.
func (a *auction) base() float64 {
	if a.s.cols == a.s.rows {
		return slices.Min(a.price)
	}
	base := math.Inf(-1)
	for j, p := range a.price {
		if a.owner[j] < 0 {
			base = max(base, p)
		}
	}
	return base
}

// duals turns prices into dual values of the columns.
func (a *auction) duals() []float64 {
	base := a.base()
	dual := make([]float64, a.s.cols)
	for j, p := range a.price {
		if a.owner[j] >= 0 {
			dual[j] = min(0, base-p)
		}
	}
	return dual
}

// settle proves that what rows have is the optimum, by the dual values of the columns, and takes it over.
func (a *auction) settle(dual []float64) bool {
	s := a.s
	for i, j := range a.has {
		u := s.cost[i*s.cols+int(j)] - dual[j]
		line := s.line(i)
		least := u - s.slack
		for k, v := range dual[:len(line)] {
			if line[k]-v < least {
				return false
			}
		}
		s.rowDual[i], s.colOf[i] = u, j
	}
	copy(s.colDual, dual)
	copy(s.rowOf, a.owner)
	return true
}
