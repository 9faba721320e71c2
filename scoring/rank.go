package scoring

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

// Compare orders two costs, better first: known values ascending (then Tie, then name), then nodes that are
// known to be over capacity, then nodes of which too little is known. A value that is not a number counts
// as unknown. Two costs of different units are ordered by unit, so that no sum of apples decides.
func Compare(a, b Cost) int {
	ca, cb := a.class(), b.class()
	if c := cmp.Compare(ca, cb); c != 0 {
		return c
	}
	if ca == classKnown {
		if c := cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Tie, b.Tie)); c != 0 {
			return c
		}
	}
	return cmp.Compare(a.Node, b.Node)
}

// Known tells whether the cost has a value that may be compared.
func (c Cost) Known() bool { return c.class() == classKnown }

const (
	classKnown = iota
	classOver
	classUnknown
)

func (c Cost) class() int {
	switch {
	case c.Err == nil && !math.IsNaN(c.Value) && !math.IsInf(c.Value, 0):
		return classKnown
	case errors.Is(c.Err, ErrOverCapacity):
		return classOver
	}
	return classUnknown
}

// Rank returns the indices of costs, best first, in the order of [Compare].
func Rank(costs []Cost) []int {
	order := make([]int, len(costs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return Compare(costs[i], costs[j]) })
	return order
}

// Best returns the index of the best known cost, or -1 if none is known: the choice is then somebody
// else's.
func Best(costs []Cost) int {
	best := -1
	for i := range costs {
		if costs[i].Known() && (best < 0 || Compare(costs[i], costs[best]) < 0) {
			best = i
		}
	}
	return best
}
