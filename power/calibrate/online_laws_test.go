package calibrate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/power/powertest"
	"github.com/leastwatt/leastwatt/power/prior"
)

func ExampleOnline() {
	start, err := prior.Default().Belief(prior.Hardware{Year: 2019, Chips: 2, Threads: 96})
	if err != nil {
		panic(err)
	}
	server := calibrate.NewOnline(start, calibrate.OnlineOptions{})
	for i := range 20 {
		u := float64(i%10) / 20
		if _, err := server.Observe(power.State{Utilization: u}, power.Watts(120+260*u)); err != nil {
			panic(err)
		}
	}
	m, err := server.Model()
	if err != nil {
		panic(err)
	}
	w, err := m.Predict(context.Background(), power.State{Utilization: 0.3})
	fmt.Printf("%.0f W, prior: %v, %v\n", float64(w), m.Prior(), err)
	// Output:
	// 198 W, prior: false, <nil>
}

func belief(t testing.TB, h prior.Hardware) prior.Belief {
	t.Helper()
	b, err := prior.Default().Belief(h)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func table(t testing.TB) []power.Server {
	t.Helper()
	s := power.Servers()
	if len(s) == 0 {
		t.Fatal("no embedded servers")
	}
	return s
}

func hardware(s *power.Server) prior.Hardware {
	return prior.Hardware{CPU: s.CPU, Year: s.Year, Chips: s.Chips, Cores: s.Cores, Threads: s.Threads, MemoryGB: s.MemoryGB}
}

// Whatever the readings, and however good the prior, what was learned is not worse than the prior on readings
// that were held out: on average over the embedded servers, for each way in which readings go wrong.
func TestNeverWorseThanPrior(t *testing.T) {
	starts := map[string]func(s *power.Server) prior.Belief{
		"statistics": func(s *power.Server) prior.Belief { return belief(t, hardware(s)) },
		"the right curve": func(s *power.Server) prior.Belief {
			return prior.Around(s.Curve(), 0.05, 0.03)
		},
		"a curve 3 % too high": func(s *power.Server) prior.Belief {
			c, err := s.Curve().Scale(1.03)
			if err != nil {
				t.Fatal(err)
			}
			return prior.Around(c, 0.05, 0.03)
		},
	}
	readings := map[string]func(truth power.Watts, i int, rng *rand.Rand) power.Watts{
		"2 % noise":     func(w power.Watts, _ int, rng *rand.Rand) power.Watts { return noisy(w, rng) },
		"whole 5 watts": func(w power.Watts, _ int, _ *rand.Rand) power.Watts { return power.Watts(math.Round(float64(w)/5) * 5) },
		"5 % wild": func(w power.Watts, _ int, rng *rand.Rand) power.Watts {
			if rng.Float64() < 0.05 {
				return w * power.Watts(0.2+3*rng.Float64())
			}
			return noisy(w, rng)
		},
	}
	for startName, start := range starts {
		for kind, reading := range readings {
			for _, low := range []bool{false, true} {
				rng := rand.New(rand.NewPCG(3, 4))
				var before, after tally
				for _, s := range table(t) {
					b, truth := start(&s), s.Curve()
					o := calibrate.NewOnline(b, calibrate.OnlineOptions{})
					load := func() float64 {
						if low {
							return 0.3 * rng.Float64()
						}
						return rng.Float64()
					}
					for i := range 200 {
						u := load()
						if _, err := o.Observe(power.State{Utilization: u}, reading(truth.At(u), i, rng)); err != nil {
							t.Fatal(err)
						}
					}
					m, err := o.Model()
					if err != nil {
						t.Fatal(err)
					}
					for range 50 {
						u := load()
						w := reading(truth.At(u), 0, rng)
						p, _ := b.At(u)
						before.add(math.Abs(float64(p/w) - 1))
						after.add(math.Abs(float64(m.Curve().At(u)/w) - 1))
					}
				}
				t.Logf("%-20s %-13s low loads %-5v: prior %.2f %%, learned %.2f %%", startName, kind, low, 100*before.mean(), 100*after.mean())
				if after.mean() > before.mean()*1.01 {
					t.Errorf("%s, %s, low %v: learned %.4f is worse than the prior's %.4f", startName, kind, low, after.mean(), before.mean())
				}
			}
		}
	}
}

// Readings that jump for good are a drift, found within 50 readings and learned within 200; noise alone is none.
func TestDrift(t *testing.T) {
	for _, s := range table(t)[:20] {
		for _, jump := range []float64{0.93, 1, 1.05, 1.3} {
			rng := rand.New(rand.NewPCG(uint64(len(s.Model)), 9))
			o := calibrate.NewOnline(belief(t, hardware(&s)), calibrate.OnlineOptions{})
			truth := s.Curve()
			read := func(f float64) calibrate.Event {
				u := rng.Float64()
				ev, err := o.Observe(power.State{Utilization: u}, noisy(truth.At(u)*power.Watts(f), rng))
				if err != nil {
					t.Fatal(err)
				}
				return ev
			}
			for range 500 {
				if read(1)&calibrate.Drift != 0 {
					t.Errorf("%s: a drift where nothing changed", s.Name())
				}
			}
			found := 0
			for i := range 200 {
				if read(jump)&calibrate.Drift != 0 && found == 0 {
					found = i + 1
				}
			}
			if jump == 1 {
				if found != 0 {
					t.Errorf("%s: a drift where nothing changed", s.Name())
				}
				continue
			}
			if found == 0 || found > 50 {
				t.Errorf("%s: a jump by %v was found after %d readings", s.Name(), jump, found)
			}
			if (o.Shift() > 0) != (jump > 1) {
				t.Errorf("%s: a jump by %v is told as %v", s.Name(), jump, o.Shift())
			}
			m, err := o.Model()
			if err != nil {
				t.Fatal(err)
			}
			if e := math.Abs(float64(m.Curve().At(0.5)/truth.At(0.5))/jump - 1); e > 0.02 {
				t.Errorf("%s: after a jump by %v the curve is off by %.3f", s.Name(), jump, e)
			}
		}
	}
}

// A sensor that repeats one figure whatever the load is said to be stuck, and teaches nothing more.
func TestStuck(t *testing.T) {
	o := calibrate.NewOnline(belief(t, prior.Hardware{Year: 2019}), calibrate.OnlineOptions{})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		u := rng.Float64()
		if _, err := o.Observe(power.State{Utilization: u}, noisy(power.Watts(100+200*u), rng)); err != nil {
			t.Fatal(err)
		}
	}
	stuck := 0
	for range 500 {
		ev, err := o.Observe(power.State{Utilization: rng.Float64()}, 217)
		if err != nil {
			t.Fatal(err)
		}
		if ev&calibrate.Stuck != 0 {
			stuck++
		}
	}
	if stuck < 480 {
		t.Errorf("%d of 500 readings were seen as stuck", stuck)
	}
	m, err := o.Model()
	if err != nil {
		t.Fatal(err)
	}
	if w := m.Curve().At(1); math.Abs(float64(w)/300-1) > 0.06 {
		t.Errorf("a stuck sensor moved the peak to %v", w)
	}
}

