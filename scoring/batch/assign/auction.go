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
// Where there are many rows, a sixty-fourth of the problem is solved first, roughly and in the same way, and its rows say what they would give for each column. Columns that
// cost every row the same are looked at as one.
//
// It returns false where a cost is +Inf, where costs are of so different sizes that the bit would matter, and where it takes too long.
func (s *solver) auction() bool {
	most, sum := 0.0, 0.0
	for _, c := range s.cost {
		c = math.Abs(c)
		most = max(most, c)
		sum += c
	}
	if most > MaxCost || most == 0 || !(most <= 1e4*(sum/float64(len(s.cost)))) {
		return false
	}
	a := newAuction(s)
	s.slack = 1e-13 * most
	if !a.rounds(most, s.slack/4) {
		return false
	}
	return a.settle()
}

type auction struct {
	s       *solver
	price   []float64
	owner   []int32 // row of each column, or none
	has     []int32 // column of each row, or none
	free    []int32 // rows to bid
	bids    int
	work    []float64
	sorted  []float64
	width   float64   // what limits were above the least
	near    []nearest // of each row
	groups  []group
	groupOf []int32   // of each column
	cost    []float64 // of each row and group
	low     []float64 // the lowest price in each group
}

// A group is columns that cost every row the same: a heap by price.
type group struct{ cols []int32 }

const candidates = 96

// nearest has the groups that were the cheapest for a row at some time, with their costs. All others were at limit or above, and prices only
// rise, so that a row that finds two columns at limit or less need not look further.
type nearest struct {
	limit float64
	n     int32
	group [candidates]int32
	cost  [candidates]float64
}

func newAuction(s *solver) *auction {
	a := &auction{s: s, price: make([]float64, s.cols), owner: make([]int32, s.cols), has: make([]int32, s.rows), near: make([]nearest, s.rows),
		work: make([]float64, s.cols)}
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

// collect finds the groups.
func (a *auction) collect() {
	s := a.s
	hash := make([]uint64, s.cols)
	for i := range s.rows {
		line := s.line(i)
		for j, h := range hash[:len(line)] {
			hash[j] = (h ^ math.Float64bits(line[j])) * 0x9e3779b97f4a7c15
		}
	}
	a.groupOf = make([]int32, s.cols)
	known := make(map[uint64]int32, s.cols)
	var first []int32
	for j, h := range hash {
		g, ok := known[h]
		if !ok {
			g = int32(len(a.groups))
			known[h] = g
			a.groups = append(a.groups, group{})
			first = append(first, int32(j))
		}
		a.groupOf[j] = g
		a.groups[g].cols = append(a.groups[g].cols, int32(j))
	}
	if len(a.groups) < s.cols && !a.alike(first) { // two columns with one hash
		first = first[:0]
		a.groups = make([]group, s.cols)
		for j := range a.groups {
			a.groups[j].cols, a.groupOf[j] = []int32{int32(j)}, int32(j)
			first = append(first, int32(j))
		}
	}
	a.low = make([]float64, len(a.groups))
	a.cost = s.cost
	if len(a.groups) < s.cols {
		a.cost = make([]float64, 0, s.rows*len(a.groups))
		for i := range s.rows {
			line := s.line(i)
			for _, j := range first {
				a.cost = append(a.cost, line[j])
			}
		}
	}
}

// alike tells whether all columns of each group are as its first is.
func (a *auction) alike(first []int32) bool {
	for i := range a.s.rows {
		line := a.s.line(i)
		for j, c := range line {
			if c != line[first[a.groupOf[j]]] {
				return false
			}
		}
	}
	return true
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
	if !b.rounds(most, most/float64(32*small.rows)) {
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

// rounds lowers the bit to last. What costs are at most says how large it is at first.
func (a *auction) rounds(most, last float64) bool {
	bit := most / 4
	if a.s.rows >= 8*sampled && a.guess(most) {
		bit = 2.5 * most / float64(a.s.rows)
	}
	for ; ; bit = max(bit/6, last) {
		if !a.round(bit) {
			return false
		}
		if bit <= last {
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

// best returns the least and the second least price of a row, its own cost included, and the group of the least.
func (a *auction) best(i int32) (best, second float64, at int32) {
	if best, second, at = a.among(&a.near[i]); second > a.near[i].limit {
		a.look(i)
		best, second, at = a.among(&a.near[i])
	}
	return best, second, at
}

func (a *auction) among(n *nearest) (best, second float64, at int32) {
	best, second, at = math.Inf(1), math.Inf(1), none
	where := 0
	for k, g := range n.group[:n.n] {
		if v := n.cost[k] + a.low[g]; v < second {
			if v < best {
				best, second, at, where = v, best, g, k
			} else {
				second = v
			}
		}
	}
	if at >= 0 {
		if c := a.groups[at].cols; len(c) > 1 {
			next := a.price[c[1]]
			if len(c) > 2 {
				next = min(next, a.price[c[2]])
			}
			second = min(second, n.cost[where]+next)
		}
	}
	return best, second, at
}

// look finds a row's nearest groups anew.
func (a *auction) look(i int32) {
	groups := len(a.groups)
	line := a.cost[int(i)*groups : (int(i)+1)*groups]
	value := a.work[:groups]
	least := math.Inf(1)
	for g, p := range a.low[:groups] {
		v := line[g] + p
		value[g] = v
		if v < least {
			least = v
		}
	}
	n := &a.near[i]
	if groups <= candidates/2 {
		n.limit = math.Inf(1)
	} else {
		n.limit = least + a.width
	}
	if n.take(value, line); groups > candidates/2 && n.n < candidates/4 || n.n > candidates {
		a.sorted = append(a.sorted[:0], value...)
		n.limit = nthLeast(a.sorted, min(candidates*3/4, groups-1))
		a.width = n.limit - least // a good guess for the next row
		n.take(value, line)
		for g, v := range value { // as many of the equal ones as there is room for
			if n.n >= candidates*3/4 {
				break
			}
			if v == n.limit {
				n.group[n.n], n.cost[n.n] = int32(g), line[g]
				n.n++
			}
		}
	}
}

// take lists the groups below the limit. More than there is room for are only counted.
func (n *nearest) take(value, line []float64) {
	limit, at := n.limit, int32(0)
	line = line[:len(value)]
	for g, v := range value {
		if v < limit {
			if at < candidates {
				n.group[at], n.cost[at] = int32(g), line[g]
			}
			at++
		}
	}
	n.n = at
}

// sink restores the heap of a group whose first column has become dearer.
func (a *auction) sink(g int32) {
	c := a.groups[g].cols
	for k := 0; ; {
		least := k
		for _, n := range [2]int{2*k + 1, 2*k + 2} {
			if n < len(c) && a.price[c[n]] < a.price[c[least]] {
				least = n
			}
		}
		if least == k {
			break
		}
		c[k], c[least] = c[least], c[k]
		k = least
	}
	a.low[g] = a.price[c[0]]
}

// sort restores all heaps: a sorted list is one.
func (a *auction) sort() {
	for g := range a.groups {
		c := a.groups[g].cols
		if len(c) > 1 {
			slices.SortFunc(c, func(j, k int32) int {
				if p, q := a.price[j], a.price[k]; p != q {
					if p < q {
						return -1
					}
					return 1
				}
				return int(j - k)
			})
		}
		a.low[g] = a.price[c[0]]
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

// settle turns prices into dual values and proves them.
func (a *auction) settle() bool {
	s, base := a.s, a.base()
	dual := make([]float64, s.cols)
	for j, p := range a.price {
		if a.owner[j] >= 0 {
			dual[j] = min(0, base-p)
		}
	}
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
