package scoring_test

import (
	"context"
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
