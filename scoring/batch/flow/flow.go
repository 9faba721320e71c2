// Package flow solves the minimum-cost flow problem on whole numbers: given supplies at nodes, and arcs
// with capacities and costs, it sends what is supplied to where it is demanded at the least total cost.
//
// The method is the primal network simplex (Dantzig 1951; Cunningham, "A network simplex method", Mathematical
// Programming 11, 1976: strongly feasible bases, so that it cannot cycle) with the block search pivot rule (Kelly and
// O'Neill, "The minimum cost flow problem and the network simplex method", 1991; measured fastest by Kovács, "Minimum-cost
// flow algorithms: an experimental evaluation", Optimization Methods and Software 30, 2015). A [Problem] keeps its basis:
// after a change of costs, capacities or supplies the next Solve starts from the last optimum.
//
// Costs are whole numbers because optimality is then exact and repeatable. Callers quantise, for example watts
// to microwatts.
package flow

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// Infinite is the capacity of an arc without a limit.
const Infinite = math.MaxInt64

// Errors that Solve wraps. Each message names the node or the arc.
var (
	// ErrUnbalanced says that the supplies do not sum to zero.
	ErrUnbalanced = errors.New("flow: supplies do not sum to zero")
	// ErrInfeasible says that the arcs cannot carry the supplies.
	ErrInfeasible = errors.New("flow: infeasible")
	// ErrUnbounded says that a cycle of negative cost has no capacity limit.
	ErrUnbounded = errors.New("flow: a cycle of negative cost has no limit")
	// ErrOverflow says that costs, supplies or capacities are too large for 64-bit arithmetic.
	ErrOverflow = errors.New("flow: overflow")
)

// Problem is a network that can be solved, changed and solved again. The zero value is an empty network.
// It is not safe for concurrent use.
type Problem struct {
	supply []int64
	arcs   []arc
	basis  *basis // of the last Solve, or nil
	moved  bool   // supplies or capacities changed since then
	grown  bool   // nodes or arcs were added since then
	pivots int
}

type arc struct {
	from, to int32
	capacity int64
	cost     int64
	flow     int64
}

// AddNode adds a node and returns its number. supply is what enters the network there; negative is a demand.
func (p *Problem) AddNode(supply int64) int {
	p.supply = append(p.supply, supply)
	p.grown = true
	return len(p.supply) - 1
}

// AddArc adds an arc and returns its number. The flow along it is between 0 and capacity, each unit
// at cost. It returns an error for an unknown node or a negative capacity. Arcs may be parallel; a
// loop from a node to itself is legal.
func (p *Problem) AddArc(from, to int, capacity, cost int64) (int, error) {
	if from < 0 || from >= len(p.supply) || to < 0 || to >= len(p.supply) {
		return 0, fmt.Errorf("flow: arc %d -> %d: the network has nodes 0 to %d", from, to, len(p.supply)-1)
	}
	if capacity < 0 {
		return 0, fmt.Errorf("flow: arc %d -> %d: capacity %d is negative", from, to, capacity)
	}
	p.arcs = append(p.arcs, arc{from: int32(from), to: int32(to), capacity: capacity, cost: cost})
	p.grown = true
	return len(p.arcs) - 1, nil
}

// SetSupply changes the supply of a node; the next Solve starts warm.
func (p *Problem) SetSupply(node int, supply int64) {
	p.supply[node] = supply
	p.moved = true
}

// SetCost changes the cost of an arc; the next Solve starts warm.
func (p *Problem) SetCost(a int, cost int64) { p.arcs[a].cost = cost }

// SetCapacity changes the capacity of an arc; the next Solve starts warm. A negative capacity counts as 0.
func (p *Problem) SetCapacity(a int, capacity int64) {
	p.arcs[a].capacity = max(0, capacity)
	p.moved = true
}

// Flow returns the flow along an arc in the last solution.
func (p *Problem) Flow(a int) int64 { return p.arcs[a].flow }

