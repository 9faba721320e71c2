package scoring_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/scoringtest"
)

// flat is a tariff that is the same everywhere.
func flat(t scoring.Tariff) func(*scoring.Node) scoring.Tariff {
	return func(*scoring.Node) scoring.Tariff { return t }
}

func TestObjectiveIsAScorer(t *testing.T) {
	for _, u := range []scoring.Unit{scoring.Watts, scoring.GramsPerHour, scoring.MoneyPerHour} {
		t.Run(u.String(), func(t *testing.T) {
			scoringtest.TestScorer(t, scoring.Objective{Power: scoring.EnvelopePower{}, Unit: u, CarbonPrice: 80,
				Tariff: flat(scoring.Tariff{Intensity: 300, Price: 0.2, PUE: 1.3})})
		})
	}
}

// 100 W more for an hour at a PUE of 1.5 are 0.15 kWh: 60 g at 400 g/kWh; 3 cents at 0.20 a kWh and 0.48 cents
// at 80 a tonne.
func TestObjectiveUnits(t *testing.T) {
	node := []scoring.Node{{Name: "n", Capacity: power.Capacity{Cores: 1}, Predictor: curve(t, 100, 200)}}
	tariff := scoring.Tariff{Intensity: 400, Price: 0.20, PUE: 1.5}
	for unit, want := range map[scoring.Unit]float64{scoring.Watts: 150, scoring.GramsPerHour: 60, scoring.MoneyPerHour: 0.0348} {
		costs, err := scoring.Objective{Power: scoring.MarginalPower{}, Unit: unit, CarbonPrice: 80, Tariff: flat(tariff)}.
			Score(t.Context(), scoring.Demand{CPU: 1}, node)
		if err != nil {
			t.Fatal(err)
		}
		if c := costs[0]; c.Unit != unit || math.Abs(c.Value-want) > 1e-12 {
			t.Errorf("cost is %v %v, want %v %v", c.Value, c.Unit, want, unit)
		}
	}
}

var errAway = errors.New("provider is away")

// A place whose tariff is unknown does not win; if all are unknown, watts decide.
func TestUnknownTariff(t *testing.T) {
	nodes := []scoring.Node{
		{Name: "thrifty", Capacity: power.Capacity{Cores: 10}, Predictor: curve(t, 50, 60)},
		{Name: "greedy", Capacity: power.Capacity{Cores: 10}, Predictor: curve(t, 50, 500)},
	}
	for _, test := range []struct {
		away map[string]bool
		want string
		unit scoring.Unit
	}{
		{nil, "thrifty", scoring.GramsPerHour},
		{map[string]bool{"thrifty": true}, "greedy", scoring.GramsPerHour},
		{map[string]bool{"thrifty": true, "greedy": true}, "thrifty", scoring.Watts},
	} {
		costs, err := scoring.Objective{Power: scoring.EnvelopePower{}, Unit: scoring.GramsPerHour, Tariff: func(n *scoring.Node) scoring.Tariff {
			if test.away[n.Name] {
				return scoring.Tariff{Err: errAway}
			}
			return scoring.Tariff{Intensity: 100}
		}}.Score(t.Context(), scoring.Demand{CPU: 1}, nodes)
		if err != nil {
			t.Fatal(err)
		}
		best := scoring.Best(costs)
		if best < 0 || costs[best].Node != test.want || costs[best].Unit != test.unit {
			t.Errorf("without the tariffs of %v: best is %d of %+v, want %s in %v", test.away, best, costs, test.want, test.unit)
		}
	}
}

// The tariff of a server that nobody can place work on, because its watts are not known or it is full, tells no unit: watts decide
// between the others.
func TestTariffOfUselessServer(t *testing.T) {
	known, dark := scoring.NewMeter("known"), scoring.NewMeter("dark")
	known.Set(scoring.Tariff{Intensity: 100})
	for _, useless := range []scoring.Node{
		{Name: "dead", Err: errAway, Meter: known},
		{Name: "full", Capacity: power.Capacity{Cores: 10}, State: power.State{Utilization: 1}, Predictor: curve(t, 50, 60), Meter: known},
	} {
		nodes := []scoring.Node{useless, {Name: "n", Capacity: power.Capacity{Cores: 10}, Predictor: curve(t, 50, 60), Meter: dark}}
		costs, err := scoring.Objective{Power: scoring.MarginalPower{}, Unit: scoring.GramsPerHour}.Score(t.Context(), scoring.Demand{CPU: 1}, nodes)
		if err != nil || costs[0].Err == nil || !costs[1].Known() || costs[1].Unit != scoring.Watts || costs[0].Unit != scoring.Watts {
			t.Errorf("beside %s: %+v, %v; want watts", useless.Name, costs, err)
		}
	}
}

