package assign

import "math"

// prime guesses the optimum where rows want the same columns, and proves it or takes it back. In the order of byStake each row
// takes its cheapest column that is left; backwards, each column then gets the lowest price at which no later row would rather have it. For
// costs that are products of a demand and a free capacity that is the optimum: the largest demand on the largest capacity. The proof is that of
// any assignment: with these prices as dual values every row holds its cheapest column, and free columns cost nothing. It
// returns false, and leaves s as it was, where a cost is +Inf or the guess is wrong, which an exchange of two rows mostly shows at once.
func (s *solver) prime(order []int32) bool {
	cols := s.cols
	taken := make([]bool, cols)
	pick := make([]int32, s.rows)
	scale := 0.0
	for n, i := range order {
		best, at := math.Inf(1), none
		for j, v := range s.line(int(i)) {
			if v < best && !taken[j] {
				best, at = v, int32(j)
			}
		}
		if at == none {
			return false
		}
		pick[i], taken[at] = at, true
		scale = max(scale, math.Abs(best))
		for _, l := range order[max(0, n-8):n] {
			if s.exchange(i, at, l, pick[l]) > 1e-9*scale {
				return false
			}
		}
	}
	price := make([]float64, cols)
	gain := make([]float64, s.rows)  // what a row has of its column, after its price
	column := make([]int32, s.rows)  // in the order of the rows
	least := make([]float64, s.rows) // its price so far
	for k, i := range order {
		column[k] = pick[i]
	}
	for k := len(order) - 1; k >= 0; k-- {
		i, p := order[k], least[k]
		line := s.line(int(i))
		price[column[k]], gain[i] = p, -line[column[k]]-p
		g := gain[i]
		for m, j := range column[:k] { // row by row, as costs lie in memory
			if v := -line[j] - g; v > least[m] {
				least[m] = v
			}
		}
	}
	// The sums above are rounded in their last digits, and so are those of every other way to the duals.
	s.slack = 1e-13 * scale
	for i := range s.rows {
		most := -gain[i] - s.slack
		for j, v := range s.line(i) {
			if v+price[j] < most {
				return false
			}
		}
	}
	for i, j := range pick {
		s.colOf[i], s.rowOf[j] = j, int32(i)
		s.colDual[j], s.rowDual[i] = -price[j], -gain[i]
	}
	return true
}

// exchange returns what two rows would save if each had the other's column.
func (s *solver) exchange(i, j, k, l int32) float64 {
	a, b := s.line(int(i)), s.line(int(k))
	return a[j] + b[l] - a[l] - b[j]
}
