package balancing_test

import (
	"context"
	"fmt"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

func ExampleOptimal() {
	node := func(name string, watts ...power.Watts) *scoring.Node {
		curve, err := power.EvenPiecewise(watts...)
		if err != nil {
			panic(err)
		}
		return &scoring.Node{Name: name, Capacity: power.Capacity{Cores: 32}, State: power.State{Utilization: 0.1}, Predictor: curve}
	}
	services := []balancing.Service{{Name: "shop/web", Rate: 400, CPU: 0.05, Endpoints: []balancing.Endpoint{
		{ID: "10.0.0.1:80", Node: node("old", 120, 200, 310)},
		{ID: "10.0.0.2:80", Node: node("new", 90, 120, 180)},
		{ID: "10.0.0.3:80"}, // a node of which nothing is known
	}}}
	for _, w := range []balancing.Weigher{balancing.Uniform{}, &balancing.Optimal{}} {
		shares, err := w.Weigh(context.Background(), services)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%T:", w)
		for i, s := range shares[0] {
			fmt.Printf(" %s %.3f", services[0].Endpoints[i].ID, s.Value)
		}
		fmt.Println()
	}
	// Output:
	// balancing.Uniform: 10.0.0.1:80 0.333 10.0.0.2:80 0.333 10.0.0.3:80 0.333
	// *balancing.Optimal: 10.0.0.1:80 0.017 10.0.0.2:80 0.967 10.0.0.3:80 0.017
}

// What the requests of each endpoint add to its server, and what all servers draw.
func ExamplePredict() {
	curve, err := power.EvenPiecewise(80, 200)
	if err != nil {
		fmt.Println(err)
		return
	}
	n := &scoring.Node{Name: "n1", Capacity: power.Capacity{Cores: 10}, Predictor: curve, State: power.State{Node: "n1", Utilization: 0.2}}
	s := balancing.Service{Name: "shop/web:http", Rate: 40, CPU: 0.1, Endpoints: []balancing.Endpoint{{ID: "10.0.0.7:8080", Node: n}}}
	shares := [][]balancing.Share{{{Value: 1}}}
	draw := balancing.Predict([]balancing.Service{s}, shares)
	added, _ := draw.Added(&s, &s.Endpoints[0], 1)
	fmt.Printf("%.0f W, of which its requests add %.0f W\n", float64(draw.Total), float64(added))
	// Output: 152 W, of which its requests add 48 W
}

// What each endpoint had in the round before, wherever it stands now.
func ExamplePast() {
	s := balancing.Service{Name: "shop/web", Endpoints: []balancing.Endpoint{{ID: "10.0.0.1:80"}, {ID: "10.0.0.2:80"}}}
	var p balancing.Past
	p.Keep([]balancing.Service{s}, [][]balancing.Share{{{Value: 0.3}, {Value: 0.7}}})
	for j, id := range []string{"10.0.0.2:80", "10.0.0.3:80"} {
		share, ok := p.Row("shop/web").Share(j, id)
		fmt.Println(id, share, ok)
	}
	// Output:
	// 10.0.0.2:80 0.7 true
	// 10.0.0.3:80 0 false
}

// A loop computes shares and swaps them in; requests pick meanwhile. Users with affinity keep their endpoint when another one
// becomes dearer.
func ExampleSelector() {
	ids := []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}
	var all, users balancing.Selector[string]
	swap := func(shares ...float64) {
		even, err := balancing.NewRoundRobin(shares, 10)
		if err != nil {
			panic(err)
		}
		sticky, err := balancing.NewMaglev(ids, shares)
		if err != nil {
			panic(err)
		}
		all.Swap(ids, even)
		users.Swap(ids, sticky)
	}
	swap(0.5, 0.3, 0.2)
	count := map[string]int{}
	for range 100 {
		c, _ := all.Pick(0) // false without endpoints
		count[c.Endpoint]++
		c.Done()
	}
	fmt.Println(count)
	before, _ := users.Pick(balancing.Key("alice"))
	swap(0.52, 0.3, 0.18)
	after, _ := users.Pick(balancing.Key("alice"))
	fmt.Println(before.Endpoint == after.Endpoint)
	// Output:
	// map[10.0.0.1:80:50 10.0.0.2:80:30 10.0.0.3:80:20]
	// true
}

// One noisy reading moves no share by more than a step.
func ExampleDamped() {
	curve := func(watts ...power.Watts) power.Predictor {
		c, err := power.EvenPiecewise(watts...)
		if err != nil {
			panic(err)
		}
		return c
	}
	a := &scoring.Node{Name: "a", Capacity: power.Capacity{Cores: 10}, Predictor: curve(80, 120)}
	b := &scoring.Node{Name: "b", Capacity: power.Capacity{Cores: 10}, Predictor: curve(80, 200)}
	s := []balancing.Service{{Name: "shop/web", Rate: 40, CPU: 0.1, Endpoints: []balancing.Endpoint{{ID: "10.0.0.1:80", Node: a}, {ID: "10.0.0.2:80", Node: b}}}}
	w := balancing.NewDamped(&balancing.Optimal{Floor: -1}, 0.1)
	for _, busy := range []float64{0.1, 0.8, 0.8, 0.1} { // a is the cheaper one, until it is said to be full
		a.State.Utilization = busy
		shares, err := w.Weigh(context.Background(), s)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%.1f ", balancing.Values(shares[0]))
	}
	// Output: [1.0 0.0] [0.9 0.1] [0.8 0.2] [0.9 0.1]
}

// Endpoints use half a core at rest and 20 ms a request.
func ExampleCPULearner() {
	var l balancing.CPULearner
	for _, rate := range []float64{10, 40, 25, 60, 30, 55} {
		if err := l.Observe(rate, 0.5+0.02*rate); err != nil {
			panic(err)
		}
	}
	cpu, err := l.CPU()
	fmt.Printf("%.3f %v\n", cpu.Estimate, err)
	// Output: 0.020 <nil>
}

// An annotation of ours, or WAO's.
func ExampleCPUFromAnnotations() {
	fmt.Println(balancing.CPUFromAnnotations(map[string]string{"waok8s.github.io/cpu-per-request": "500m"}))
	fmt.Println(balancing.CPUFromAnnotations(map[string]string{"leastwatt.github.io/cpu-per-request": "1e99"}))
	// Output:
	// 0.5 <nil>
	// 0 annotation leastwatt.github.io/cpu-per-request: CPU of a request "1e99": want at most 10000 core-seconds
}
