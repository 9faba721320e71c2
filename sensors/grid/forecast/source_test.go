package forecast_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
)

// level is about what each zone's intensity is: so far apart that data of another one show.
var level = map[string]float64{"GB": 20, "FR": 200, "DE": 2000}

func truth(zone string, at time.Time) grid.Point {
	return grid.Point{Zone: zone, Signal: grid.AverageDirect, Start: at, End: at.Add(time.Hour), Source: "provider",
		Value: level[zone] * (1 + 0.1*math.Sin(2*math.Pi*float64(at.Hour())/24))}
}

// provider has history until now, and a forecast of some hours; broken spoils its answers.
type provider struct {
	now    time.Time
	ahead  int
	broken func(zone string, ps []grid.Point) ([]grid.Point, error)
	asked  int
}

func (p *provider) Signal() grid.Signal { return grid.AverageDirect }

func (p *provider) answer(zone string, from, until time.Time) ([]grid.Point, error) {
	p.asked++
	if level[zone] == 0 {
		return nil, fmt.Errorf("zone %q: %w", zone, grid.ErrUnknownZone)
	}
	var ps []grid.Point
	for at := from.Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		ps = append(ps, truth(zone, at))
	}
	if p.broken != nil {
		return p.broken(zone, ps)
	}
	return ps, nil
}

func (p *provider) Current(_ context.Context, zone string) (grid.Point, error) {
	ps, err := p.answer(zone, p.now.Truncate(time.Hour), p.now.Add(time.Second))
	if err != nil || len(ps) == 0 {
		return grid.Point{}, errors.Join(err, grid.ErrUnknown)
	}
	return ps[0], nil
}

func (p *provider) History(_ context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	return p.answer(zone, from, until)
}

func (p *provider) Forecast(_ context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if p.ahead == 0 {
		return nil, grid.ErrUnsupported
	}
	if end := p.now.Add(time.Duration(p.ahead) * time.Hour); end.Before(until) {
		until = end
	}
	return p.answer(zone, from, until)
}

