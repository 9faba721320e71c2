// Package assign solves the linear assignment problem: each row (a job) takes at most one column
// (a node), each column serves at most one row, as many rows as possible are served, and the sum of
// the costs is the least among all ways to serve that many.
//
// The method is the shortest augmenting path algorithm of Jonker and Volgenant ("A shortest augmenting
// path algorithm for dense and sparse linear assignment problems", Computing 38, 1987) without its
// column reduction, which is wrong for rectangular matrices (Volgenant, "Linear and semi-assignment
// problems: a core oriented approach", Computers & Operations Research 23, 1996). Rows that cannot all
// be served are handled exactly, by lexicographic costs (rows left out first, then the sum), so that no
// large constant eats the digits of the costs. Where many rows want the same columns, a guess or an auction
// comes first, whose prices must prove its result; the search decides where they do not.
package assign

import (
	"errors"
	"fmt"
	"math"
)

// None stands in Result.Row for a row that has no column.
const None = -1

// MaxCost is the largest magnitude of a cost. Beyond it the sum along a path could overflow. Long before, costs
// that differ by more than 1e15 times in size lose the digits of the smaller ones, as any float64 sum does.
const MaxCost = 1e290

// ErrCost is wrapped by the error for a cost that is NaN, -Inf or finite and beyond MaxCost. The error itself
// names the row and the column.
var ErrCost = errors.New("assign: cost out of range")

// Result is an optimal assignment.
type Result struct {
	// Row holds the column of each row, or None.
	Row []int
	// Served is the number of rows with a column.
	Served int
	// Cost is the sum of the costs of the chosen pairs, added in the order of the rows.
	Cost float64
}

// Dense solves the problem for a matrix stored by rows: cost[i*cols+j] is the cost of giving column j to
// row i, in any unit. +Inf forbids the pair. NaN and -Inf are errors that wrap ErrCost. The
// matrix is only read. Equal optima are decided the same way on every run; where all costs are equal, lower row
// and column numbers come first.
//
// The worst case takes rows²·cols steps. The memory beside the matrix is linear in rows + cols where each row
// wants a column of its own, a transposed copy where rows outnumber columns, and up to two copies of the columns
// that rows contest.
func Dense(rows, cols int, cost []float64) (Result, error) {
	if rows < 0 || cols < 0 {
		return Result{}, fmt.Errorf("assign: %d rows and %d columns: neither may be negative", rows, cols)
	}
	if cols != 0 && rows > math.MaxInt/cols || len(cost) != rows*cols {
		return Result{}, fmt.Errorf("assign: %d costs for %d rows of %d columns", len(cost), rows, cols)
	}
	if rows <= cols {
		s := newSolver(rows, cols, cost)
		if err := s.check(false); err != nil {
			return Result{}, err
		}
		s.solve()
		return s.result(), nil
	}
	turned := make([]float64, len(cost))
	const tile = 32 // keeps both matrices' lines in the first-level cache
	for i0 := 0; i0 < rows; i0 += tile {
		for j0 := 0; j0 < cols; j0 += tile {
			for i := i0; i < min(i0+tile, rows); i++ {
				for j := j0; j < min(j0+tile, cols); j++ {
					turned[j*rows+i] = cost[i*cols+j]
				}
			}
		}
	}
	s := newSolver(cols, rows, turned)
	if err := s.check(true); err != nil {
		return Result{}, err
	}
	s.solve()
	r := Result{Row: make([]int, rows)}
	for i := range rows {
		r.Row[i] = None
		if j := s.rowOf[i]; j >= 0 {
			r.Row[i] = int(j)
			r.Served++
			r.Cost += cost[i*cols+int(j)]
		}
	}
	return r, nil
}
