package balancing_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/balancingtest"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// Where knots, backgrounds, capacities and demands are all multiples of one grain, so is an optimum: within
// each cell of linear pieces the loads form an integral polymatroid. Brute force over the grid is then exact.

// randomServer has a curve of eleven random knots, monotone and far from convex, and a background on the grid
// of a hundredth of its capacity.
func randomServer(r *rand.Rand, id int, cores float64) *scoring.Node {
	w := make([]power.Watts, 11)
	w[0] = power.Watts(20 + 200*r.Float64())
	for i := 1; i < len(w); i++ {
		w[i] = w[i-1] + power.Watts(math.Pow(r.Float64(), 3)*100)
	}
	c, err := power.EvenPiecewise(w...)
	if err != nil {
		panic(err)
	}
	return &scoring.Node{Name: fmt.Sprint("n", id), Capacity: power.Capacity{Cores: cores},
		State: power.State{Utilization: float64(r.IntN(5)) / 10}, Predictor: c}
}

// background returns a node's load, its limit and its cost at k grains above the load.
func grid(n *scoring.Node, grain, limit float64) (steps int, cost func(k int) float64) {
	work := n.Capacity.Work()
	base := n.State.Utilization * work
	return int(math.Floor((limit*work-base)/grain + 1e-9)), func(k int) float64 {
		return float64(n.Predictor.(*power.Piecewise).At((base + float64(k)*grain) / work))
	}
}

// leastAlone is the least cost of d grains over the nodes, by dynamic programming.
func leastAlone(nodes []*scoring.Node, d int, grain, limit float64) float64 {
	best := make([]float64, d+1)
	for i := 1; i <= d; i++ {
		best[i] = math.Inf(1)
	}
	for _, n := range nodes {
		steps, cost := grid(n, grain, limit)
		next := make([]float64, d+1)
		for i := range next {
			next[i] = math.Inf(1)
			for k := 0; k <= min(i, steps); k++ {
				next[i] = min(next[i], best[i-k]+cost(k))
			}
		}
		best = next
	}
	return best[d]
}

func TestOptimalAloneIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	worst := 0.0
	for round := range 400 {
		n := 1 + r.IntN(12)
		nodes := make([]*scoring.Node, n)
		s := balancing.Service{Name: "s", CPU: 1}
		room := 0
		for i := range nodes {
			nodes[i] = randomServer(r, i, float64(10*(1+r.IntN(4))))
			steps, _ := grid(nodes[i], 0.5, 0.8)
			room += steps
			s.Endpoints = append(s.Endpoints, balancing.Endpoint{ID: nodes[i].Name, Node: nodes[i]})
		}
		d := 1 + r.IntN(room)
		s.Rate = float64(d) * 0.5
		services := []balancing.Service{s}
		out, err := (&balancing.Optimal{Floor: -1}).Weigh(t.Context(), services)
		if err != nil {
			t.Fatal(err)
		}
		if err := balancingtest.Valid(services, out); err != nil {
			t.Fatal(err)
		}
		got := balancing.Predict(services, out)
		want := leastAlone(nodes, d, 0.5, 0.8)
		if got.Busiest > 0.8+1e-9 {
			t.Errorf("round %d: busiest server at %v, limit 0.8", round, got.Busiest)
		}
		over := float64(got.Total)/want - 1
		worst = max(worst, over)
		if over > 1e-3 || over < -1e-9 {
			t.Errorf("round %d: %d servers, %v of %v cores: %v, least is %.3f W: %.4f %% above", round, n, s.Rate, float64(room)*0.5, got.Total, want, 100*over)
		}
		notAboveUniform(t, services, got, 0.8)
	}
	t.Logf("worst of 400: %.5f %% above the exact optimum", 100*worst)
}

func notAboveUniform(t *testing.T, services []balancing.Service, got balancing.Draw, limit float64) {
	t.Helper()
	out, err := balancing.Uniform{}.Weigh(t.Context(), services)
	if err != nil {
		t.Fatal(err)
	}
	if u := balancing.Predict(services, out); u.Busiest <= limit && float64(got.Total) > float64(u.Total)*(1+1e-9) {
		t.Errorf("optimal draws %v, uniform %v", got.Total, u.Total)
	}
}

