package scoring_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/scoringtest"
	"github.com/leastwatt/leastwatt/sensors"
)

// fleetOf refreshes a fleet of servers with these readings.
func fleetOf(t *testing.T, readings map[string][]sensors.Reading, specs ...scoring.Spec) *scoring.View {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	f := scoring.NewFleet(scoring.FleetOptions{})
	m := make(map[string]*sensors.NodeReadings)
	for _, s := range specs {
		f.Put(s)
		for i := range readings[s.Name] {
			readings[s.Name][i].At = now
		}
		m[s.Name] = &sensors.NodeReadings{Node: s.Name, Tried: now, Readings: readings[s.Name]}
	}
	for range 2 { // the second round takes what it can from the first
		if err := f.Refresh(t.Context(), sensors.NewSnapshot(now, m), now); err != nil {
			t.Fatal(err)
		}
	}
	return f.View()
}

// Two of eight GPUs at 100 W each are 200 W more, wherever the CPU's curve is; a limit caps them.
func TestGPUs(t *testing.T) {
	gpu := func(limit power.Watts) power.Predictor {
		p, err := power.NewGPU(power.Linear{Idle: 100, Peak: 200}, power.GPU{Input: "gpu_utilization_ratio", Count: 8, Idle: 20, Active: 100, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	read := []sensors.Reading{{Kind: sensors.CPUUtilization, Value: 0.5}, {Kind: sensors.GPUUtilization, Value: 0.5}}
	v := fleetOf(t, map[string][]sensors.Reading{"free": read, "capped": read, "none": read, "blind": read[:1]},
		scoring.Spec{Name: "free", Capacity: power.Capacity{Cores: 10}, Predictor: gpu(0)},
		scoring.Spec{Name: "capped", Capacity: power.Capacity{Cores: 10}, Predictor: gpu(80)},
		scoring.Spec{Name: "none", Capacity: power.Capacity{Cores: 10}, Predictor: power.Linear{Idle: 100, Peak: 200}},
		scoring.Spec{Name: "blind", Capacity: power.Capacity{Cores: 10}, Predictor: gpu(0)})
	d := scoring.Demand{CPU: 1, GPUs: 2}
	for _, s := range []scoring.Scorer{scoring.EnvelopePower{}, scoring.MarginalPower{}} {
		costs, err := s.Score(t.Context(), d, v.Nodes())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range costs {
			switch c.Node {
			case "free": // 10 W of CPU
				if math.Abs(c.Value-210) > 1e-9 || c.Err != nil {
					t.Errorf("%T: %+v: want 210 W", s, c)
				}
			case "capped": // each draws min(20 + 100·a, 80): 70 W at 0.5, 80 W at 0.75
				if math.Abs(c.Value-90) > 1e-9 || c.Err != nil {
					t.Errorf("%T: %+v: want 90 W", s, c)
				}
			case "none":
				if !errors.Is(c.Err, scoring.ErrNoGPU) {
					t.Errorf("%T: %+v: want an unknown cost", s, c)
				}
			case "blind":
				if !errors.Is(c.Err, power.ErrMissingInput) {
					t.Errorf("%T: %+v: want a missing input", s, c)
				}
			}
		}
	}
	// Who knows from elsewhere what the GPUs do, and the CPUs, may use the model: it is as if nothing ran there.
	for _, c := range []struct {
		name string
		read []sensors.Reading
	}{{"nothing is read", nil}, {"no GPU is read", read[:1]}, {"no CPU is read", read[1:]}} {
		v := fleetOf(t, map[string][]sensors.Reading{"n": c.read}, scoring.Spec{Name: "n", Capacity: power.Capacity{Cores: 10}, Predictor: gpu(0)})
		n := *v.Node("n")
		if n.Err == nil || !n.Unmeasured {
			t.Errorf("%s: %v, model ready %t: want an error, and it ready", c.name, n.Err, n.Unmeasured)
		}
		n.Assume(0.5, "requests")
		n.GPUActivity = 0
		if before, after, err := n.Power(t.Context(), &d); err != nil || math.Abs(float64(before)-(150+8*20)) > 1e-9 || math.Abs(float64(after)-(160+8*45)) > 1e-9 {
			t.Errorf("%s: power is %v and %v, %v", c.name, before, after, err)
		}
	}
	// The GPUs of a server that is off do nothing, whatever was read of them last.
	for _, read := range [][]sensors.Reading{nil, read} {
		off := scoring.Spec{Name: "off", Capacity: power.Capacity{Cores: 10}, Predictor: gpu(0), Off: true, OffPower: 7}
		v := fleetOf(t, map[string][]sensors.Reading{"off": read}, off)
		if before, after, err := v.Node("off").Power(t.Context(), &d); err != nil || before != 7 || math.Abs(float64(after)-(110+8*45)) > 1e-9 {
			t.Errorf("a server that is off, of which %d readings are there, draws %v and would draw %v, %v", len(read), before, after, err)
		}
	}
	n := *v.Node("free")
	n.GPUActivity = 0.75 // work that the measurement does not show
	if before, after, err := n.Power(t.Context(), &d); err != nil || math.Abs(float64(before)-(150+8*95)) > 1e-9 || math.Abs(float64(after)-(160+8*120)) > 1e-9 {
		t.Errorf("power is %v and %v, %v", before, after, err)
	}
	if err := (scoring.Demand{GPUs: math.NaN()}).Validate(); err == nil {
		t.Error("NaN GPUs are a valid demand")
	}
}

// Starting a server costs its energy over the horizon: 36 kJ over an hour are 10 W, over the lifetime of the work if
// that is known.
func TestWaking(t *testing.T) {
	w := scoring.Waking{Power: scoring.MarginalPower{}, Horizon: time.Hour}
	scoringtest.TestScorer(t, w)
	node := func(name string, off, empty bool) scoring.Node {
		return scoring.Node{Name: name, Capacity: power.Capacity{Cores: 10}, Predictor: curve(t, 100, 200), Off: off, OffPower: 5, Empty: empty, Wake: 36_000}
	}
	nodes := []scoring.Node{node("open", false, false), node("empty", false, true), node("off", true, true)}
	for _, x := range []struct {
		off      bool
		lifetime time.Duration
		want     [3]float64
	}{
		{false, 0, [3]float64{10, 10, 115}},
		{true, 0, [3]float64{10, 20, 115}},
		{true, 10 * time.Minute, [3]float64{10, 70, 165}},
	} {
		w.SwitchOff = x.off
		costs, err := w.Score(t.Context(), scoring.Demand{CPU: 1, Lifetime: x.lifetime}, nodes)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range x.want {
			if math.Abs(costs[i].Value-want) > 1e-9 {
				t.Errorf("switchOff %t, lifetime %v: %s costs %v: want %v", x.off, x.lifetime, costs[i].Node, costs[i].Value, want)
			}
		}
	}
	if _, err := (scoring.Waking{Power: scoring.MarginalPower{}}).Score(t.Context(), scoring.Demand{}, nodes); err == nil {
		t.Error("a horizon of 0 was taken")
	}
}

// A node whose utilization was not measured stays unknown until somebody says what it is; one without a model
// stays unknown then too.
func TestAssume(t *testing.T) {
	v := fleetOf(t, map[string][]sensors.Reading{"measured": {{Kind: sensors.CPUUtilization, Value: 0.5}}},
		scoring.Spec{Name: "measured", Capacity: power.Capacity{Cores: 10}, Predictor: power.Linear{Idle: 100, Peak: 200}},
		scoring.Spec{Name: "dark", Capacity: power.Capacity{Cores: 10}, Predictor: power.Linear{Idle: 100, Peak: 300}},
		scoring.Spec{Name: "unmodelled", Capacity: power.Capacity{Cores: 10}},
		scoring.Spec{Name: "hot", Capacity: power.Capacity{Cores: 10}, Predictor: inlet(t)})
	score := func(assume bool) map[string]scoring.Cost {
		out := make(map[string]scoring.Cost)
		for _, n := range v.Nodes() {
			if assume {
				n.Assume(0.3, "requests")
			}
			c, err := scoring.MarginalPower{}.Score(t.Context(), scoring.Demand{CPU: 1}, []scoring.Node{n})
			if err != nil {
				t.Fatal(err)
			}
			out[n.Name] = c[0]
			if x, err := scoring.Explain(t.Context(), scoring.MarginalPower{}, scoring.Demand{CPU: 1}, []scoring.Node{n}, v.At()); err != nil || (x[0].Source == "requests") != (assume && n.Name == "dark") {
				t.Errorf("%s is explained by %q, %v", n.Name, x[0].Source, err)
			}
		}
		return out
	}
	if got := score(false); got["dark"].Known() || !got["measured"].Known() {
		t.Errorf("costs are %+v", got)
	}
	got := score(true)
	if c := got["dark"]; !c.Known() || math.Abs(c.Value-20) > 1e-9 {
		t.Errorf("with 30 %% assumed the cost is %+v: want 20 W", c)
	}
	if got["unmodelled"].Known() || got["hot"].Known() || got["measured"].Value != 10 {
		t.Errorf("costs are %+v", got)
	}
}

// inlet is a model that needs an inlet temperature, which nobody measured.
func inlet(t *testing.T) power.Predictor {
	t.Helper()
	p, err := power.NewInlet(power.Linear{Idle: 100, Peak: 200}, power.PublishedInletResponse())
	if err != nil {
		t.Fatal(err)
	}
	return p
}
