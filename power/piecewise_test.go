package power_test

import (
	"fmt"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

func ExamplePiecewise() {
	curve, err := power.EvenPiecewise(50, 80, 100)
	if err != nil {
		panic(err)
	}
	fmt.Println(curve.At(0.25), curve.At(2))
	fmt.Println(curve.EnvelopeFromOff(0).At(0.5))
	// Output:
	// 65.00 W 100.00 W
	// 50.00 W
}

func BenchmarkPiecewise(b *testing.B) {
	c, err := power.EvenPiecewise(50, 80, 90, 100, 110, 120, 130, 140, 160, 180, 200)
	if err != nil {
		b.Fatal(err)
	}
	var p power.Predictor = c
	ctx := b.Context()
	s := power.State{Node: "n"}
	b.ReportAllocs()
	for b.Loop() {
		s.Utilization += 0.0937
		if s.Utilization > 1 {
			s.Utilization--
		}
		if _, err := p.Predict(ctx, s); err != nil {
			b.Fatal(err)
		}
	}
}

// Rise is the difference of At, also from one segment to another.
func TestRiseIsADifference(t *testing.T) {
	c, err := power.EvenPiecewise(0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100)
	if err != nil {
		t.Fatal(err)
	}
	for from := 0.0; from <= 1; from += 0.03 {
		for to := from; to <= 1; to += 0.07 {
			if got, want := c.Rise(from, to), c.At(to)-c.At(from); got < want-1e-9 || got > want+1e-9 {
				t.Errorf("Rise(%v, %v) is %v: want %v", from, to, got, want)
			}
		}
	}
}
