package assign

import (
	"math"
	"slices"
)

// narrow drops the columns that no row needs: some optimum gives each of n rows one of its n cheapest
// columns, since one of those is always left by the other n-1 rows. Columns held by a row stay. It
// returns the kept columns, or nil where too few would go. It is called when many rows want the same
// columns, which is when it removes most.
func (s *solver) narrow() []int32 {
	if s.cols < 2*s.rows {
		return nil
	}
	keep := make([]bool, s.cols)
	n := 0
	for j, i := range s.rowOf {
		if i >= 0 {
			keep[j] = true
			n++
		}
	}
	work := make([]float64, s.cols)
	for i := range s.rows {
		line := s.line(i)
		copy(work, line)
		limit := nthLeast(work, s.rows-1)
		below, equal := 0, 0
		for _, c := range line {
			if c < limit {
				below++
			}
		}
		for j, c := range line {
			if c > limit || math.IsInf(c, 1) {
				continue
			}
			if c == limit {
				if below+equal >= s.rows {
					continue
				}
				equal++
			}
			if !keep[j] {
				keep[j] = true
				n++
			}
		}
	}
	if n > s.cols*3/4 {
		return nil
	}
	kept := make([]int32, 0, n)
	for j, k := range keep {
		if k {
			kept = append(kept, int32(j))
		}
	}
	return kept
}

// onto returns a solver for the kept columns alone that goes on where s stands.
func (s *solver) onto(kept []int32) *solver {
	n := newSolver(s.rows, len(kept), make([]float64, s.rows*len(kept)))
	for i := range s.rows {
		from, to := s.line(i), n.line(i)
		for k, j := range kept {
			to[k] = from[j]
		}
	}
	for k, j := range kept {
		n.colDual[k] = s.colDual[j]
		if i := s.rowOf[j]; i >= 0 {
			n.rowOf[k], n.colOf[i] = i, int32(k)
		}
	}
	copy(n.rowDual, s.rowDual)
	return n
}

// takeOver brings the solution of the narrowed problem back. The columns left out are free at dual 0.
func (s *solver) takeOver(n *solver, kept []int32) {
	for j := range s.rowOf {
		s.rowOf[j], s.colDual[j] = none, 0
	}
	for i, k := range n.colOf {
		s.colOf[i] = none
		if k >= 0 {
			s.colOf[i] = kept[k]
			s.rowOf[kept[k]] = int32(i)
		}
	}
	for k, j := range kept {
		s.colDual[j] = n.colDual[k]
	}
	copy(s.rowDual, n.rowDual)
}

// nthLeast returns the value that a sort would put at place n, and reorders v (Hoare's selection).
func nthLeast(v []float64, n int) float64 {
	lo, hi := 0, len(v)-1
	for hi-lo > 16 {
		mid := lo + (hi-lo)/2
		pivot := max(min(v[lo], v[mid]), min(max(v[lo], v[mid]), v[hi])) // median of three
		i, j := lo, hi
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for v[j] > pivot {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			hi = j
		case n >= i:
			lo = i
		default:
			return v[n]
		}
	}
	slices.Sort(v[lo : hi+1])
	return v[n]
}
