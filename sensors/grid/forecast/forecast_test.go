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

func BenchmarkObserve(b *testing.B) {
	m := forecast.NewModel(forecast.Options{})
	feed(b, m, 60*24, start, 1)
	for b.Loop() {
		if err := m.Observe(m.Next(), 300); err != nil {
			b.Fatal(err)
		}
	}
}
