package scoring

import (
	"context"
	"reflect"
	"slices"

	"github.com/leastwatt/leastwatt/power"
)

// A slowCost is a cost that still needs a model to be asked through its interface.
type slowCost struct {
	*Cost
	node  int
	after float64 // utilization with the demand
}

// appendCosts does what every scorer of watts does first: a node that cannot be scored gets its error, one
// with a local curve the value of curve at once; the others are returned.
func appendCosts(costs []Cost, d *Demand, nodes []Node, curve func(n *Node, c *power.Piecewise, after float64) float64) ([]Cost, []slowCost) {
	first := len(costs)
	costs = slices.Grow(costs, len(nodes))[:first+len(nodes)]
	var slow []slowCost
	for i := range nodes {
		n, c := &nodes[i], &costs[first+i]
		after, err := n.after(d)
		// Field by field: while the garbage collector runs, which new memory for every demand makes it do
		// much, a Cost that is written as a whole costs twice as much.
		c.Node, c.Value, c.Unit, c.Tie = n.Name, 0, Watts, tie(n)
		if err != nil || c.Err != nil {
			c.Err = err
		}
		if err != nil {
			continue
		}
		if p, ok := n.Predictor.(*power.Piecewise); ok && len(d.Inputs) == 0 {
			c.Value = curve(n, p, after)
		} else {
			slow = append(slow, slowCost{Cost: c, node: i, after: after})
		}
	}
	return costs, slow
}

// predictAll predicts each node without and with the demand, in one call for each run of nodes that share
// a predictor.
func predictAll(ctx context.Context, slow []slowCost, d *Demand, nodes []Node) (before, after []power.Estimate) {
	n := len(slow)
	if n == 0 {
		return nil, nil
	}
	states, est := make([]power.State, 0, 2*n), make([]power.Estimate, 2*n)
	split := make([]power.Estimate, 2*n)
	for i := 0; i < n; {
		p := nodes[slow[i].node].Predictor
		j := i
		for j < n && same(nodes[slow[j].node].Predictor, p) {
			s := &nodes[slow[j].node]
			states = append(states, s.State, s.add(d, slow[j].after))
			j++
		}
		power.PredictAll(ctx, p, states[2*i:2*j], est[2*i:2*j])
		i = j
	}
	for i := range n {
		split[i], split[n+i] = est[2*i], est[2*i+1]
	}
	return split[:n], split[n:]
}

// same tells whether two predictors are one, without panicking on types that cannot be compared.
func same(a, b power.Predictor) bool {
	t := reflect.TypeOf(a)
	return t == reflect.TypeOf(b) && t.Comparable() && a == b
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
