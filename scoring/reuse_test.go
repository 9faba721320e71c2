package scoring_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// counted is a model of inlet temperature and one more input, which counts how often it is asked.
type counted struct{ asked *int }

func (c counted) Predict(_ context.Context, s power.State) (power.Watts, error) {
	*c.asked++
	return power.Watts(100*s.Utilization + float64(*s.InletTemp) + s.Inputs["boost"]), nil
}

func (counted) Inputs() []power.Input {
	return []power.Input{power.InputUtilization, power.InputInletTemp, "boost"}
}

// A model is asked again when what it looks at has changed, and after a minute; its answers are always those
// that it would give.
func TestModelsAreAskedWhenSomethingChanged(t *testing.T) {
	asks := 0
	f := scoring.NewFleet(scoring.FleetOptions{MaxAge: time.Hour})
	spec := scoring.Spec{Name: "n", Capacity: power.Capacity{Cores: 8}, Predictor: counted{&asks}}
	f.Put(spec)
	now := time.Unix(1_800_000_000, 0)
	inlet, boost, other := 24.0, 5.0, 1.0
	refresh := func(why string, want bool) {
		t.Helper()
		before := asks
		r := &sensors.NodeReadings{Node: "n", Readings: []sensors.Reading{{Kind: sensors.CPUUtilization, Value: other / 100, At: now},
			{Kind: sensors.InletTemp, Value: inlet, At: now}, {Kind: "boost", Value: boost, At: now}, {Kind: sensors.Power, Value: other, At: now}}}
		if err := f.Refresh(t.Context(), sensors.NewSnapshot(now, map[string]*sensors.NodeReadings{"n": r}), now); err != nil {
			t.Fatal(err)
		}
		if (asks > before) != want {
			t.Errorf("%s: the model was asked %d times, want it asked: %v", why, asks-before, want)
		}
		n := f.View().Node("n")
		got, err := n.Predictor.Predict(t.Context(), n.State)
		if d := float64(got) - (other + inlet + boost); err != nil || d > 1e-9 || d < -1e-9 {
			t.Errorf("%s: the curve says %v, %v: want %v", why, got, err, other+inlet+boost)
		}
		now = now.Add(2 * time.Second)
	}
	refresh("at first", true)
	refresh("nothing changed", false)
	other = 30
	refresh("utilization and what the model does not look at changed", false)
	inlet = 25
	refresh("the inlet temperature changed", true)
	boost = 6
	refresh("another input changed", true)
	refresh("nothing changed", false)
	now = now.Add(time.Minute)
	refresh("a minute later", true)
	spec.Predictor = counted{new(int)}
	f.Put(spec)
	asks = 0
	refresh("another model", false)
	if *spec.Predictor.(counted).asked == 0 {
		t.Error("the new model was not asked")
	}
}

// warm is a model of inlet temperature and one more input, whichever of them it needs.
type warm struct {
	factor float64
	needs  []power.Input
}

func (w *warm) Predict(_ context.Context, s power.State) (power.Watts, error) {
	watts := 100 * w.factor * s.Utilization
	for _, in := range w.needs {
		x, ok := s.Inputs[string(in)]
		if in == power.InputInletTemp {
			if ok = s.InletTemp != nil; ok {
				x = float64(*s.InletTemp)
			}
		}
		if !ok {
			return 0, fmt.Errorf("%s: %w", in, power.ErrMissingInput)
		}
		watts += x
	}
	return power.Watts(watts), nil
}

func (w *warm) Inputs() []power.Input {
	return append([]power.Input{power.InputUtilization}, w.needs...)
}

