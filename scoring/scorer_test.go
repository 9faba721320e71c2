package scoring_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/scoringtest"
	"github.com/leastwatt/leastwatt/sensors"
)

func TestScorers(t *testing.T) {
	for _, s := range []scoring.Scorer{scoring.MarginalPower{}, scoring.EnvelopePower{}, scoring.EnvelopePower{SwitchOff: true}} {
		t.Run(fmt.Sprintf("%T%+v", s, s), func(t *testing.T) { scoringtest.TestScorer(t, s) })
	}
}

// zero is the scorer that this project exists to replace: what it does not know costs nothing.
type zero struct{ scoring.MarginalPower }

func (z zero) Score(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	return z.AppendScore(ctx, nil, d, nodes)
}

func (z zero) AppendScore(ctx context.Context, costs []scoring.Cost, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	costs, err := z.MarginalPower.AppendScore(ctx, costs, d, nodes)
	for i := range costs {
		costs[i].Err = nil
	}
	return costs, err
}

func TestSuiteCatchesUnknownAsZero(t *testing.T) {
	if err := scoringtest.Check(t.Context(), zero{}); err == nil {
		t.Error("a scorer that turns errors into 0 passed the suite")
	}
}

func curve(tb testing.TB, watts ...power.Watts) *power.Piecewise {
	tb.Helper()
	c, err := power.EvenPiecewise(watts...)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// On a steep first step the plain difference keeps an efficient server closed; the envelope opens it.
func TestEnvelopeOpensTheEfficientServer(t *testing.T) {
	nodes := []scoring.Node{
		{Name: "efficient", Capacity: power.Capacity{Cores: 100}, Predictor: curve(t, 50, 90, 95, 100, 105, 110)},
		{Name: "linear", Capacity: power.Capacity{Cores: 100}, Predictor: curve(t, 50, 150)},
	}
	d := scoring.Demand{CPU: 10}
	for s, want := range map[scoring.Scorer]string{scoring.MarginalPower{}: "linear", scoring.EnvelopePower{}: "efficient"} {
		costs, err := s.Score(t.Context(), d, nodes)
		if err != nil {
			t.Fatal(err)
		}
		if got := costs[scoring.Best(costs)].Node; got != want {
			t.Errorf("%T chose %q, want %q", s, got, want)
		}
	}
}

// With servers that may be switched off, the first core bears its share of the idle power: watts per
// core at the most efficient load, here full load.
func TestSwitchOffAmortisesIdle(t *testing.T) {
	nodes := []scoring.Node{{Name: "a", Capacity: power.Capacity{Cores: 10}, Predictor: curve(t, 100, 200)}}
	costs, err := scoring.EnvelopePower{SwitchOff: true}.Score(t.Context(), scoring.Demand{CPU: 1}, nodes)
	if err != nil {
		t.Fatal(err)
	}
	if got := costs[0].Value; math.Abs(got-20) > 1e-9 {
		t.Errorf("first core of 10 on a server of 100 to 200 W costs %v W, want 20", got)
	}
}

// The order of costs is total and consistent: whatever is unknown is behind whatever is known.
func TestRankIsTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := []float64{0, 1, -1, math.NaN(), math.Inf(1), math.Inf(-1), 1e-9}
	errs := []error{nil, nil, nil, errors.New("unknown"), fmt.Errorf("full: %w", scoring.ErrOverCapacity)}
	for range 200 {
		costs := make([]scoring.Cost, 12)
		for i := range costs {
			costs[i] = scoring.Cost{Node: fmt.Sprint(i), Value: values[r.IntN(len(values))], Err: errs[r.IntN(len(errs))], Tie: float32(r.IntN(2))}
		}
		order := scoring.Rank(costs)
		for k := 1; k < len(order); k++ {
			a, b := costs[order[k-1]], costs[order[k]]
			if !a.Known() && b.Known() {
				t.Fatalf("unknown %+v ranks above known %+v", a, b)
			}
			if a.Known() && b.Known() && a.Value > b.Value {
				t.Fatalf("%+v ranks above the cheaper %+v", a, b)
			}
			if errors.Is(b.Err, scoring.ErrOverCapacity) && a.Err != nil && !errors.Is(a.Err, scoring.ErrOverCapacity) {
				t.Fatalf("unknown %+v ranks above %+v, which is known to be full", a, b)
			}
			if scoring.Compare(a, b) >= 0 || scoring.Compare(b, a) <= 0 {
				t.Fatalf("order of %+v and %+v is not antisymmetric", a, b)
			}
		}
	}
}

func snapshot(now time.Time, node string, err error, readings ...sensors.Reading) *sensors.Snapshot {
	return sensors.NewSnapshot(now, map[string]*sensors.NodeReadings{node: {Node: node, Readings: readings, Err: err}})
}

