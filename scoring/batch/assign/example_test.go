package assign_test

import (
	"fmt"
	"math"

	"github.com/leastwatt/leastwatt/scoring/batch/assign"
)

// Three jobs, three servers, one job a server: the watts each job would add. Job 2 does not fit server 0.
func ExampleDense() {
	watts := []float64{
		12, 9, 14,
		10, 8, 15,
		math.Inf(1), 7, 11,
	}
	got, err := assign.Dense(3, 3, watts)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got.Row, got.Cost)
	// Output: [1 0 2] 30
}
