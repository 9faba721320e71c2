package grid_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

func TestProfiles(t *testing.T) {
	clock := func() time.Time { return noon }
	for text, want := range map[string][2]float64{
		"static:250":           {250, 250},
		"sine:300:100:86400":   {200, 400},
		"randwalk:100:500:900": {100, 500},
	} {
		p, err := grid.ParseProfile(text, grid.AverageLifeCycle, 7, clock)
		if err != nil {
			t.Fatal(err)
		}
		ps, err := p.Forecast(t.Context(), "z", noon, noon.Add(10*24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		low, high := math.Inf(1), math.Inf(-1)
		for i, pt := range ps {
			low, high = min(low, pt.Value), max(high, pt.Value)
			if err := pt.Validate(); err != nil || i > 0 && !pt.Start.Equal(ps[i-1].End) {
				t.Fatalf("%s: point %d at %v does not follow (%v)", text, i, pt.Start, err)
			}
		}
		if low < want[0]-1e-9 || high > want[1]+1e-9 || high-low < 0.6*(want[1]-want[0]) {
			t.Errorf("%s goes from %v to %v, want about %v", text, low, high, want)
		}
		if now, err := p.Current(t.Context(), "z"); err != nil || now.Value != ps[0].Value {
			t.Errorf("%s: now is %v (error %v), the forecast of now %v", text, now.Value, err, ps[0].Value)
		}
	}
	for _, bad := range []string{"", "static", "static:x", "static:-5", "static:NaN", "static:1:2", "sine:1:2", "sine:10:100:86400", "sine:1:1:0", "randwalk:5:1:60", "randwalk:1:5:0", "cosine:1:2:3", "static:1e9"} {
		if _, err := grid.ParseProfile(bad, grid.AverageLifeCycle, 1, nil); err == nil || !strings.Contains(err.Error(), "profile") {
			t.Errorf("%q: error is %v", bad, err)
		}
	}
}

// At the change of clocks in spring a day has 23 hours; prices go by the wall.
func TestTimeOfUseFollowsTheWallClock(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here")
	}
	tou, err := grid.NewTimeOfUse("EUR", 0.30, []grid.Rate{{From: 0, Until: 6 * time.Hour, Price: 0.20},
		{Days: []time.Weekday{time.Sunday}, From: 0, Until: 24 * time.Hour, Price: 0.25}}, grid.TariffOptions{Location: berlin})
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 3, 28, 23, 0, 0, 0, time.UTC) // midnight before the Sunday of the change
	ps, err := tou.Forecast(t.Context(), "DE", from, from.Add(23*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if mean, covered := grid.Mean(ps, from, from.Add(23*time.Hour)); covered != 1 || math.Abs(mean-(5*0.20+18*0.25)/23) > 1e-12 {
		t.Errorf("mean price %v over %v of the day, want 5 cheap hours and 18 of Sunday", mean, covered)
	}
	for _, bad := range []grid.Rate{{From: 2, Until: 1}, {From: 0, Until: 25 * time.Hour, Price: 1}, {From: 0, Until: time.Hour, Price: math.NaN()}} {
		if _, err := grid.NewTimeOfUse("EUR", 0.3, []grid.Rate{bad}, grid.TariffOptions{}); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// flaky is a source that counts its callers and fails when told.
type flaky struct {
	calls int
	err   error
	value float64
}

func (f *flaky) Signal() grid.Signal { return grid.AverageLifeCycle }

func (f *flaky) Current(_ context.Context, zone string) (grid.Point, error) {
	f.calls++
	if f.err != nil {
		return grid.Point{}, f.err
	}
	now := time.Now().Truncate(time.Hour)
	return grid.Point{Zone: zone, Signal: f.Signal(), Start: now, End: now.Add(time.Hour), Value: f.value}, nil
}

type throttled struct{}

func (throttled) Error() string             { return "too many requests" }
func (throttled) RetryAfter() time.Duration { return 3 * time.Hour }

func TestCachedAsksSeldomAndOutlivesItsProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{value: 100}
		c := grid.NewCached(f, grid.CacheOptions{Interval: 10 * time.Minute, MaxAge: time.Hour})
		for range 5 {
			if p, err := c.Current(t.Context(), "GB"); err != nil || p.Value != 100 {
				t.Fatalf("value %v, error %v", p.Value, err)
			}
		}
		if f.calls != 1 {
			t.Errorf("five callers asked %d times", f.calls)
		}
		f.err = throttled{}
		time.Sleep(90 * time.Minute) // of the bubble's clock
		if p, err := c.Current(t.Context(), "GB"); err != nil || p.Value != 100 {
			t.Errorf("half an hour after its end the value is %v, error %v", p.Value, err)
		}
		time.Sleep(time.Hour)
		if _, err := c.Current(t.Context(), "GB"); !errors.As(err, new(throttled)) {
			t.Errorf("beyond MaxAge the error is %v, want the provider's", err)
		}
		if f.calls != 2 {
			t.Errorf("a provider that wants three hours of peace was asked %d times", f.calls)
		}
		f.err = nil
		time.Sleep(3 * time.Hour)
		if _, err := c.Current(t.Context(), "GB"); err != nil {
			t.Errorf("the provider is back, but: %v", err)
		}
	})
}

func TestFallback(t *testing.T) {
	away, works := &flaky{err: grid.ErrUnknown}, &flaky{value: 7}
	nonsense := &flaky{value: 1e9}
	f, err := grid.NewFallback(away, nonsense, works)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := f.Current(t.Context(), "GB"); err != nil || p.Value != 7 {
		t.Errorf("value %v, error %v; want that of the one that works", p.Value, err)
	}
	works.err = grid.ErrUnknownZone
	if _, err := f.Current(t.Context(), "GB"); !errors.Is(err, grid.ErrUnknown) || errors.Is(err, grid.ErrUnknownZone) || !errors.Is(err, grid.ErrImplausible) || !strings.Contains(err.Error(), "unknown zone") {
		t.Errorf("error is %v, want all three, and no zone that is unknown to each", err)
	}
	price, err := grid.ParseProfile("static:0.2", grid.Price, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grid.NewFallback(works, price); !errors.Is(err, grid.ErrImplausible) {
		t.Errorf("a price behind an intensity: error is %v", err)
	}
}

func FuzzParseProfile(f *testing.F) {
	for _, s := range []string{"static:1", "sine:300:100:86400", "randwalk:1:2:900"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := grid.ParseProfile(s, grid.AverageLifeCycle, 1, func() time.Time { return noon })
		if err != nil {
			return
		}
		if _, err := p.Current(t.Context(), "z"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Forecast(t.Context(), "z", noon, noon.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	})
}
