// Package minplus answers how many watts k identical workloads add at least, spread over servers in the best way,
// for any power curves, convex or not.
//
// The least cost of k workloads on several servers is the min-plus convolution of the servers' cost curves (Bellman,
// "Dynamic Programming", 1957: the distribution of effort). Convex curves convolve by merging
// their sorted slopes. Any other curve is cut into its convex pieces: the best number for the server's share then grows with the number of
// workloads (the matrix of all sums is totally monotone: Aggarwal, Klawe, Moran, Shor and Wilber, "Geometric applications of a
// matrix-searching algorithm", Algorithmica 2, 1987), so that halving finds it. A measured power curve has few pieces, whatever the
// number of workloads; where a curve has many, all sums are tried.
package minplus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrCost is wrapped by the error for a cost that is NaN or -Inf; the error names the curve and the place in it.
var ErrCost = errors.New("minplus: cost is not a number")

// Least returns the least total cost of 1 … k workloads: element i is for i+1. added[n][i] is what server n
// costs with i+1 workloads more than with none; a server whose list is shorter takes no more than the list
// has, and +Inf says that so many do not fit. Where the servers together cannot take i+1 workloads,
// element i is +Inf. Inputs are only read.
//
// It takes k·log k steps for each convex piece of a server's curve, and never more than k² a server. [Sum] does the same server by server and can be stopped.
func Least(added [][]float64, k int) ([]float64, error) {
	s, err := NewSum(k)
	if err != nil {
		return nil, err
	}
	for _, curve := range added {
		if err := s.Add(context.Background(), curve); err != nil {
			return nil, err
		}
	}
	return s.Least(), nil
}

// Split returns the same least cost for exactly k workloads and how many each server takes then. Ties
// go to the earlier server. The cost is +Inf and the split nil where k do not fit.
func Split(added [][]float64, k int) (float64, []int, error) {
	if k == 0 {
		return 0, make([]int, len(added)), nil
	}
	s, err := NewSum(k)
	if err != nil {
		return 0, nil, err
	}
	choice := make([][]int32, len(added))
	for n, curve := range added {
		if err := s.check(curve); err != nil {
			return 0, nil, err
		}
		choice[n] = make([]int32, k+1)
		s.convolve(curve[:min(k, len(curve))], choice[n])
		s.servers++
	}
	if math.IsInf(s.total[k], 1) {
		return math.Inf(1), nil, nil
	}
	split := make([]int, len(added))
	left := k
	for n := len(added) - 1; n >= 0; n-- {
		split[n] = int(choice[n][left])
		left -= split[n]
	}
	return s.total[k], split, nil
}

// A Sum adds up servers one by one. It needs memory for a few times k numbers, whatever the number of servers. It is not safe for
// concurrent use.
type Sum struct {
	k, servers  int
	reach       int       // total is +Inf beyond
	total, next []float64 // of 0 … k workloads, over the curves that are not convex
	slopes      []float64 // of all convex curves so far
	f           []float64 // one curve from 0 workloads on
	took        []int32   // of the convolution under way, or nil
}

// NewSum returns a sum of no servers, which answers for 1 … k workloads.
func NewSum(k int) (*Sum, error) {
	if k < 0 {
		return nil, fmt.Errorf("minplus: %d workloads", k)
	}
	s := &Sum{k: k, total: make([]float64, k+1), next: make([]float64, k+1)}
	for i := 1; i <= k; i++ {
		s.total[i] = math.Inf(1)
	}
	return s, nil
}

func (s *Sum) check(curve []float64) error {
	for i, c := range curve {
		if !(c > math.Inf(-1)) {
			return fmt.Errorf("%w: server %d with %d more workloads: %v", ErrCost, s.servers, i+1, c)
		}
	}
	return nil
}

// Add adds a server, whose curve is as [Least] describes it and is only read. It returns ctx's error, and adds nothing, once
// ctx is done.
func (s *Sum) Add(ctx context.Context, curve []float64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.check(curve); err != nil {
		return err
	}
	s.servers++
	curve = curve[:min(s.k, len(curve))]
	if !convex(curve) {
		s.convolve(curve, nil)
		return nil
	}
	before := 0.0
	for _, c := range curve {
		if math.IsInf(c, 1) {
			break
		}
		s.slopes = append(s.slopes, c-before)
		before = c
	}
	if len(s.slopes) > 4*s.k {
		slices.Sort(s.slopes)
		s.slopes = s.slopes[:s.k]
	}
	return nil
}

// Least returns the least total cost of 1 … k workloads on the servers so far; element i is for i+1.
func (s *Sum) Least() []float64 {
	if len(s.slopes) > 0 {
		slices.Sort(s.slopes)
		curve := make([]float64, min(s.k, len(s.slopes)))
		sum := 0.0
		for i := range curve {
			sum += s.slopes[i]
			curve[i] = sum
		}
		s.slopes = s.slopes[:0]
		s.convolve(curve, nil)
	}
	return slices.Clone(s.total[1:])
}

// convex reports whether each further workload costs no less than the one before, but for rounding.
func convex(curve []float64) bool {
	before, step, slack := 0.0, math.Inf(-1), rounding(curve)
	for i, c := range curve {
		if math.IsInf(c, 1) {
			return !slices.ContainsFunc(curve[i:], func(c float64) bool { return !math.IsInf(c, 1) })
		}
		if c-before < step-slack {
			return false
		}
		before, step = c, c-before
	}
	return true
}

// rounding is how far the steps of a straight line may differ: a curve of watts is a difference of two numbers that are larger than itself.
func rounding(curve []float64) float64 {
	most := 0.0
	for _, c := range curve {
		if a := math.Abs(c); a > most && a <= math.MaxFloat64 {
			most = a
		}
	}
	return 1e-12 * most
}
