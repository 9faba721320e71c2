package forecast_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// feed gives the model n hours of a daily wave with noise, and returns what it gave.
func feed(t testing.TB, m *forecast.Model, n int, from time.Time, seed uint64) []float64 {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([]float64, n)
	for h := range out {
		out[h] = 300 + 100*math.Sin(2*math.Pi*float64(h)/24) + 10*r.NormFloat64()
		if err := m.Observe(from.Add(time.Duration(h)*time.Hour), out[h]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestBadHoursAreRefusedAndChangeNothing(t *testing.T) {
	m := forecast.NewModel(forecast.Options{})
	feed(t, m, 48, start, 1)
	for name, bad := range map[string]struct {
		at    time.Time
		value float64
	}{
		"backwards":     {start, 1},
		"twice":         {start.Add(47 * time.Hour), 1},
		"between hours": {start.Add(48*time.Hour + time.Minute), 1},
		"NaN":           {m.Next(), math.NaN()},
		"infinite":      {m.Next(), math.Inf(1)},
		"negative":      {m.Next(), -5},
	} {
		if err := m.Observe(bad.at, bad.value); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if want := start.Add(48 * time.Hour); !m.Next().Equal(want) {
		t.Errorf("next hour is %v, want %v", m.Next(), want)
	}
}

func TestTooLittleHistory(t *testing.T) {
	m := forecast.NewModel(forecast.Options{})
	feed(t, m, 23, start, 1)
	if _, err := m.Forecast(1); !errors.Is(err, forecast.ErrTooShort) {
		t.Errorf("error is %v, want ErrTooShort", err)
	}
	feed2 := start.Add(23 * time.Hour)
	if err := m.Observe(feed2, 100); err != nil {
		t.Fatal(err)
	}
	steps, err := m.Forecast(24)
	if err != nil {
		t.Fatal(err)
	}
	if got := steps[23].Value; math.Abs(got-100) > 1e-9 {
		t.Errorf("a day later is %v, want the naive 100", got)
	}
	for _, h := range []int{0, -1, forecast.Horizon + 1} {
		if _, err := m.Forecast(h); err == nil {
			t.Errorf("a forecast of %d hours was made", h)
		}
	}
}

// A model that observes again what another held says the same: restarts lose nothing.
func TestRestart(t *testing.T) {
	m := forecast.NewModel(forecast.Options{})
	feed(t, m, 60*24, start, 1)
	if err := m.Observe(m.Next().Add(5*time.Hour), 250); err != nil { // a gap
		t.Fatal(err)
	}
	again := forecast.NewModel(forecast.Options{})
	from, values := m.Values()
	for h, v := range values {
		if math.IsNaN(v) {
			continue
		}
		if err := again.Observe(from.Add(time.Duration(h)*time.Hour), v); err != nil {
			t.Fatal(err)
		}
	}
	a, err := m.Forecast(forecast.Horizon)
	if err != nil {
		t.Fatal(err)
	}
	b, err := again.Forecast(forecast.Horizon)
	if err != nil {
		t.Fatal(err)
	}
	for h := range a {
		if a[h] != b[h] {
			t.Fatalf("hour %d: %+v before the restart, %+v after", h, a[h], b[h])
		}
	}
}

// A day without data neither stops the model nor teaches it anything; a month without starts it anew.
// A provider that lacks an hour or two of every day, from the first on, is learned from as one that has them: nearly as well, and with intervals.
func TestAnHourOfEachDayIsMissing(t *testing.T) {
	whole, holed := forecast.NewModel(forecast.Options{}), forecast.NewModel(forecast.Options{})
	var last, missing int
	r := rand.New(rand.NewPCG(5, 6))
	level := 0.0
	for h := range 90 * 24 {
		level = 0.98*level + 8*r.NormFloat64()
		v := 300 + level + 80*math.Sin(2*math.Pi*float64(h%24)/24)
		at := start.Add(time.Duration(h) * time.Hour)
		if err := whole.Observe(at, v); err != nil {
			t.Fatal(err)
		}
		if h%24 == 3 || h%24 >= 5 && h%24 <= 6 {
			missing++
			continue
		}
		if err := holed.Observe(at, v); err != nil {
			t.Fatal(err)
		}
		last = h
	}
	if last != 90*24-1 || !holed.Next().Equal(whole.Next()) {
		t.Fatalf("they end at %v and %v", holed.Next(), whole.Next())
	}
	if _, values := holed.Values(); len(values) != 90*24 || !math.IsNaN(values[3]) {
		t.Errorf("%d hours are known, want all, and the missing ones as such", len(values))
	}
	a, errA := whole.Forecast(48)
	b, errB := holed.Forecast(48)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	for h := range a {
		if math.Abs(a[h].Value-b[h].Value) > 20 || !(b[h].Low < b[h].High) || math.Abs((b[h].High-b[h].Low)/(a[h].High-a[h].Low)-1) > 0.4 {
			t.Errorf("in %d hours %.0f (%.0f to %.0f) with all hours, %.0f (%.0f to %.0f) without %d of them", h, a[h].Value, a[h].Low, a[h].High, b[h].Value, b[h].Low, b[h].High, missing)
		}
	}
	start, values := holed.Values()
	again := forecast.NewModel(forecast.Options{})
	for h, v := range values {
		if !math.IsNaN(v) {
			if err := again.Observe(start.Add(time.Duration(h)*time.Hour), v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c, err := again.Forecast(48); err != nil || !sameSteps(b, c) {
		t.Errorf("after a restart the forecast differs: %v", err)
	}
}

func TestGaps(t *testing.T) {
	m := forecast.NewModel(forecast.Options{})
	feed(t, m, 40*24, start, 1)
	if err := m.Observe(m.Next().Add(24*time.Hour), 300); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Forecast(forecast.Horizon); err != nil {
		t.Errorf("after a gap of a day: %v", err)
	}
	if err := m.Observe(m.Next().Add(30*24*time.Hour), 300); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Forecast(1); !errors.Is(err, forecast.ErrTooShort) {
		t.Errorf("after a gap of a month the error is %v, want ErrTooShort", err)
	}
}

// Prices go below zero, and a forecast of them does too.
func TestNegativePrices(t *testing.T) {
	m := forecast.NewModel(forecast.Options{Additive: true})
	for h := range 60 * 24 {
		if err := m.Observe(start.Add(time.Duration(h)*time.Hour), 0.05-0.1*math.Sin(2*math.Pi*float64(h)/24)); err != nil {
			t.Fatal(err)
		}
	}
	steps, err := m.Forecast(24)
	if err != nil {
		t.Fatal(err)
	}
	if got := steps[6].Value; math.Abs(got-(-0.05)) > 0.005 {
		t.Errorf("at the sixth hour the price is forecast as %v, want −0.05", got)
	}
}

// Memory is bounded, and what is forgotten changes the forecast little.
func TestHistoryIsBounded(t *testing.T) {
	m := forecast.NewModel(forecast.Options{MaxHistory: 60 * 24})
	feed(t, m, 150*24, start, 1)
	if _, v := m.Values(); len(v) > 75*24 {
		t.Errorf("%d hours are held, want at most 1.25 times the 1,440 allowed", len(v))
	}
	steps, err := m.Forecast(48)
	if err != nil {
		t.Fatal(err)
	}
	for h, s := range steps {
		want := 300 + 100*math.Sin(2*math.Pi*float64(h)/24)
		if math.Abs(s.Value-want) > 15 {
			t.Errorf("hour %d: %v, want about %v", h, s.Value, want)
		}
		if !(s.Low < s.Value && s.Value < s.High) {
			t.Errorf("hour %d: %v lies outside its interval %v to %v", h, s.Value, s.Low, s.High)
		}
	}
}

// drift observes hours whose logarithm returns slowly to a daily wave, and returns the sums, over the forecasts issued after the first hours, of the absolute error of
// Value in the logarithm on the first day, of that which the best forecast makes, of what came, of Value and of Mean.
func drift(t *testing.T, m *forecast.Model, hours, first int, noise float64) (own, best, came, value, expected float64) {
	t.Helper()
	const stays = 0.95 // of a deviation after an hour
	r := rand.New(rand.NewPCG(7, 0))
	wave := func(h int) float64 { return math.Log(300) + 0.3*math.Sin(2*math.Pi*float64(h)/24) }
	off := make([]float64, hours)
	for h := 1; h < hours; h++ {
		off[h] = stays*off[h-1] + noise*math.Sqrt(1-stays*stays)*r.NormFloat64()
	}
	for h := range hours - 24 {
		if h >= first && h%5 == 0 {
			steps, err := m.Forecast(24)
			if err != nil {
				t.Fatal(err)
			}
			for k, s := range steps {
				y := wave(h+k) + off[h+k]
				own += math.Abs(math.Log(s.Value) - y)
				best += math.Abs(wave(h+k) + math.Pow(stays, float64(k+1))*off[h-1] - y)
				came, value, expected = came+math.Exp(y), value+s.Value, expected+s.Mean
			}
		}
		if err := m.Observe(start.Add(time.Duration(h)*time.Hour), math.Exp(wave(h)+off[h])); err != nil {
			t.Fatal(err)
		}
	}
	return own, best, came, value, expected
}

// A signal that returns slowly to its usual day is forecast nearly as well as can be after weeks, not after a year.
func TestLearnsInWeeks(t *testing.T) {
	own, best, _, _, _ := drift(t, forecast.NewModel(forecast.Options{}), 120*24, 45*24, 0.3)
	t.Logf("the error is %.3f times that of the best forecast", own/best)
	if own > 1.07*best {
		t.Errorf("the error is %.3f times that of the best forecast, want at most 1.07", own/best)
	}
}

// What is expected in the mean is what comes in the mean, and lies above the median where a signal rises further than it falls.
func TestMeanOfWhatComes(t *testing.T) {
	_, _, came, value, expected := drift(t, forecast.NewModel(forecast.Options{}), 400*24, 60*24, 0.6)
	t.Logf("Value is %.3f of what came in the mean, Mean %.3f", value/came, expected/came)
	if math.Abs(expected/came-1) > 0.05 || value > 0.93*came {
		t.Errorf("Value is %.3f of what came in the mean, want less than 0.93; Mean %.3f, want 1", value/came, expected/came)
	}
	m := forecast.NewModel(forecast.Options{Additive: true})
	feed(t, m, 60*24, start, 1)
	steps, err := m.Forecast(24)
	if err != nil {
		t.Fatal(err)
	}
	for h, s := range steps {
		if s.Mean != s.Value {
			t.Errorf("hour %d of a price: mean %v, value %v: want the same", h, s.Mean, s.Value)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	m := forecast.NewModel(forecast.Options{})
	feed(b, m, 60*24, start, 1)
	for b.Loop() {
		if err := m.Observe(m.Next(), 300); err != nil {
			b.Fatal(err)
		}
	}
}
