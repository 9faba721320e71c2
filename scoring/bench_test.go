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
	for _, s := range []scoring.Scorer{scoring.MarginalPower{}, scoring.EnvelopePower{}, scoring.EnvelopePower{SwitchOff: true}} {
		nodes := cluster(b, 5000)
		d := scoring.Demand{CPU: 0.5}
		costs, err := s.Score(b.Context(), d, nodes) // makes the envelopes, as a fleet does in the background
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%T%+v/memory=used", s, s), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scoring.AppendScore(b.Context(), s, costs[:0], d, nodes); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%T%+v/memory=new", s, s), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Score(b.Context(), d, nodes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