// The curve rises where readings only wobble, and falls where they say so.
func TestMonotone(t *testing.T) {
	for _, fall := range []bool{false, true} {
		o := calibrate.NewOnline(belief(t, prior.Hardware{Year: 2019}), calibrate.OnlineOptions{})
		rng := rand.New(rand.NewPCG(1, 2))
		for range 2000 {
			u := rng.Float64()
			w := power.Watts(200)
			if fall && u > 0.85 {
				w = 180
			}
			if _, err := o.Observe(power.State{Utilization: u}, noisy(w, rng)); err != nil {
				t.Fatal(err)
			}
		}
		m, err := o.Model()
		if err != nil {
			t.Fatal(err)
		}
		k := m.Curve().Knots()
		falls := 0
		for i := 1; i < len(k); i++ {
			if k[i].Watts < k[i-1].Watts {
				falls++
			}
		}
		if fall != (falls > 0) {
			t.Errorf("fall %v: the curve falls %d times: %v", fall, falls, k)
		}
	}
}

// The response to the inlet temperature is learned, and asked for.
func TestInletIsLearned(t *testing.T) {
	o := calibrate.NewOnline(belief(t, prior.Hardware{Year: 2019}), calibrate.OnlineOptions{})
	rng := rand.New(rand.NewPCG(1, 2))
	const per = 0.007
	for range 3000 {
		u, c := rng.Float64(), power.Celsius(18+14*rng.Float64())
		w := power.Watts((150 + 100*u) * math.Exp(per*float64(c-calibrate.ReferenceInlet)))
		if _, err := o.Observe(power.State{Utilization: u, InletTemp: &c}, noisy(w, rng)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := o.Model()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.PerDegree(); math.Abs(got-per) > 0.0007 {
		t.Errorf("%v per °C: want %v", got, per)
	}
	cold, err := m.Predict(t.Context(), power.State{Utilization: 0.5, InletTemp: new(power.Celsius(20))})
	if err != nil {
		t.Fatal(err)
	}
	warm, err := m.Predict(t.Context(), power.State{Utilization: 0.5, InletTemp: new(power.Celsius(30))})
	if err != nil {
		t.Fatal(err)
	}
	if warm < cold*1.05 {
		t.Errorf("%v at 20 °C and %v at 30 °C", cold, warm)
	}
}

func TestInvalidReadingChangesNothing(t *testing.T) {
	o := calibrate.NewOnline(belief(t, prior.Hardware{}), calibrate.OnlineOptions{})
	before := *o
	for _, r := range []struct{ u, w float64 }{{math.NaN(), 100}, {-0.1, 100}, {1.1, 100}, {0.5, 0}, {0.5, -5}, {0.5, math.NaN()}, {0.5, math.Inf(1)}} {
		if _, err := o.Observe(power.State{Utilization: r.u}, power.Watts(r.w)); !errors.Is(err, calibrate.ErrReading) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if *o != before {
		t.Error("an invalid reading changed the learner")
	}
}

// A learner that was written and read goes on as if it had not stopped.
func TestRestart(t *testing.T) {
	o := calibrate.NewOnline(belief(t, prior.Hardware{Year: 2019}), calibrate.OnlineOptions{})
	rng := rand.New(rand.NewPCG(1, 2))
	observe := func(o *calibrate.Online, u, w float64) {
		if _, err := o.Observe(power.State{Utilization: u, InletTemp: new(power.Celsius(22))}, power.Watts(w)); err != nil {
			t.Fatal(err)
		}
	}
	for range 333 {
		u := rng.Float64()
		observe(o, u, 100+150*u+rng.NormFloat64())
	}
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := calibrate.ReadOnline(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.File("node-1")
	if err != nil {
		t.Fatal(err)
	}
	text, err := model.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	read, err := model.Unmarshal(text)
	if err != nil {
		t.Fatal(err)
	}
	filed, err := calibrate.OnlineFrom(read)
	if err != nil || *filed != *again {
		t.Fatalf("the learner of the model file differs (%v)", err)
	}
	if _, err := calibrate.OnlineFrom(&model.Model{Name: "fixed", Form: power.Linear{}}); !errors.Is(err, calibrate.ErrNotLearning) {
		t.Errorf("a model without a learner: %v", err)
	}
	for range 50 {
		u := rng.Float64()
		w := 100 + 150*u + rng.NormFloat64()
		observe(o, u, w)
		observe(again, u, w)
	}
	if *o != *again {
		t.Error("the learner that was read goes another way")
	}
}

func TestLearnedConformance(t *testing.T) {
	o := calibrate.NewOnline(belief(t, prior.Hardware{Year: 2019}), calibrate.OnlineOptions{})
	m, err := o.Model()
	if err != nil {
		t.Fatal(err)
	}
	if !m.Prior() {
		t.Error("a model without readings is not called a prior")
	}
	if err := powertest.TestPredictor(m, power.State{Node: "n"}, power.State{Node: "n", Utilization: 0.7, InletTemp: new(power.Celsius(27))}); err != nil {
		t.Error(err)
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	o := calibrate.NewOnline(belief(t, prior.Hardware{}), calibrate.OnlineOptions{})
	s := power.State{Utilization: 0.4, InletTemp: new(power.Celsius(24))}
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := o.Observe(s, 200); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzReadOnline(f *testing.F) {
	b, err := prior.Default().Belief(prior.Hardware{Year: 2019})
	if err != nil {
		f.Fatal(err)
	}
	data, err := json.Marshal(calibrate.NewOnline(b, calibrate.OnlineOptions{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":"leastwatt-online/1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := calibrate.ReadOnline(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, u := range []float64{0, 0.37, 1, 0.99} {
			if _, err := o.Observe(power.State{Utilization: u, InletTemp: new(power.Celsius(31))}, 200); err != nil {
				t.Errorf("a file that was read cannot learn: %v", err)
			}
		}
		if _, err := o.Model(); err != nil {
			t.Errorf("a file that was read makes no model: %v", err)
		}
	})
}

// A server that draws five times as much, or a fifth, of what any like it was thought to is learned in ten
// readings all the same.
func TestFarFromTheStart(t *testing.T) {
	for _, s := range table(t) {
		for _, f := range []float64{0.2, 5} {
			o := calibrate.NewOnline(belief(t, hardware(&s)), calibrate.OnlineOptions{})
			rng := rand.New(rand.NewPCG(4, 4))
			for range 10 {
				u := rng.Float64()
				if _, err := o.Observe(power.State{Utilization: u}, noisy(s.Curve().At(u)*power.Watts(f), rng)); err != nil {
					t.Fatal(err)
				}
			}
			m, err := o.Model()
			if err != nil {
				t.Fatal(err)
			}
			if e := math.Abs(float64(m.Curve().At(0.5)/s.Curve().At(0.5))/f - 1); e > 0.15 {
				t.Errorf("%s times %v: off by %.3f after ten readings", s.Name(), f, e)
			}
		}
	}
}

// A year of readings leaves the filter sound: the noise is found, the curve is right, and it can be saved.
func TestManyReadings(t *testing.T) {
	n := 2_000_000 // a reading every 15 s for a year
	if testing.Short() {
		n = 100_000
	}
	o := calibrate.NewOnline(belief(t, prior.Hardware{Year: 2019}), calibrate.OnlineOptions{})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		u := 0.3 + 0.05*rng.NormFloat64() // mostly one load
		if i%5000 == 0 {
			u = rng.Float64()
		}
		u = min(max(u, 0), 1)
		if _, err := o.Observe(power.State{Utilization: u}, power.Watts((100+200*u)*(1+0.01*rng.NormFloat64()))); err != nil {
			t.Fatal(err)
		}
	}
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := calibrate.ReadOnline(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	m, err := o.Model()
	if err != nil {
		t.Fatal(err)
	}
	if w := float64(m.Curve().At(0.3)); math.Abs(w/160-1) > 0.005 {
		t.Errorf("at 0.3: %.2f W, want 160", w)
	}
	if w := float64(m.Curve().At(0.9)); math.Abs(w/280-1) > 0.06 {
		t.Errorf("at 0.9, hardly ever seen: %.2f W, want 280", w)
	}
	if math.Abs(m.Noise()-0.01) > 0.001 {
		t.Errorf("noise %.4f, want 0.01", m.Noise())
	}
	if o.Drifts() > n/200_000 {
		t.Errorf("%d drifts where nothing changed", o.Drifts())
	}
}