// Whatever a view has of the one before, it says what a fleet says that has just begun.
func TestAViewSaysWhatANewFleetSays(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const maxAge = 20 * time.Second
	f := scoring.NewFleet(scoring.FleetOptions{MaxAge: maxAge})
	specs := make(map[string]scoring.Spec)
	readings := make(map[string]*sensors.NodeReadings)
	now := time.Unix(1_800_000_000, 0)
	snap := sensors.NewSnapshot(now, nil)
	name := func() string { return fmt.Sprintf("n%d", rng.IntN(12)) }
	shared := 0
	for step := range 3000 {
		for range rng.IntN(3) {
			switch rng.IntN(6) {
			case 0:
				s := scoring.Spec{Name: name(), Capacity: power.Capacity{Cores: 8}, Model: fmt.Sprint("model ", step), Off: rng.IntN(8) == 0}
				if rng.IntN(8) > 0 {
					s.Predictor = &warm{1 + rng.Float64(), []power.Input{power.InputInletTemp, "boost"}[:rng.IntN(3)]}
				}
				specs[s.Name] = s
				f.Put(s)
			case 1:
				n := name()
				delete(specs, n)
				f.Remove(n)
			default:
				n := name()
				r := &sensors.NodeReadings{Node: n}
				for _, kind := range []sensors.Kind{sensors.CPUUtilization, sensors.InletTemp, "boost", sensors.Power} {
					if rng.IntN(10) > 0 {
						r.Readings = append(r.Readings, sensors.Reading{Kind: kind, Value: rng.Float64(), At: now.Add(time.Duration(rng.IntN(60)-30) * time.Second), Source: "test"})
					}
				}
				if rng.IntN(10) > 0 {
					readings[n] = r
				} else {
					delete(readings, n)
				}
				snap = sensors.NewSnapshot(now, maps.Clone(readings))
			}
		}
		before := f.View()
		if err := f.Refresh(t.Context(), snap, now); err != nil {
			t.Fatal(err)
		}
		fresh := scoring.NewFleet(scoring.FleetOptions{MaxAge: maxAge})
		for _, s := range specs {
			fresh.Put(s)
		}
		if err := fresh.Refresh(t.Context(), snap, now); err != nil {
			t.Fatal(err)
		}
		got, want := f.View(), fresh.View()
		if got.Len() > 0 && got.SameNodes(before) {
			shared++
		}
		if got.At() != now || got.Len() != want.Len() {
			t.Fatalf("step %d: a view of %v with %d nodes, want %v with %d", step, got.At(), got.Len(), now, want.Len())
		}
		for i := range want.Nodes() {
			a, b := &got.Nodes()[i], &want.Nodes()[i]
			if a.Name != b.Name || got.Index(a.Name) != i || a.Readings != b.Readings || a.Off != b.Off || a.Model != b.Model || a.Unmeasured != b.Unmeasured {
				t.Fatalf("step %d: %+v, want %+v", step, a, b)
			}
			if (a.Err == nil) != (b.Err == nil) || a.Err != nil && a.Err.Error() != b.Err.Error() {
				t.Fatalf("step %d: %s has the error %v, want %v", step, a.Name, a.Err, b.Err)
			}
			for _, cpu := range []float64{0, 1, 5} {
				x, xErr := a.Draw(t.Context(), &scoring.Demand{CPU: cpu})
				y, yErr := b.Draw(t.Context(), &scoring.Demand{CPU: cpu})
				if x != y || (xErr == nil) != (yErr == nil) {
					t.Fatalf("step %d: %s with %v cores more draws %v, %v; want %v, %v", step, a.Name, cpu, x, xErr, y, yErr)
				}
			}
		}
		now = now.Add(time.Duration(rng.IntN(4000)) * time.Millisecond)
	}
	if shared == 0 {
		t.Error("no view shared the nodes of the one before")
	}
}

// A view stays as it was when a later one, which shares its memory, differs in some nodes.
func TestViewsAreImmutable(t *testing.T) {
	f := scoring.NewFleet(scoring.FleetOptions{})
	now := time.Unix(1_800_000_000, 0)
	readings := make(map[string]*sensors.NodeReadings)
	for i := range 20 {
		n := fmt.Sprintf("n%02d", i)
		f.Put(scoring.Spec{Name: n, Capacity: power.Capacity{Cores: 8}, Predictor: power.Linear{Idle: 50, Peak: 100}})
		readings[n] = &sensors.NodeReadings{Node: n, Readings: []sensors.Reading{{Kind: sensors.CPUUtilization, Value: 0.5, At: now}}}
	}
	refresh := func() *scoring.View {
		t.Helper()
		if err := f.Refresh(t.Context(), sensors.NewSnapshot(now, maps.Clone(readings)), now); err != nil {
			t.Fatal(err)
		}
		return f.View()
	}
	first := refresh()
	was := slices.Clone(first.Nodes())
	readings["n07"] = &sensors.NodeReadings{Node: "n07", Readings: []sensors.Reading{{Kind: sensors.CPUUtilization, Value: 0.9, At: now}}}
	second := refresh()
	if second.Node("n07").State.Utilization != 0.9 || second.Node("n08").State.Utilization != 0.5 {
		t.Errorf("the second view has %v and %v: want 0.9 and 0.5", second.Node("n07").State.Utilization, second.Node("n08").State.Utilization)
	}
	for i, n := range first.Nodes() {
		if n.State.Utilization != was[i].State.Utilization || n.Readings != was[i].Readings {
			t.Errorf("%s has changed in a view that was made before", n.Name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Refresh(ctx, sensors.NewSnapshot(now, readings), now); !errors.Is(err, context.Canceled) || f.View() != second {
		t.Errorf("a refresh whose context had ended: %v, and another view: %v", err, f.View() != second)
	}
}

// However many servers there are, a refresh while nothing has changed allocates the same: a view.
func TestARefreshOfNothingNewAllocatesAView(t *testing.T) {
	for _, n := range []int{10, 1000} {
		f := scoring.NewFleet(scoring.FleetOptions{})
		now := time.Unix(1_800_000_000, 0)
		readings := make(map[string]*sensors.NodeReadings)
		for i := range n {
			name := fmt.Sprint(i)
			f.Put(scoring.Spec{Name: name, Capacity: power.Capacity{Cores: 8}, Predictor: power.Linear{Idle: 50, Peak: 100}})
			readings[name] = &sensors.NodeReadings{Node: name, Readings: []sensors.Reading{{Kind: sensors.CPUUtilization, Value: 0.5, At: now}}}
		}
		snap := sensors.NewSnapshot(now, readings)
		refresh := func() {
			if err := f.Refresh(t.Context(), snap, now); err != nil {
				t.Fatal(err)
			}
		}
		refresh()
		if a := testing.AllocsPerRun(10, refresh); a > 1 {
			t.Errorf("%d servers: %v allocations, want 1", n, a)
		}
	}
}
