package assign

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// solver holds one problem with no more rows than columns. The dual values rowDual and colDual keep
// cost[i][j] - rowDual[i] - colDual[j] >= 0, with equality on the chosen pairs; colDual is at most 0, and 0 on
// free columns.
//
// A column is spent when some row had to be left out although it could reach it: no further row can
// gain from it except by leaving out another. In lexicographic terms its dual has dropped by one unit
// of "a row left out"; spent records that unit, colDual the rest.
type solver struct {
	rows, cols int
	cost       []float64

	rowDual  []float64
	colDual  []float64
	colOf    []int32 // of each row, or none
	rowOf    []int32 // of each column, or none
	spent    []bool  // per column
	anySpent bool
	slack    float64   // by how much rounding may break the law
	stake    []float64 // what rows have to lose, where check found it

	// One search. dist is the reduced length of the best path to a column, via the row it came from.
	dist   []float64
	via    []int32
	todo   []int32 // columns not yet reached for good, in no order
	done   []int32 // columns reached for good, in order
	rowsIn []rowAt // rows reached, in order, beginning with the free one
}

type rowAt struct {
	row  int32
	dist float64
}

const none = int32(None)

func newSolver(rows, cols int, cost []float64) *solver {
	s := &solver{
		rows: rows, cols: cols, cost: cost,
		rowDual: make([]float64, rows), colDual: make([]float64, cols),
		colOf: make([]int32, rows), rowOf: make([]int32, cols),
		spent: make([]bool, cols),
		dist:  make([]float64, cols), via: make([]int32, cols), todo: make([]int32, cols),
	}
	for i := range s.colOf {
		s.colOf[i] = none
	}
	for j := range s.rowOf {
		s.rowOf[j] = none
	}
	return s
}

// check reports the first cost that is out of range. In a turned matrix rows are the caller's columns. While a row is at hand it finds what that has to lose,
// where solve will ask: large matrices come slowly from memory.
func (s *solver) check(turned bool) error {
	inf := math.Inf(1)
	if contested, tied := s.contested(); !contested || tied {
		s.stake = make([]float64, s.rows)
	}
	for i := range s.rows {
		line := s.line(i)
		fine := tame(line)
		if s.stake != nil {
			s.stake[i] = lost(line)
		}
		if fine {
			continue
		}
		for j, c := range line {
			if !(c >= -MaxCost && (c <= MaxCost || c == inf)) {
				if turned {
					i, j = j, i
				}
				return fmt.Errorf("%w: row %d, column %d: %v (use +Inf to forbid a pair)", ErrCost, i, j, c)
			}
		}
	}
	return nil
}

// tame tells that all costs are finite and in range; of those within a billionth of its end it does not say so. A factor takes larger ones to infinity, and
// infinity, like NaN, times 0 is NaN: four sums at a time show it without a branch.
func tame(line []float64) bool {
	const beyond = math.MaxFloat64 / MaxCost * (1 + 1e-9)
	var a, b, c, d float64
	for len(line) >= 4 {
		a += line[0] * beyond * 0
		b += line[1] * beyond * 0
		c += line[2] * beyond * 0
		d += line[3] * beyond * 0
		line = line[4:]
	}
	for _, v := range line {
		a += v * beyond * 0
	}
	return a+b+c+d == 0
}

func (s *solver) line(i int) []float64 { return s.cost[i*s.cols : (i+1)*s.cols] }

func (s *solver) solve() {
	if s.cols == 0 {
		return
	}
	contested, tied := s.contested()
	if tied && s.rows >= sampled && s.prime(s.byStake()) || contested && s.contest() {
		return
	}
	order := s.byStake()
	rank := make([]int32, s.rows)
	for k, i := range order {
		rank[i] = int32(k)
	}
	free := s.reduce(order)
	slices.SortFunc(free, func(a, b int32) int { return cmp.Compare(rank[a], rank[b]) })
	if len(free) > s.rows/4 {
		if kept := s.narrow(); kept != nil {
			n := s.onto(kept)
			for _, i := range free {
				n.augment(i)
			}
			s.takeOver(n, kept)
			return
		}
	}
	for _, i := range free {
		s.augment(i)
	}
}