func TestFleetKeepsCausesApart(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	util := func(v float64, age time.Duration) sensors.Reading {
		return sensors.Reading{Kind: sensors.CPUUtilization, Value: v, At: now.Add(-age), Source: "test"}
	}
	model := curve(t, 100, 200)
	for name, test := range map[string]struct {
		spec     scoring.Spec
		readings []sensors.Reading
		readErr  error
		want     error
	}{
		"all there":             {spec: scoring.Spec{Predictor: model}, readings: []sensors.Reading{util(0.5, 0)}},
		"no model":              {readings: []sensors.Reading{util(0.5, 0)}, want: power.ErrNoModel},
		"no utilization":        {spec: scoring.Spec{Predictor: model}, want: sensors.ErrNoReading},
		"unreachable":           {spec: scoring.Spec{Predictor: model}, readErr: sensors.ErrUnreachable, want: sensors.ErrUnreachable},
		"stale":                 {spec: scoring.Spec{Predictor: model}, readings: []sensors.Reading{util(0.5, time.Hour)}, want: sensors.ErrStale},
		"from tomorrow":         {spec: scoring.Spec{Predictor: model}, readings: []sensors.Reading{util(0.5, -time.Hour)}, want: sensors.ErrImplausible},
		"utilization 7":         {spec: scoring.Spec{Predictor: model}, readings: []sensors.Reading{util(7, 0)}, want: sensors.ErrImplausible},
		"utilization -1":        {spec: scoring.Spec{Predictor: model}, readings: []sensors.Reading{util(-1, 0)}, want: sensors.ErrImplausible},
		"off needs no readings": {spec: scoring.Spec{Predictor: model, Off: true}},
		"model fails":           {spec: scoring.Spec{Predictor: failing{}}, readings: []sensors.Reading{util(0.5, 0)}, want: power.ErrMissingInput},
	} {
		t.Run(name, func(t *testing.T) {
			f := scoring.NewFleet(scoring.FleetOptions{})
			test.spec.Name, test.spec.Capacity = "n", power.Capacity{Cores: 8}
			f.Put(test.spec)
			if err := f.Refresh(t.Context(), snapshot(now, "n", test.readErr, test.readings...), now); err != nil {
				t.Fatal(err)
			}
			n := f.View().Node("n")
			if !errors.Is(n.Err, test.want) || (test.want == nil) != (n.Err == nil) {
				t.Errorf("error is %v, want one that wraps %v", n.Err, test.want)
			}
			f.Remove("n")
			if err := f.Refresh(t.Context(), nil, now); err != nil || f.View().Node("n") != nil {
				t.Errorf("a removed node is still in the view (error %v)", err)
			}
		})
	}
}

type failing struct{}

func (failing) Predict(context.Context, power.State) (power.Watts, error) {
	return 0, fmt.Errorf("inlet temperature: %w", power.ErrMissingInput)
}

// A view that was handed out never changes, and a refresh that was cut short changes nothing.
func TestFleetViewIsImmutable(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := scoring.NewFleet(scoring.FleetOptions{})
	f.Put(scoring.Spec{Name: "n", Capacity: power.Capacity{Cores: 8}, Predictor: curve(t, 100, 200)})
	read := func(u float64) *sensors.Snapshot {
		return snapshot(now, "n", nil, sensors.Reading{Kind: sensors.CPUUtilization, Value: u, At: now})
	}
	if err := f.Refresh(t.Context(), read(0.25), now); err != nil {
		t.Fatal(err)
	}
	old := f.View()
	if err := f.Refresh(t.Context(), read(0.75), now); err != nil {
		t.Fatal(err)
	}
	if u := old.Node("n").State.Utilization; u != 0.25 {
		t.Errorf("the old view shows %v, want 0.25", u)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Refresh(ctx, read(0.5), now); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	if u := f.View().Node("n").State.Utilization; u != 0.75 {
		t.Errorf("an ended refresh published %v, want the old 0.75", u)
	}
}

func ExampleScorer() {
	small, _ := power.EvenPiecewise(60, 120)
	large, _ := power.EvenPiecewise(200, 260)
	nodes := []scoring.Node{
		{Name: "small", Capacity: power.Capacity{Cores: 16}, Predictor: small},
		{Name: "large", Capacity: power.Capacity{Cores: 64}, Predictor: large},
		{Name: "silent", Err: sensors.ErrUnreachable},
	}
	candidates, err := scoring.Explain(context.Background(), scoring.EnvelopePower{}, scoring.Demand{CPU: 4}, nodes, time.Now())
	if err != nil {
		panic(err)
	}
	for _, c := range candidates {
		fmt.Printf("%d %-6s %s\n", c.Rank, c.Node, c.Reason)
	}
	// Output:
	// 1 large  least cost: 3.750 W
	// 2 small  costs 11.250 W more than the best
	// 3 silent unreachable
}
