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

// A column belongs to the endpoint of its own index up to below, in 2^-32, and to another one from there on. Eight bytes,
// so that the columns of a thousand endpoints stay in the nearest cache.
type column struct {
	below, other uint32
}

// NewAlias returns a picker by weights, which need not sum to 1; where all are 0, all are the same.
func NewAlias(weights []float64) (*Alias, error) {
	p, err := portions(weights)
	if err != nil {
		return nil, err
	}
	if len(p) == 0 {
		return &Alias{}, nil
	}
	n := 1 << bits.Len(uint(len(p)-1)) // a power of two: bits choose, no multiplication
	a := &Alias{columns: make([]column, n)}
	small, large := make([]int, 0, n), make([]int, 0, n)
	best := 0
	p = append(p, make([]float64, n-len(p))...) // columns of nobody
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
		a.columns[s] = column{below: uint32(p[s] * (1 << 32)), other: uint32(l)}
		if p[l] -= 1 - p[s]; p[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range large {
		a.columns[i].other = uint32(i)
	}
	for _, i := range small { // all but 1, by rounding
		if i < len(weights) && weights[i] > 0 || p[i] > 0.5 {
			a.columns[i].other = uint32(i)
		} else {
			a.columns[i].other = uint32(best)
		}
	}
	return a, nil
}

// Pick implements [Picker]; the key does not matter.
func (a *Alias) Pick(uint64) int {
	if len(a.columns) == 0 {
		return -1
	}
	return int(draw(a.columns, rand.Uint64()))
}

// draw uses the low half of x for the column and the high half within it. The sign of a difference chooses between the
// two indices: no branch predictor could guess a branch.
func draw(columns []column, x uint64) uint32 {
	at := uint32(x) & uint32(len(columns)-1)
	c := columns[at]
	own := uint32((int64(x>>32) - int64(c.below)) >> 63) // all bits, or none
	return c.other ^ (c.other^at)&own
}
