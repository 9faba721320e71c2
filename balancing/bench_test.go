package balancing_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/scoring"
)

// fleet returns servers with random curves of eleven knots.
func fleet(r *rand.Rand, n int) []*scoring.Node {
	nodes := make([]*scoring.Node, n)
	for i := range nodes {
		nodes[i] = randomServer(r, i, float64(16*(1+r.IntN(8))))
	}
	return nodes
}

// spread returns Services with endpoints on random servers, at a load of the fleet's free capacity.
func spread(r *rand.Rand, nodes []*scoring.Node, services, endpoints int, load float64) []balancing.Service {
	free := 0.0
	for _, n := range nodes {
		free += (0.8 - n.State.Utilization) * n.Capacity.Work()
	}
	out := make([]balancing.Service, services)
	for i := range out {
		s := &out[i]
		s.Name, s.CPU, s.Rate = fmt.Sprint("s", i), 0.05, load*free/float64(services)/0.05*2*r.Float64()
		for j, k := range r.Perm(len(nodes))[:endpoints] {
			s.Endpoints = append(s.Endpoints, balancing.Endpoint{ID: fmt.Sprint("e", j), Node: nodes[k]})
		}
	}
	return out
}

func BenchmarkOptimal(b *testing.B) {
	for _, bench := range []struct{ services, endpoints, servers int }{{1, 10, 10}, {1, 100, 100}, {1000, 100, 1000}, {1000, 20, 200}} {
		for _, load := range []float64{0.3, 0.7} {
			b.Run(fmt.Sprintf("services=%d/endpoints=%d/servers=%d/load=%v", bench.services, bench.endpoints, bench.servers, load), func(b *testing.B) {
				r := rand.New(rand.NewPCG(5, 6))
				services := spread(r, fleet(r, bench.servers), bench.services, bench.endpoints, load)
				var w balancing.Optimal
				b.ReportAllocs()
				for b.Loop() {
					if _, err := w.Weigh(b.Context(), services); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
