package flow

import (
	"fmt"
	"math"
)

// run pivots until no arc outside the tree has a reduced cost that would pay.
func (b *basis) run() (pivots int, err error) {
	// Pivots are finite in theory; the limit turns a defect into an error instead of a hang.
	limit := 1000 + 200*(b.n+b.m)
	block := max(10, int(math.Sqrt(float64(b.m))))
	for {
		e := b.entering(block)
		if e < 0 {
			return pivots, b.infeasible()
		}
		if pivots++; pivots > limit {
			return pivots, fmt.Errorf("flow: no optimum after %d pivots on %d nodes and %d arcs", pivots, b.n, b.m)
		}
		if err := b.pivot(e); err != nil {
			return pivots, err
		}
	}
}

// entering searches block by block for the arc that violates optimality most in its block. Artificial
// arcs never return once they have left.
func (b *basis) entering(block int) int32 {
	if b.m == 0 {
		return -1
	}
	best, least := int32(-1), int64(0)
	a, left := b.search, block
	for range b.m {
		if a >= b.m {
			a = 0
		}
		if s := b.state[a]; s != inTree {
			if c := int64(s) * (b.cost[a] + b.price[b.from[a]] - b.price[b.to[a]]); c < least && (b.limit[a] > 0) {
				best, least = int32(a), c
			}
		}
		a++
		if left--; left == 0 {
			if best >= 0 {
				break
			}
			left = block
		}
	}
	b.search = a
	return best
}

// pivot sends as much as fits around the cycle that arc e closes, and swaps e for the arc that fills first.
func (b *basis) pivot(e int32) error {
	first, second := b.from[e], b.to[e] // flow goes first -> second along e, and back through the tree
	if b.state[e] == atUpper {
		first, second = second, first
	}
	if first == second { // a loop
		return b.loop(e)
	}
	u, v := first, second
	for u != v {
		if b.depth[u] >= b.depth[v] {
			u = b.parent[u]
		} else {
			v = b.parent[v]
		}
	}
	join := u
	// Of the arcs that fill first, the last one met when the cycle is walked from the join along the flow leaves: this keeps the
	// tree strongly feasible (Cunningham).
	delta := b.limit[e]
	leave, onFirst := int32(-1), false
	for u := first; u != join; u = b.parent[u] { // flow runs join -> first: down
		if r := b.room(b.up[u], b.to[b.up[u]] == u); r < delta {
			delta, leave, onFirst = r, u, true
		}
	}
	for v := second; v != join; v = b.parent[v] { // flow runs second -> join: up
		if r := b.room(b.up[v], b.from[b.up[v]] == v); r <= delta {
			delta, leave, onFirst = r, v, false
		}
	}
	if delta > math.MaxInt64/2 { // finite capacities sum to less
		return fmt.Errorf("%w: it uses arc %d (%d -> %d)", ErrUnbounded, e, b.from[e], b.to[e])
	}
	if delta > 0 {
		b.push(e, b.from[e] == first, delta)
		for u := first; u != join; u = b.parent[u] {
			b.push(b.up[u], b.to[b.up[u]] == u, delta)
		}
		for v := second; v != join; v = b.parent[v] {
			b.push(b.up[v], b.from[b.up[v]] == v, delta)
		}
	}
	if leave < 0 { // e itself fills: it moves to its other bound
		b.state[e] = -b.state[e]
		return nil
	}
	out := b.up[leave]
	b.state[out] = atLower
	if b.flow[out] != 0 {
		b.state[out] = atUpper
	}
	b.state[e] = inTree
	// The part below leave hangs from e now: turn the path from e's end in that part up to leave.
	inside, outside := second, first
	if onFirst {
		inside, outside = first, second
	}
	w, above, by := inside, outside, e
	for {
		up, arc := b.parent[w], b.up[w]
		b.cut(w)
		b.hang(w, above, by)
		if w == leave {
			break
		}
		w, above, by = up, w, arc
	}
	b.refresh(inside)
	return nil
}

func (b *basis) push(a int32, forward bool, delta int64) {
	if forward {
		b.flow[a] += delta
	} else {
		b.flow[a] -= delta
	}
}

// loop fills or empties an arc from a node to itself, which is a cycle alone.
func (b *basis) loop(e int32) error {
	if b.state[e] == atLower {
		if b.limit[e] == Infinite {
			return fmt.Errorf("%w: arc %d is a loop at node %d", ErrUnbounded, e, b.from[e])
		}
		b.flow[e] = b.limit[e]
	} else {
		b.flow[e] = 0
	}
	b.state[e] = -b.state[e]
	return nil
}
