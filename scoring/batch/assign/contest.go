package assign

import "math"

// sampled is how many rows show what the others want.
const sampled = 32

// contested tells, by a sample, whether half of the rows or more want columns that others want too, and whether half of them have more
// than one cheapest column.
func (s *solver) contested() (contested, tied bool) {
	wanted := make([]bool, s.cols)
	firsts, ties, n := 0, 0, min(2*sampled, s.rows)
	for k := range n {
		least, first, tie := math.Inf(1), none, false
		for j, c := range s.line(k * s.rows / n) {
			if c < least {
				least, first, tie = c, int32(j), false
			} else if c == least {
				tie = true
			}
		}
		if tie {
			ties++
		}
		if first >= 0 && !wanted[first] {
			wanted[first] = true
			firsts++
		}
	}
	return firsts <= n/2, ties > n/2
}

// contest solves problems in which many rows want the same columns, as where costs are products of what a job asks for and what a
// server has free, or sums of such products. Where rows are few it guesses. Otherwise it keeps the columns that a sample of rows would take, solves for these alone, and then proves by the
// dual values that no other column is worth having; columns that are come in, and it solves again. It returns false, and
// leaves s as it was, where it does not find a proof.
func (s *solver) contest() bool {
	if s.rows < sampled {
		return s.prime(s.byStake())
	}
	keep := s.sample()
	for range 4 {
		kept := make([]int32, 0, s.cols)
		for j, k := range keep {
			if k {
				kept = append(kept, int32(j))
			}
		}
		if len(kept) < s.rows {
			return false
		}
		n := s.onto(kept)
		if !(n.product() && n.prime(n.byStake())) && !n.auction() {
			return false
		}
		if s.admit(n, kept, keep) == 0 {
			s.takeOver(n, kept)
			return true
		}
	}
	return false
}

// sample marks the columns that some of the rows could need: a row never needs more than its cheapest, as many as there are rows. It
// marks all of them where few would go.
func (s *solver) sample() []bool {
	keep := make([]bool, s.cols)
	few := min(s.cols, s.rows+s.rows/16)
	n := 0
	if 2*few < s.cols {
		work := make([]float64, s.cols)
		rows := min(sampled, s.rows)
		for k := range rows {
			line := s.line(k * s.rows / rows)
			copy(work, line)
			limit := nthLeast(work, few-1)
			for j, c := range line {
				if c <= limit && !keep[j] {
					keep[j] = true
					n++
				}
			}
		}
		if n <= s.cols*3/4 {
			return keep
		}
	}
	for j := range keep {
		keep[j] = true
	}
	return keep
}

// product tells, by a sample, whether costs may be products of one number a row and one a column.
func (s *solver) product() bool {
	n := min(sampled, s.rows, s.cols)
	first := s.line(0)
	for k := 1; k < n; k++ {
		i, j := k*s.rows/n, k*s.cols/n
		line := s.line(i)
		a, b := first[0]*line[j], first[j]*line[0]
		if !(math.Abs(a-b) <= 1e-9*(math.Abs(a)+math.Abs(b))) {
			return false
		}
	}
	return true
}

// admit marks the columns that are worth more to some row than what it has in n, and returns how many these are.
func (s *solver) admit(n *solver, kept []int32, keep []bool) int {
	if len(kept) == s.cols {
		return 0
	}
	dual := make([]float64, s.cols)
	for k, j := range kept {
		dual[j] = n.colDual[k]
	}
	found := 0
	for i := range s.rows {
		line := s.line(i)
		least := n.rowDual[i] - n.slack
		for j, v := range dual[:len(line)] {
			if line[j]-v < least && !keep[j] {
				keep[j] = true
				found++
			}
		}
	}
	return found
}
