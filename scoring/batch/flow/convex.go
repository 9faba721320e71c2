package flow

import "fmt"

// AddConvex adds one arc for each unit of flow from one node to another, at the given costs: the first unit at costs[0],
// the second at costs[1], and so on. The costs must not fall, or the later unit would be used first; then
// it returns an error and adds nothing. The marginal watts of the k-th job on a server are such a list
// where its power curve is convex (its convex envelope always is). Runs of equal costs share an
// arc. It returns the number of the first arc and how many were added.
func (p *Problem) AddConvex(from, to int, costs []int64) (first, n int, err error) {
	for k := 1; k < len(costs); k++ {
		if costs[k] < costs[k-1] {
			return 0, 0, fmt.Errorf("flow: arcs %d -> %d: unit %d costs %d, less than the %d of the one before: not convex",
				from, to, k, costs[k], costs[k-1])
		}
	}
	first = len(p.arcs)
	for k := 0; k < len(costs); {
		end := k + 1
		for end < len(costs) && costs[end] == costs[k] {
			end++
		}
		if _, err := p.AddArc(from, to, int64(end-k), costs[k]); err != nil {
			return 0, 0, err
		}
		n++
		k = end
	}
	return first, n, nil
}
