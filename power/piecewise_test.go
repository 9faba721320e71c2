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
