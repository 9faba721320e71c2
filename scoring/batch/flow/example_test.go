package flow_test

import (
	"fmt"

	"github.com/leastwatt/leastwatt/scoring/batch/flow"
)

// Three equal jobs on two servers. Each server's marginal watts rise with its load: convex arcs find the split.
func Example() {
	var p flow.Problem
	jobs := p.AddNode(3)
	idle := p.AddNode(-3)
	old, _, err := p.AddConvex(jobs, idle, []int64{11, 12, 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	recent, _, err := p.AddConvex(jobs, idle, []int64{5, 14, 15})
	if err != nil {
		fmt.Println(err)
		return
	}
	watts, err := p.Solve()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(watts, "watts; the first arcs carry", p.Flow(old), "and", p.Flow(recent))

	// The next solve starts from this one.
	p.SetSupply(jobs, 2)
	p.SetSupply(idle, -2)
	watts, err = p.Solve()
	fmt.Println(watts, "watts", err)
	// Output:
	// 28 watts; the first arcs carry 1 and 1
	// 16 watts <nil>
}
