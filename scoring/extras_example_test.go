package scoring_test

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// The same server costs fewer grams where the grid is cleaner.
func ExampleMeter() {
	north, south := scoring.NewMeter("north"), scoring.NewMeter("south")
	north.Set(scoring.Tariff{Intensity: 30, PUE: 1.1})
	south.Set(scoring.Tariff{Intensity: 400, PUE: 1.4})
	curve, err := power.EvenPiecewise(100, 200)
	if err != nil {
		panic(err)
	}
	node := func(name string, m *scoring.Meter) scoring.Node {
		return scoring.Node{Name: name, Capacity: power.Capacity{Cores: 10}, Predictor: curve, Meter: m}
	}
	costs, err := scoring.Objective{Power: scoring.EnvelopePower{}, Unit: scoring.GramsPerHour}.
		Score(context.Background(), scoring.Demand{CPU: 1}, []scoring.Node{node("a", south), node("b", north), node("c", nil)})
	if err != nil {
		panic(err)
	}
	for _, c := range costs {
		if c.Err != nil {
			fmt.Println(c.Err)
			continue
		}
		fmt.Printf("%s %.2f %v\n", c.Node, c.Value, c.Unit)
	}
	// Output:
	// a 5.60 gCO2eq/h
	// b 0.33 gCO2eq/h
	// node "c": tariff: the place of the machine is not known
}

// An empty server that would be switched off costs its waking too.
func ExampleWaking() {
	curve, err := power.EvenPiecewise(100, 200)
	if err != nil {
		panic(err)
	}
	nodes := []scoring.Node{
		{Name: "open", Capacity: power.Capacity{Cores: 10}, Predictor: curve, Wake: 36_000},
		{Name: "empty", Capacity: power.Capacity{Cores: 10}, Predictor: curve, Wake: 36_000, Empty: true},
	}
	costs, err := scoring.Waking{Power: scoring.MarginalPower{}, Horizon: time.Hour, SwitchOff: true}.
		Score(context.Background(), scoring.Demand{CPU: 1}, nodes)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s %.0f W, %s %.0f W\n", costs[0].Node, costs[0].Value, costs[1].Node, costs[1].Value)
	// Output: open 10 W, empty 20 W
}
