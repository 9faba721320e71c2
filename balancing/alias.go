package balancing

import (
	"math/bits"
	"math/rand/v2"
)

// Alias picks at random by weight in constant time: one random number chooses a column, and the column's
// threshold between two endpoints (Walker 1977; tables as in Vose, IEEE TSE 17, 1991).
type Alias struct {
	columns []column
}

type column struct {
	below uint64   // of 2^64: how much of the column is its own
	of    [2]int32 // the other's and its own index, in this order
}

// NewAlias returns a picker by weights, which need not sum to 1; where all are 0, all are the same.
func NewAlias(weights []float64) (*Alias, error) {
	p, err := portions(weights)
	if err != nil {
		return nil, err
	}
	n := len(p)
	a := &Alias{columns: make([]column, n)}
	small, large := make([]int, 0, n), make([]int, 0, n)
	best := 0
	for i := range p {
		if p[i] > p[best] {
			best = i
		}
		if p[i] *= float64(n); p[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.columns[s] = column{below: uint64(p[s] * (1 << 63) * 2), of: [2]int32{int32(l), int32(s)}}
		if p[l] -= 1 - p[s]; p[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range large {
		a.columns[i] = column{of: [2]int32{int32(i), int32(i)}}
	}
	for _, i := range small { // all but 1, by rounding
		if weights[i] > 0 || p[i] > 0.5 {
			a.columns[i] = column{of: [2]int32{int32(i), int32(i)}}
		} else {
			a.columns[i] = column{of: [2]int32{int32(best), int32(i)}}
		}
	}
	return a, nil
}

// Pick implements [Picker]; the key does not matter.
func (a *Alias) Pick(uint64) int {
	if len(a.columns) == 0 {
		return -1
	}
	return pick(a.columns, rand.Uint64())
}

// pick uses the high part of x·n for the column and the low part within it. The borrow of a subtraction chooses
// between the two indices: no branch predictor could guess a branch.
func pick(columns []column, x uint64) int {
	at, within := bits.Mul64(x, uint64(len(columns)))
	c := &columns[at]
	_, own := bits.Sub64(within, c.below, 0)
	return int(c.of[own&1])
}