// leastJoint tries every load of the nodes that the Services can put there (Hall's condition) and returns the
// least cost; +Inf where none fits.
func leastJoint(nodes []*scoring.Node, demand []int, reach []uint, grain, limit float64) float64 {
	n := len(nodes)
	table, total := make([][]float64, n), 0
	for i, node := range nodes {
		steps, cost := grid(node, grain, limit)
		for k := range steps + 1 {
			table[i] = append(table[i], cost(k))
		}
	}
	for _, d := range demand {
		total += d
	}
	most := make([]int, 1<<n) // what can reach a set of servers
	for set := range most {
		for s, d := range demand {
			if reach[s]&uint(set) != 0 {
				most[set] += d
			}
		}
	}
	best := math.Inf(1)
	load := make([]int, 1<<n)
	var try func(i, left int, cost float64)
	try = func(i, left int, cost float64) {
		if i == n {
			if left == 0 {
				best = min(best, cost)
			}
			return
		}
		for k := 0; k < len(table[i]) && k <= left; k++ {
			ok := true
			for set := range 1 << i {
				load[set|1<<i] = load[set] + k
				ok = ok && load[set|1<<i] <= most[set|1<<i]
			}
			if !ok {
				break
			}
			try(i+1, left-k, cost+table[i][k])
		}
	}
	try(0, total, 0)
	return best
}

func TestOptimalJointIsExact(t *testing.T) {
	for _, convex := range []bool{true, false} {
		t.Run(fmt.Sprintf("convex=%v", convex), func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			worst, tried := 0.0, 0
			for round := range 300 {
				n := 3 + r.IntN(2)
				nodes := make([]*scoring.Node, n)
				for i := range nodes {
					nodes[i] = randomServer(r, i, 10)
					if convex {
						nodes[i].Predictor = nodes[i].Predictor.(*power.Piecewise).Envelope()
					}
				}
				m := 2 + r.IntN(3)
				services, demand, reach := make([]balancing.Service, m), make([]int, m), make([]uint, m)
				for i := range services {
					demand[i] = 1 + r.IntN(8)
					services[i] = balancing.Service{Name: fmt.Sprint("s", i), Rate: float64(demand[i]) * 0.5, CPU: 1}
					for reach[i] == 0 {
						for k := range nodes {
							if r.IntN(2) == 0 {
								reach[i] |= 1 << k
								services[i].Endpoints = append(services[i].Endpoints, balancing.Endpoint{ID: nodes[k].Name, Node: nodes[k]})
							}
						}
					}
				}
				// An envelope's knots are not on the grid of the background: a finer grid would be needed.
				want := leastJoint(nodes, demand, reach, 0.5, 0.8)
				if math.IsInf(want, 1) {
					continue
				}
				tried++
				out, err := (&balancing.Optimal{Floor: -1}).Weigh(t.Context(), services)
				if err != nil {
					t.Fatal(err)
				}
				if err := balancingtest.Valid(services, out); err != nil {
					t.Fatal(err)
				}
				got := balancing.Predict(services, out)
				over := untouched(nodes, services, float64(got.Total))/want - 1
				worst = max(worst, over)
				if over > 1e-3 || over < -1e-9 {
					t.Errorf("round %d: %d services on %d servers: %.4f %% above the least, %.3f W", round, m, n, 100*over, want)
				}
				if got.Busiest > 0.8+1e-9 {
					t.Errorf("round %d: busiest server at %v, limit 0.8", round, got.Busiest)
				}
				notAboveUniform(t, services, got, 0.8)
			}
			t.Logf("worst of %d: %.5f %% above the exact optimum", tried, 100*worst)
			if tried < 100 {
				t.Errorf("only %d of 300 rounds had a solution", tried)
			}
		})
	}
}

// untouched adds the watts of servers that no Service reaches, which brute force counts too.
func untouched(nodes []*scoring.Node, services []balancing.Service, total float64) float64 {
	seen := map[*scoring.Node]bool{}
	for _, s := range services {
		for _, e := range s.Endpoints {
			seen[e.Node] = true
		}
	}
	for _, n := range nodes {
		if !seen[n] {
			total += float64(n.Predictor.(*power.Piecewise).At(n.State.Utilization))
		}
	}
	return total
}
