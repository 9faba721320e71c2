// Package minplus answers how many watts k identical workloads add at least, spread over servers in the best way,
// for any power curves, convex or not.
//
// The least cost of k workloads on several servers is the min-plus convolution of the servers' cost curves (Bellman,
// "Dynamic Programming", 1957: the distribution of effort). Convex curves convolve by merging
// their sorted slopes; only the others need the quadratic step.
package minplus

import (
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
// It takes servers·k² steps at worst and k·log k a server where the curves are convex.
func Least(added [][]float64, k int) ([]float64, error) {
	least, _, err := solve(added, k, false)
	return least, err
}

// Split returns the same least cost for exactly k workloads and how many each server takes then. Ties
// go to the earlier server. The cost is +Inf and the split nil where k do not fit.
func Split(added [][]float64, k int) (float64, []int, error) {
	if k == 0 {
		return 0, make([]int, len(added)), nil
	}
	least, choice, err := solve(added, k, true)
	if err != nil {
		return 0, nil, err
	}
	if math.IsInf(least[k-1], 1) {
		return math.Inf(1), nil, nil
	}
	split := make([]int, len(added))
	left := k
	for n := len(added) - 1; n >= 0; n-- {
		split[n] = int(choice[n][left])
		left -= split[n]
	}
	return least[k-1], split, nil
}

func solve(added [][]float64, k int, trace bool) (least []float64, choice [][]int32, err error) {
	if k < 0 {
		return nil, nil, fmt.Errorf("minplus: %d workloads", k)
	}
	for n, curve := range added {
		for i, c := range curve {
			if !(c > math.Inf(-1)) {
				return nil, nil, fmt.Errorf("%w: server %d with %d more workloads: %v", ErrCost, n, i+1, c)
			}
		}
	}
	total := make([]float64, k+1)
	for i := 1; i <= k; i++ {
		total[i] = math.Inf(1)
	}
	next := make([]float64, k+1)
	var slopes []float64 // of all convex curves so far
	for _, curve := range added {
		curve = curve[:min(k, len(curve))]
		if !trace && convex(curve) {
			before := 0.0
			for _, c := range curve {
				if math.IsInf(c, 1) {
					break
				}
				slopes = append(slopes, c-before)
				before = c
			}
			if len(slopes) > 4*k {
				slices.Sort(slopes)
				slopes = slopes[:k]
			}
			continue
		}
		var took []int32
		if trace {
			took = make([]int32, k+1)
			choice = append(choice, took)
		}
		convolve(next, total, curve, took)
		total, next = next, total
	}
	if len(slopes) > 0 {
		slices.Sort(slopes)
		curve := make([]float64, min(k, len(slopes)))
		sum := 0.0
		for i := range curve {
			sum += slopes[i]
			curve[i] = sum
		}
		convolve(next, total, curve, nil)
		total = next
	}
	return total[1:], choice, nil
}

// convolve writes to out the least cost when the curve's server takes some of the workloads; took, if not nil,
// receives how many. Among equals the new server takes the fewest.
func convolve(out, total, curve []float64, took []int32) {
	for i := range out {
		best, at := total[i], 0
		for j := 1; j <= min(i, len(curve)); j++ {
			if c := total[i-j] + curve[j-1]; c < best {
				best, at = c, j
			}
		}
		out[i] = best
		if took != nil {
			took[i] = int32(at)
		}
	}
}

// convex reports whether each further workload costs no less than the one before.
func convex(curve []float64) bool {
	before, step := 0.0, math.Inf(-1)
	for i, c := range curve {
		if math.IsInf(c, 1) {
			return !slices.ContainsFunc(curve[i:], func(c float64) bool { return !math.IsInf(c, 1) })
		}
		if c-before < step {
			return false
		}
		before, step = c, c-before
	}
	return true
}
