package flow

import "fmt"

// Where an arc stands: in the tree, or at one of its bounds.
const (
	atUpper int8 = -1
	inTree  int8 = 0
	atLower int8 = 1
)

// basis is a spanning tree of the network with a root beside it. Arc m+v is the artificial arc between
// node v and the root: upwards (v to root) or downwards, at a cost no real path reaches.
//
// The tree is strongly feasible: from every node some flow can still be sent to the root along the
// tree. So no pivot of zero length can repeat.
type basis struct {
	n, m    int // nodes without the root, arcs without the artificial ones
	root    int32
	from    []int32
	to      []int32
	limit   []int64
	cost    []int64
	flow    []int64
	state   []int8
	big     int64
	price   []int64
	parent  []int32
	up      []int32 // arc to the parent
	depth   []int32
	child   []int32 // first child
	next    []int32 // siblings
	prev    []int32
	search  int // where the next block begins
	pending []int32
}

func newBasis(p *Problem, big int64) *basis {
	n, m := len(p.supply), len(p.arcs)
	b := &basis{n: n, m: m, root: int32(n),
		from: make([]int32, m+n), to: make([]int32, m+n),
		limit: make([]int64, m+n), cost: make([]int64, m+n), flow: make([]int64, m+n), state: make([]int8, m+n),
		price: make([]int64, n+1), parent: make([]int32, n+1), up: make([]int32, n+1), depth: make([]int32, n+1),
		child: make([]int32, n+1), next: make([]int32, n+1), prev: make([]int32, n+1)}
	for i, a := range p.arcs {
		b.from[i], b.to[i], b.state[i] = a.from, a.to, atLower
	}
	b.costs(p, big)
	b.parent[n], b.up[n], b.child[n], b.next[n], b.prev[n] = -1, -1, -1, -1, -1
	for v := range n {
		b.child[v] = -1
		b.state[m+v] = inTree
		b.aim(v, p.supply[v])
		b.hang(int32(v), b.root, int32(m+v))
	}
	b.reprice()
	return b
}

// costs takes over costs and capacities from the problem.
func (b *basis) costs(p *Problem, big int64) {
	b.big = big
	for i, a := range p.arcs {
		b.cost[i], b.limit[i] = a.cost, a.capacity
	}
	for v := range b.n {
		b.cost[b.m+v], b.limit[b.m+v] = big, Infinite
	}
}

// aim lets the artificial arc of v carry x to the root.
func (b *basis) aim(v int, x int64) {
	a := b.m + v
	if x >= 0 {
		b.from[a], b.to[a], b.flow[a] = int32(v), b.root, x
	} else {
		b.from[a], b.to[a], b.flow[a] = b.root, int32(v), -x
	}
}

// hang makes v a child of u by arc a.
func (b *basis) hang(v, u, a int32) {
	b.parent[v], b.up[v] = u, a
	b.prev[v], b.next[v] = -1, b.child[u]
	if c := b.child[u]; c >= 0 {
		b.prev[c] = v
	}
	b.child[u] = v
}

// cut takes v from its parent's children.
func (b *basis) cut(v int32) {
	if q := b.prev[v]; q >= 0 {
		b.next[q] = b.next[v]
	} else {
		b.child[b.parent[v]] = b.next[v]
	}
	if q := b.next[v]; q >= 0 {
		b.prev[q] = b.prev[v]
	}
}

// reprice computes depths and prices of the whole tree from the costs of its arcs.
func (b *basis) reprice() {
	b.price[b.root], b.depth[b.root] = 0, 0
	for c := b.child[b.root]; c >= 0; c = b.next[c] {
		b.refresh(c)
	}
}

// refresh recomputes depth and price below and including v from v's parent.
func (b *basis) refresh(v int32) {
	b.pending = append(b.pending[:0], v)
	for len(b.pending) > 0 {
		v := b.pending[len(b.pending)-1]
		b.pending = b.pending[:len(b.pending)-1]
		u, a := b.parent[v], b.up[v]
		b.depth[v] = b.depth[u] + 1
		if b.from[a] == v {
			b.price[v] = b.price[u] - b.cost[a]
		} else {
			b.price[v] = b.price[u] + b.cost[a]
		}
		for c := b.child[v]; c >= 0; c = b.next[c] {
			b.pending = append(b.pending, c)
		}
	}
}

// repair makes the tree strongly feasible for changed supplies and capacities. Arcs outside the tree stay
// at their bounds; what a tree arc cannot carry leaves its subtree by the artificial arc of the subtree's top.
func (b *basis) repair(p *Problem) {
	balance := make([]int64, b.n+1)
	copy(balance, p.supply)
	for a := range b.m {
		if b.state[a] == inTree {
			continue
		}
		b.flow[a] = 0
		if b.state[a] == atUpper {
			if b.limit[a] == Infinite {
				b.state[a] = atLower
				continue
			}
			b.flow[a] = b.limit[a]
			balance[b.from[a]] -= b.flow[a]
			balance[b.to[a]] += b.flow[a]
		}
	}
	order := make([]int32, 0, b.n)
	for c := b.child[b.root]; c >= 0; c = b.next[c] {
		order = append(order, c)
	}
	for k := 0; k < len(order); k++ {
		for c := b.child[order[k]]; c >= 0; c = b.next[c] {
			order = append(order, c)
		}
	}
	for k := len(order) - 1; k >= 0; k-- {
		v := order[k]
		a, u := b.up[v], b.parent[v]
		need := balance[v] // must leave v towards its parent
		if int(a) == b.m+int(v) {
			b.aim(int(v), need)
			continue
		}
		carry := need
		upward := b.from[a] == v
		if !upward {
			carry = -need
		}
		carry = min(max(carry, 0), b.limit[a])
		// Strong feasibility: an upward arc has room left, a downward one has flow.
		stays := carry < b.limit[a] && upward || carry > 0 && !upward
		moved := carry
		if !upward {
			moved = -carry
		}
		balance[u] += moved
		b.flow[a] = carry
		if stays && need == moved {
			continue
		}
		b.state[a] = atLower
		if carry > 0 {
			b.state[a] = atUpper
		}
		// Here carry is at a bound: a need between the bounds stays.
		b.cut(v)
		b.state[b.m+int(v)] = inTree
		b.aim(int(v), need-moved)
		b.hang(v, b.root, int32(b.m)+v)
	}
}

// infeasible names a node whose supply or demand the artificial arcs still carry.
func (b *basis) infeasible() error {
	for v := range b.n {
		if a := b.m + v; b.flow[a] != 0 {
			what := "supply"
			if b.from[a] == b.root {
				what = "demand"
			}
			return fmt.Errorf("%w: %d units of %s cannot pass at node %d", ErrInfeasible, b.flow[a], what, v)
		}
	}
	return nil
}

// room is what can still be sent along arc a, forwards or backwards.
func (b *basis) room(a int32, forward bool) int64 {
	if !forward {
		return b.flow[a]
	}
	return b.limit[a] - b.flow[a]
}
