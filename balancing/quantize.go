package balancing

import (
	"cmp"
	"math"
	"slices"
)

// quantize implements Quantize for portions that sum to 1.
func quantize(p []float64, n int, slots []int) {
	left, positive := n, 0
	order := make([]int, 0, len(p))
	for i, v := range p {
		slots[i] = int(math.Floor(v * float64(n)))
		left -= slots[i]
		if v > 0 {
			positive++
			order = append(order, i)
		}
	}
	rest := func(i int) float64 { return p[i]*float64(n) - float64(slots[i]) }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rest(b), rest(a)) })
	for k := 0; left > 0; k++ {
		slots[order[k%len(order)]]++
		left--
	}
	for k := len(order) - 1; left < 0; k-- { // rounding gave one too many
		if i := order[k]; slots[i] > 0 {
			slots[i]--
			left++
		}
	}
	if positive > n {
		return
	}
	// No share above 0 starves: it takes a slot from the one that has the most.
	for _, i := range order {
		if slots[i] > 0 {
			continue
		}
		most := order[0]
		for _, j := range order {
			if slots[j] > slots[most] {
				most = j
			}
		}
		slots[most]--
		slots[i] = 1
	}
}
