package minplus_test

import (
	"context"
	"fmt"

	"github.com/leastwatt/leastwatt/scoring/batch/minplus"
)

// Watts that one, two or three workloads add on each of three nodes, and the least they add to the cluster.
func ExampleLeast() {
	watts, err := minplus.Least([][]float64{{11, 14, 14}, {10, 17, 19}, {15, 26, 31}}, 3)
	fmt.Println(watts, err)
	// Output: [10 14 14] <nil>
}

// The same server by server, as many as there are, without keeping their curves.
func ExampleSum() {
	s, err := minplus.NewSum(3)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, watts := range [][]float64{{11, 14, 14}, {10, 17, 19}} {
		if err := s.Add(context.Background(), watts); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(s.Least())
	}
	// Output:
	// [11 14 14]
	// [10 14 14]
}