// Who asks about some servers at a time gets costs that can be compared: where the tariff of any of all is known, a server
// whose tariff is not has no cost, not even alone.
func TestObjectiveAmong(t *testing.T) {
	known, dark := scoring.NewMeter("known"), scoring.NewMeter("dark")
	known.Set(scoring.Tariff{Intensity: 100, PUE: 1.5})
	of := func(name string, m *scoring.Meter) scoring.Node {
		return scoring.Node{Name: name, Capacity: power.Capacity{Cores: 10}, Predictor: curve(t, 50, 60), Meter: m}
	}
	lit, unlit, dead := of("lit", known), of("unlit", dark), of("dead", known)
	dead.Err = errAway
	for _, unit := range []scoring.Unit{scoring.Watts, scoring.GramsPerHour} {
		o := scoring.Objective{Power: scoring.MarginalPower{}, Unit: unit}
		for _, c := range []struct {
			all  []scoring.Node
			cost float64 // of the server that is not lit; NaN is not known
		}{
			{[]scoring.Node{unlit, lit}, math.NaN()},
			{[]scoring.Node{unlit}, 1},
			{[]scoring.Node{unlit, dead}, 1},
		} {
			for _, s := range []scoring.Scorer{scoring.Among(o, c.all), scoring.Among(scoring.Among(o, c.all), c.all[:1])} {
				costs, err := s.Score(t.Context(), scoring.Demand{CPU: 1}, []scoring.Node{unlit})
				if err != nil {
					t.Fatal(err)
				}
				if k := costs[0]; k.Known() == math.IsNaN(c.cost) || k.Known() && (math.Abs(k.Value-c.cost) > 1e-12 || k.Unit != scoring.Watts) {
					t.Errorf("%v among %d: %+v, want %v", unit, len(c.all), k, c.cost)
				}
			}
		}
	}
	if s := scoring.Among(scoring.MarginalPower{}, nil); s != (scoring.MarginalPower{}) {
		t.Errorf("a scorer that asks nobody became %#v", s)
	}
}

// A nonsensical tariff is as good as none, and says what is wrong with it.
func TestImplausibleTariff(t *testing.T) {
	node := []scoring.Node{
		{Name: "n", Capacity: power.Capacity{Cores: 1}, Predictor: curve(t, 100, 200)},
		{Name: "ok", Capacity: power.Capacity{Cores: 1}, Predictor: curve(t, 100, 200)},
	}
	for _, bad := range []scoring.Tariff{{Intensity: -5}, {Intensity: math.NaN()}, {Price: math.Inf(1)}, {PUE: 0.5}, {PUE: math.NaN()}, {Factor: -1}} {
		o := scoring.Objective{Power: scoring.MarginalPower{}, Unit: scoring.MoneyPerHour, Tariff: func(n *scoring.Node) scoring.Tariff {
			if n.Name == "n" {
				return bad
			}
			return scoring.Tariff{Price: 0.1}
		}}
		costs, err := o.Score(t.Context(), scoring.Demand{CPU: 1}, node)
		if err != nil || costs[0].Err == nil || costs[0].Known() || !costs[1].Known() {
			t.Errorf("%+v: costs %+v, error %v", bad, costs, err)
		}
	}
}

// What a watt costs is unknown, never nothing, where the part of the tariff is unknown that the unit needs; meters tell it as tariffs do.
func TestPerWatt(t *testing.T) {
	meter := scoring.NewMeter("SE")
	node := &scoring.Node{Name: "n", Meter: meter}
	grams, money := scoring.Objective{Unit: scoring.GramsPerHour}, scoring.Objective{Unit: scoring.MoneyPerHour}
	dear := scoring.Objective{Unit: scoring.MoneyPerHour, CarbonPrice: 1e6}
	meter.Set(scoring.Tariff{Price: 2, IntensityErr: errAway})
	if v, err := grams.PerWatt(node); !errors.Is(err, errAway) {
		t.Errorf("without an intensity a watt costs %v, %v", v, err)
	}
	if v, err := dear.PerWatt(node); !errors.Is(err, errAway) {
		t.Errorf("with a price of carbon and without an intensity a watt costs %v, %v", v, err)
	}
	if v, err := money.PerWatt(node); err != nil || math.Abs(v-0.002) > 1e-12 {
		t.Errorf("a watt costs %v, %v, want 0.002", v, err)
	}
	meter.Set(scoring.Tariff{Intensity: 30, PriceErr: errAway})
	if v, err := money.PerWatt(node); !errors.Is(err, errAway) {
		t.Errorf("without a price a watt costs %v, %v", v, err)
	}
	if v, err := grams.PerWatt(node); err != nil || math.Abs(v-0.03) > 1e-12 {
		t.Errorf("a watt emits %v, %v, want 0.03", v, err)
	}
	if v, err := grams.PerWatt(&scoring.Node{Name: "lost"}); err == nil {
		t.Errorf("nobody knows where the node is, and a watt emits %v", v)
	}
}