// byStake orders the rows by how much they have to lose, largest first: the mean of their costs less the
// least. It changes no result but by ties. Where all rows want the same columns in the same
// order, as with costs that are products of a demand and a free capacity, a row with less at stake then
// settles for the next column at once instead of shifting all the rows before it.
func (s *solver) byStake() []int32 {
	stake := s.stake
	if stake == nil {
		stake = make([]float64, s.rows)
		for i := range stake {
			stake[i] = lost(s.line(i))
		}
	}
	order := make([]int32, s.rows)
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(stake[b], stake[a]) })
	return order
}

// lost is the mean of the costs that are not +Inf less the least: first as if none were, with four sums at a time.
func lost(line []float64) float64 {
	var w, x, y, z float64
	least, rest := math.Inf(1), line
	for len(rest) >= 4 {
		a, b, c, d := rest[0], rest[1], rest[2], rest[3]
		if a < least {
			least = a
		}
		if b < least {
			least = b
		}
		if c < least {
			least = c
		}
		if d < least {
			least = d
		}
		w, x, y, z = w+a, x+b, y+c, z+d
		rest = rest[4:]
	}
	for _, c := range rest {
		least = min(least, c)
		w += c
	}
	sum, n := w+x+y+z, len(line)
	if !(sum <= math.MaxFloat64) {
		sum, n = 0, 0
		for _, c := range line {
			if c <= MaxCost {
				sum += c
				n++
			}
		}
	}
	if n == 0 {
		return 0
	}
	return sum/float64(n) - least
}

// reduce is the augmenting row reduction: each free row takes its cheapest column at the price
// of the second cheapest, and turns out the row that had it, which then does the same. It returns the
// rows still free. The number of steps is bounded, since with real costs prices can creep.
func (s *solver) reduce(queue []int32) []int32 {
	for range 3 {
		var free []int32
		budget := 2 * len(queue)
		for k := 0; k < len(queue); k++ {
			i := queue[k]
			for {
				best, second, j, other := s.twoCheapest(int(i))
				if j == none {
					free = append(free, i) // nothing is allowed: the search will leave it out
					break
				}
				holder := s.rowOf[j]
				if best < second && !math.IsInf(second, 1) {
					s.colDual[j] -= second - best
				} else if holder >= 0 && other >= 0 && best == second {
					j, holder = other, s.rowOf[other]
				}
				if holder >= 0 && math.IsInf(second, 1) {
					// The row's only column is taken. The search decides who keeps it.
					free = append(free, i)
					break
				}
				s.rowDual[i] = second
				if math.IsInf(second, 1) {
					s.rowDual[i] = best
				}
				s.colOf[i], s.rowOf[j] = j, i
				if holder < 0 {
					break
				}
				s.colOf[holder] = none
				budget--
				if best < second && budget > 0 {
					i = holder
					continue
				}
				free = append(free, holder)
				break
			}
		}
		queue = free
	}
	return queue
}

// twoCheapest returns the least and the second least reduced cost of a row and their columns; the lower
// column number wins a tie. second is +Inf where the row has one column, first is none where it has none.
func (s *solver) twoCheapest(i int) (best, second float64, first, other int32) {
	best, second = math.Inf(1), math.Inf(1)
	first, other = none, none
	line := s.line(i)
	dual := s.colDual[:len(line)]
	for j, c := range line {
		if h := c - dual[j]; h < second {
			if h < best {
				second, other = best, first
				best, first = h, int32(j)
			} else {
				second, other = h, int32(j)
			}
		}
	}
	return best, second, first, other
}

func (s *solver) result() Result {
	r := Result{Row: make([]int, s.rows)}
	for i, j := range s.colOf {
		r.Row[i] = int(j)
		if j >= 0 {
			r.Served++
			r.Cost += s.line(i)[j]
		}
	}
	return r
}