func over(t testing.TB, p *provider, o forecast.SourceOptions) *forecast.Source {
	o.Now = func() time.Time { return p.now }
	s, err := forecast.NewSource(p, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOwnForecastWhereTheProviderHasNone(t *testing.T) {
	p := &provider{now: start.Add(30*24*time.Hour + 20*time.Minute)}
	s := over(t, p, forecast.SourceOptions{Past: 20 * 24 * time.Hour, Chunk: 5 * 24 * time.Hour, MaxZones: 2})
	ask := func(zone string, hours int) ([]grid.Point, error) {
		return grid.Forecast(t.Context(), s, zone, p.now, p.now.Add(time.Duration(hours)*time.Hour))
	}
	if _, err := s.Steps("GB"); !errors.Is(err, grid.ErrUnknown) {
		t.Errorf("before any history the error is %v, want ErrUnknown", err)
	}
	if _, err := ask("XX", 24); !errors.Is(err, grid.ErrUnknown) {
		t.Errorf("of a zone nobody knows the error is %v", err)
	}
	if _, err := ask("FR", 24); err == nil {
		t.Error("a third zone was taken up, though two are allowed")
	}
	if err := s.Refresh(t.Context()); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("the error of the round is %v, want that of XX", err)
	}
	ps, err := ask("GB", 24)
	if err != nil || len(ps) != 25 { // parts of the first and last hour
		t.Fatalf("%d points, error %v", len(ps), err)
	}
	for _, q := range ps {
		if want := truth("GB", q.Start).Value; math.Abs(q.Value-want) > 0.01*want || !q.Forecast || !q.Estimated || q.Zone != "GB" {
			t.Errorf("at %v: %+v, want %v", q.Start, q, want)
		}
	}
	if ps, err := ask("FR", 24); err != nil || len(ps) != 25 {
		t.Errorf("the room of the unknown zone was not given back: %v", err)
	}
	asked := p.asked
	p.now = p.now.Add(2 * time.Hour)
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.asked - asked; got > 2 {
		t.Errorf("two hours later %d questions: one for GB and one for FR suffice", got)
	}
	p.now = p.now.Add(25 * time.Hour)
	if _, err := ask("GB", 24); !errors.Is(err, grid.ErrStale) {
		t.Errorf("after a day without history the error is %v, want ErrStale", err)
	}
}

// A provider's forecast goes first, and the own one continues it without a gap or an overlap.
func TestShortForecastIsContinued(t *testing.T) {
	p := &provider{now: start.Add(30 * 24 * time.Hour), ahead: 6}
	s := over(t, p, forecast.SourceOptions{Zones: []string{"DE"}, Past: 10 * 24 * time.Hour})
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ps, err := s.Forecast(t.Context(), "DE", p.now, p.now.Add(24*time.Hour))
	if err != nil || len(ps) != 24 {
		t.Fatalf("%d points, error %v", len(ps), err)
	}
	for i, q := range ps {
		if want := p.now.Add(time.Duration(i) * time.Hour); !q.Start.Equal(want) || (q.Source == "provider") != (i < 6) {
			t.Errorf("point %d starts at %v, of %s", i, q.Start, q.Source)
		}
	}
}

func TestSourceRestart(t *testing.T) {
	p := &provider{now: start.Add(40 * 24 * time.Hour)}
	s := over(t, p, forecast.SourceOptions{Zones: []string{"GB"}, Past: 35 * 24 * time.Hour})
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := over(t, &provider{now: p.now}, forecast.SourceOptions{})
	from, values := s.Values("GB")
	if err := again.Restore("GB", "", from, values); err != nil {
		t.Fatal(err)
	}
	a, errA := s.Steps("GB")
	b, errB := again.Steps("GB")
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if !sameSteps(a, b) {
		t.Error("the forecast differs after a restart")
	}
	for name, bad := range map[string][]float64{"negative": {-5}, "billion": {1e9}, "infinite": {math.Inf(1)}} {
		if err := again.Restore("GB", "", from, bad); err == nil {
			t.Errorf("a value that is %s was restored", name)
		}
	}
	if _, err := again.Steps("GB"); err != nil {
		t.Errorf("a refused restore changed the forecast: %v", err)
	}
}

// An hour that the provider tells wrong for good is a gap: it takes no others with it, and the forecast goes on.
func TestOneBadHourIsAGap(t *testing.T) {
	p := &provider{now: start.Add(30 * 24 * time.Hour)}
	bad := p.now.Add(-2 * time.Hour)
	p.broken = func(_ string, ps []grid.Point) ([]grid.Point, error) {
		for i := range ps {
			if ps[i].Start.Equal(bad) {
				ps[i].Value = -5
			}
		}
		return ps, nil
	}
	s := over(t, p, forecast.SourceOptions{Zones: []string{"GB"}, Past: 10 * 24 * time.Hour})
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	from, values := s.Values("GB")
	if n := int(bad.Sub(from) / time.Hour); len(values) != n+2 || !math.IsNaN(values[n]) || math.IsNaN(values[n+1]) {
		t.Errorf("%d hours from %v: want a gap at %v alone", len(values), from, bad)
	}
	if _, err := s.Forecast(t.Context(), "GB", p.now, p.now.Add(time.Hour)); err != nil {
		t.Error(err)
	}
}

// While the provider is away the present is what the own forecast says, then the mean of what was; a zone that nobody knows stays unknown.
func TestPresentOfAnOutage(t *testing.T) {
	p := &provider{now: start.Add(30 * 24 * time.Hour)}
	s := over(t, p, forecast.SourceOptions{Zones: []string{"GB"}, Past: 10 * 24 * time.Hour})
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.broken = func(string, []grid.Point) ([]grid.Point, error) { return nil, errors.New("away") }
	for after, want := range map[time.Duration]string{7 * time.Hour: "leastwatt:forecast", 50 * time.Hour: "leastwatt:mean"} {
		p.now = start.Add(30*24*time.Hour + after)
		value := truth("GB", p.now).Value
		if want == "leastwatt:mean" {
			value = level["GB"]
		}
		if q, err := s.Current(t.Context(), "GB"); err != nil || q.Source != want || !q.Estimated || !q.Covers(p.now) || math.Abs(q.Value-value) > 0.01*value {
			t.Errorf("%v later: %+v, error %v, want %.2f of %s", after, q, err, value, want)
		}
	}
	if q, err := s.Current(t.Context(), "XX"); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("%+v, error %v, want ErrUnknownZone", q, err)
	}
	if q, err := s.Current(t.Context(), "FR"); err == nil {
		t.Errorf("of a zone without history %+v", q)
	}
}