// A meter that is still tells what the other told when it was asked for.
func TestStillMeter(t *testing.T) {
	m := scoring.NewMeter("SE")
	nothing := m.Still()
	m.Set(scoring.Tariff{Price: 1})
	one := m.Still()
	if same := m.Still(); same != one {
		t.Error("nothing was set, and there is another meter")
	}
	m.Set(scoring.Tariff{Price: 2})
	two := m.Still()
	if nothing.Tariff().Err == nil || one.Tariff().Price != 1 || two.Tariff().Price != 2 || one.Zone() != "SE" || (*scoring.Meter)(nil).Still() != nil {
		t.Errorf("meters tell %+v, %+v and %+v", nothing.Tariff(), one.Tariff(), two.Tariff())
	}
}

func ExampleObjective() {
	curve, _ := power.EvenPiecewise(100, 200)
	nodes := []scoring.Node{
		{Name: "oslo", Capacity: power.Capacity{Cores: 10}, Predictor: curve},
		{Name: "krakow", Capacity: power.Capacity{Cores: 10}, Predictor: curve},
	}
	intensity := map[string]float64{"oslo": 25, "krakow": 620}
	costs, err := scoring.Objective{Power: scoring.EnvelopePower{}, Unit: scoring.GramsPerHour,
		Tariff: func(n *scoring.Node) scoring.Tariff { return scoring.Tariff{Intensity: intensity[n.Name], PUE: 1.2} }}.
		Score(context.Background(), scoring.Demand{CPU: 4}, nodes)
	if err != nil {
		panic(err)
	}
	for _, i := range scoring.Rank(costs) {
		fmt.Printf("%-6s %.2f %v\n", costs[i].Node, costs[i].Value, costs[i].Unit)
	}
	// Output:
	// oslo   1.20 gCO2eq/h
	// krakow 29.76 gCO2eq/h
}

// Once its unit is settled, an objective's cost of a node is the same whichever nodes it is asked about with, as of the scorer of watts, and it says so; before, a node
// may cost watts by itself and be unknown beside another.
func TestObjectiveScoresSeparately(t *testing.T) {
	nodes := make([]scoring.Node, 40)
	for i := range nodes {
		m := scoring.NewMeter("z")
		if i%3 != 0 {
			m.Set(scoring.Tariff{Intensity: float64(10 * i), Price: 0.01 * float64(i)})
		}
		nodes[i] = scoring.Node{Name: fmt.Sprint(i), Capacity: power.Capacity{Cores: float64(i % 5)}, Predictor: curve(t, 50, power.Watts(100+i)), Meter: m}
		if i%7 == 0 {
			nodes[i].Err = errAway
		}
	}
	d := scoring.Demand{CPU: 2}
	for _, unit := range []scoring.Unit{scoring.Watts, scoring.GramsPerHour, scoring.MoneyPerHour} {
		o := scoring.Objective{Power: scoring.EnvelopePower{}, Unit: unit, CarbonPrice: 50}
		if o.ScoresSeparately() {
			t.Errorf("in %v, an objective whose unit is not settled says that it scores separately", unit)
		}
		s := scoring.Among(o, nodes).(scoring.Objective)
		if !s.ScoresSeparately() {
			t.Errorf("in %v, an objective whose unit is settled does not say that it scores separately", unit)
		}
		all, err := s.Score(t.Context(), d, nodes)
		if err != nil {
			t.Fatal(err)
		}
		for i := range nodes {
			one, err := o.Settled().Score(t.Context(), d, nodes[i:i+1])
			if err != nil {
				t.Fatal(err)
			}
			if a, b := all[i], one[0]; a.Value != b.Value || a.Unit != b.Unit || a.Tie != b.Tie || fmt.Sprint(a.Err) != fmt.Sprint(b.Err) {
				t.Errorf("in %v node %d costs %+v beside all others and %+v alone", unit, i, a, b)
			}
		}
	}
	if (scoring.Objective{Power: scoring.Objective{Power: scoring.EnvelopePower{}}}).Settled().ScoresSeparately() {
		t.Error("an objective of watts that are not scored separately says that it scores separately")
	}
}
