package minplus_test

import (
	"fmt"

	"github.com/leastwatt/leastwatt/scoring/batch/minplus"
)

// Watts that one, two or three workloads add on each of three nodes, and the least they add to the cluster.
func ExampleLeast() {
	watts, err := minplus.Least([][]float64{{11, 14, 14}, {10, 17, 19}, {15, 26, 31}}, 3)
	fmt.Println(watts, err)
	// Output: [10 14 14] <nil>
}
