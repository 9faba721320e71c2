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