// spoil returns an answer as bad providers give them.
func spoil(r *rand.Rand, zone string, ps []grid.Point) ([]grid.Point, error) {
	i := r.IntN(len(ps) + 1)
	bad := func(change func(*grid.Point)) ([]grid.Point, error) {
		if i < len(ps) {
			change(&ps[i])
		}
		return ps, nil
	}
	switch r.IntN(14) {
	case 0:
		return nil, errors.New("away")
	case 1:
		return nil, grid.ErrUnknown
	case 2:
		return nil, nil
	case 3:
		return bad(func(p *grid.Point) { p.Value = math.NaN() })
	case 4:
		return bad(func(p *grid.Point) { p.Value = -5 })
	case 5:
		return bad(func(p *grid.Point) { p.Value = 1e9 })
	case 6:
		return bad(func(p *grid.Point) { p.Zone = "XX" })
	case 7:
		return bad(func(p *grid.Point) { p.Signal = grid.MarginalDirect })
	case 8:
		return bad(func(p *grid.Point) { p.End = p.Start })
	case 9: // another zone's
		for k := range ps {
			ps[k] = truth("DE", ps[k].Start)
		}
		if zone == "DE" {
			return nil, grid.ErrUnknown
		}
		return ps, nil
	case 10: // an hour told twice
		return append(ps[:i:i], ps[max(i-1, 0):]...), nil
	case 11: // a gap
		return append(ps[:i:i], ps[min(i+r.IntN(30), len(ps)):]...), nil
	case 12:
		r.Shuffle(len(ps), func(a, b int) { ps[a], ps[b] = ps[b], ps[a] })
		return ps, nil
	}
	return ps[:i], nil // shorter than asked
}

// Whatever the provider does, a forecast is of the zone asked for, of valid points, in order, within what was asked; and it
// is there again when the provider is.
func TestRandomOutages(t *testing.T) {
	seeds := uint64(30)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 8))
		p := &provider{now: start.Add(20 * 24 * time.Hour)}
		s := over(t, p, forecast.SourceOptions{Zones: []string{"GB", "FR"}, Past: time.Duration(2+r.IntN(12)) * 24 * time.Hour, Chunk: time.Duration(1+r.IntN(72)) * time.Hour})
		answered := 0
		for range 60 {
			p.now = p.now.Add(time.Duration(1+r.IntN(1200)) * time.Minute)
			p.ahead = r.IntN(2) * r.IntN(50)
			p.broken = nil
			if r.IntN(3) > 0 {
				p.broken = func(zone string, ps []grid.Point) ([]grid.Point, error) {
					if r.IntN(2) == 0 {
						return ps, nil
					}
					return spoil(r, zone, ps)
				}
			}
			_ = s.Refresh(t.Context()) // fails as often as the provider does
			for _, zone := range []string{"GB", "FR", "DE"} {
				from := p.now.Add(time.Duration(r.IntN(600)-300) * time.Minute)
				until := from.Add(time.Duration(1+r.IntN(6000)) * time.Minute)
				ps, err := s.Forecast(t.Context(), zone, from, until)
				if err != nil {
					continue
				}
				answered++
				for i, q := range ps {
					if q.Zone != zone || q.Validate() != nil || math.Abs(math.Log(q.Value/level[zone])) > 0.5 {
						t.Fatalf("seed %d: %s is foretold %+v (%v)", seed, zone, q, q.Validate())
					}
					if !q.End.After(from) || !q.Start.Before(until) || i > 0 && q.Start.Before(ps[i-1].End) {
						t.Fatalf("seed %d: from %v until %v there is %+v after %+v", seed, from, until, q, ps[max(i-1, 0)])
					}
				}
			}
		}
		p.broken, p.ahead = nil, 0
		for range 3 {
			p.now = p.now.Add(9 * time.Hour)
			if err := s.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if ps, err := s.Forecast(t.Context(), "GB", p.now, p.now.Add(24*time.Hour)); err != nil || len(ps) < 24 {
			t.Errorf("seed %d: the provider is back, but there are %d points, error %v", seed, len(ps), err)
		}
		if answered < 60 {
			t.Errorf("seed %d: only %d answers were there to be checked", seed, answered)
		}
	}
}

func TestRunGoesOnUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sine, err := grid.ParseProfile("sine:300:100:86400", grid.AverageDirect, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := forecast.NewSource(sine, forecast.SourceOptions{Zones: []string{"GB"}, Past: 10 * 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		_, before := s.Values("GB")
		time.Sleep(5*time.Hour + time.Minute) // of the bubble's clock
		_, after := s.Values("GB")
		if len(before) < 9*24 || len(after) < len(before)+4 {
			t.Errorf("%d hours at once, %d five hours later", len(before), len(after))
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func ExampleSource() {
	now := func() time.Time { return start.Add(90 * 24 * time.Hour) }
	provider, err := grid.ParseProfile("sine:300:100:86400", grid.AverageDirect, 0, now)
	if err != nil {
		panic(err)
	}
	s, err := forecast.NewSource(provider, forecast.SourceOptions{Zones: []string{"GB"}, Now: now})
	if err != nil {
		panic(err)
	}
	if err := s.Refresh(context.Background()); err != nil { // or go s.Run(ctx)
		panic(err)
	}
	steps, err := s.Steps("GB")
	fmt.Println(len(steps), "hours from", steps[0].Start, err)
	// Output: 96 hours from 2026-04-01 00:00:00 +0000 UTC <nil>
}
