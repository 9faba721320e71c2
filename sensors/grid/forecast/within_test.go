package forecast

import (
	"math/rand/v2"
	"testing"
)

// Whether an error lies within the interval is counted, and is what the interval's ends say.
func TestWithinTheInterval(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var ring errorRing
		for range r.IntN(2 * keepErrs) {
			ring.add(0, float64(r.IntN(200))/100-1) // some are equal
		}
		ring.wider[0] = 0.2 * (r.Float64() - 0.5)
		share := 0.5 + 0.49*r.Float64()
		first, last, ok := ring.ranks(0, share)
		if low, high := ring.interval(0, share); ok != (low <= high) {
			t.Fatalf("of %d errors the interval is %v to %v, and the ranks say %v", len(ring.errs[0]), low, high, ok)
		} else if ok {
			for e := -110; e <= 110; e++ {
				if e := float64(e) / 100; ring.within(0, first, last, e) != (low <= e && e <= high) {
					t.Fatalf("%v is counted wrongly among %v to %v", e, low, high)
				}
			}
		}
	}
}
