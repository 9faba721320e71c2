package scoring_test

import (
	"fmt"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// cluster returns n nodes, each with a curve of its own, as a fleet has them.
func cluster(tb testing.TB, n int) []scoring.Node {
	nodes := make([]scoring.Node, n)
	for i := range nodes {
		idle, span := power.Watts(40+i%97), power.Watts(100+i%211)
		w := make([]power.Watts, 11)
		for k := range w {
			x := power.Watts(k) / 10
			w[k] = idle + span*(0.7*x+0.3*x*x)
		}
		c, err := power.EvenPiecewise(w...)
		if err != nil {
			tb.Fatal(err)
		}
		name := fmt.Sprintf("node-%05d", i)
		nodes[i] = scoring.Node{Name: name, Capacity: power.Capacity{Cores: float64(16 + i%5*16)}, Predictor: c,
			State: power.State{Node: name, Utilization: float64(i%89) / 100}}
	}
	return nodes
}

// BenchmarkScore5000 scores one demand on 5,000 servers of different curves: into memory that is used again, as the scheduler plugin
// does for each pod, and into new memory.
func BenchmarkScore5000(b *testing.B) {
	grams := scoring.Objective{Power: scoring.EnvelopePower{}, Unit: scoring.GramsPerHour} // of four places
	for _, s := range []scoring.Scorer{scoring.MarginalPower{}, scoring.EnvelopePower{}, scoring.EnvelopePower{SwitchOff: true}, grams} {
		nodes := cluster(b, 5000)
		if _, ok := s.(scoring.Objective); ok {
			var meters [4]*scoring.Meter
			for i := range meters {
				meters[i] = scoring.NewMeter(fmt.Sprint("zone-", i))
				meters[i].Set(scoring.Tariff{Intensity: float64(100 * (i + 1)), PUE: 1.3})
			}
			for i := range nodes {
				nodes[i].Meter = meters[i*7%len(meters)]
			}
		}
		d := scoring.Demand{CPU: 0.5}
		costs, err := s.Score(b.Context(), d, nodes) // makes the envelopes, as a fleet does in the background
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name(s)+"/memory=used", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scoring.AppendScore(b.Context(), s, costs[:0], d, nodes); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name(s)+"/memory=new", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Score(b.Context(), d, nodes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func name(s scoring.Scorer) string {
	if _, ok := s.(scoring.Objective); ok {
		return fmt.Sprintf("%T", s)
	}
	return fmt.Sprintf("%T%+v", s, s)
}