// Price returns the dual value of a node in the last solution: what one more unit arriving there would save
// or cost, up to a constant that is common to all nodes of a connected part. For every arc with room
// left, cost + Price(from) - Price(to) >= 0. It is 0 where no solution is known: before the first Solve, and for nodes
// added since the last.
func (p *Problem) Price(node int) int64 {
	if p.basis == nil || node >= p.basis.n {
		return 0
	}
	return p.basis.price[node]
}

// Pivots returns the number of simplex pivots of the last Solve: its work, independent of the machine.
func (p *Problem) Pivots() int { return p.pivots }

// Nodes and Arcs return the size of the network.
func (p *Problem) Nodes() int { return len(p.supply) }

// Arcs returns the number of arcs.
func (p *Problem) Arcs() int { return len(p.arcs) }

// Solve finds a flow of least cost and returns that cost. After an error the flows are not meaningful. Equal
// optima are decided by the order in which arcs were added, the same way on every run from the same
// history of calls.
func (p *Problem) Solve() (int64, error) {
	big, err := p.check()
	if err != nil {
		return 0, err
	}
	b := p.basis
	switch {
	case b == nil || p.grown:
		b = newBasis(p, big)
	default:
		b.costs(p, big)
		if p.moved {
			b.repair(p)
		}
		b.reprice()
	}
	p.basis = nil // kept only after success
	p.pivots, err = b.run()
	if err != nil {
		return 0, err
	}
	var total int64
	for i := range p.arcs {
		a := &p.arcs[i]
		a.flow = b.flow[i]
		term, ok := product(a.flow, a.cost)
		sum := total + term
		if !ok || (sum > total) != (term > 0) && term != 0 {
			return 0, fmt.Errorf("%w: the total cost", ErrOverflow)
		}
		total = sum
	}
	p.basis, p.moved, p.grown = b, false, false
	return total, nil
}

// Reset forgets the last basis, so that the next Solve starts cold.
func (p *Problem) Reset() { p.basis = nil }

// check refuses what cannot be solved and returns the cost of an artificial arc, larger than any path.
func (p *Problem) check() (int64, error) {
	var sum, in int64
	for v, s := range p.supply {
		if s == math.MinInt64 || s > 0 && in > math.MaxInt64/4-s {
			return 0, fmt.Errorf("%w: supply %d of node %d", ErrOverflow, s, v)
		}
		in += max(s, 0)
		if s < 0 && sum < math.MinInt64/2-s {
			return 0, fmt.Errorf("%w: supply %d of node %d", ErrOverflow, s, v)
		}
		sum += s
	}
	if sum != 0 {
		return 0, fmt.Errorf("%w: they sum to %d", ErrUnbalanced, sum)
	}
	var most, room int64
	for i, a := range p.arcs {
		c := a.cost
		if c < 0 {
			c = -c
		}
		if c < 0 || c > math.MaxInt64/8/int64(len(p.supply)+2) {
			return 0, fmt.Errorf("%w: cost %d of arc %d (%d -> %d) is too large for a path through %d nodes",
				ErrOverflow, a.cost, i, a.from, a.to, len(p.supply))
		}
		most = max(most, c)
		if a.capacity == Infinite {
			continue
		}
		if a.capacity > math.MaxInt64/4-room {
			return 0, fmt.Errorf("%w: capacity %d of arc %d (%d -> %d): all capacities together pass 2^61; use Infinite for no limit",
				ErrOverflow, a.capacity, i, a.from, a.to)
		}
		room += a.capacity
	}
	return (most + 1) * int64(len(p.supply)+1), nil
}

// product multiplies and reports whether the result fits.
func product(a, b int64) (int64, bool) {
	neg := (a < 0) != (b < 0)
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	if neg {
		return -int64(lo), true
	}
	return int64(lo), true
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return uint64(-a)
	}
	return uint64(a)
}
