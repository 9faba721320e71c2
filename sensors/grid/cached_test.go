package grid_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// seer is a provider with history and a forecast, which counts questions and fails when told.
type seer struct {
	flaky
	future, past int
	level        float64
}

func (s *seer) hours(zone string, from, until time.Time) ([]grid.Point, error) {
	if s.err != nil {
		return nil, s.err
	}
	var ps []grid.Point
	for at := from.Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		ps = append(ps, grid.Point{Zone: zone, Signal: s.Signal(), Start: at, End: at.Add(time.Hour), Value: s.level + float64(at.Hour())})
	}
	return ps, nil
}

func (s *seer) Forecast(_ context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	s.future++
	return s.hours(zone, from, until)
}

func (s *seer) History(_ context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	s.past++
	return s.hours(zone, from, until)
}

// However often forecast and history are asked for, the provider is asked once an interval; what is answered is what was asked for.
func TestCachedForecastAndHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seer{level: 100}
		c := grid.NewCached(s, grid.CacheOptions{Interval: 10 * time.Minute})
		for range 9 {
			now := time.Now()
			ps, err := c.Forecast(t.Context(), "GB", now, now.Add(96*time.Hour))
			if err != nil || !ps[0].Covers(now) || !ps[len(ps)-1].Covers(now.Add(96*time.Hour-1)) {
				t.Fatalf("%d points, error %v", len(ps), err)
			}
			ps[0].Value = -1 // the caller's
			if ps, err = c.Forecast(t.Context(), "GB", now.Add(time.Hour), now.Add(2*time.Hour)); err != nil || ps[0].Value < 0 || len(ps) > 2 {
				t.Fatalf("%+v, error %v", ps, err)
			}
			if ps, err = c.History(t.Context(), "GB", now.Add(-120*time.Hour), now); err != nil || len(ps) < 120 {
				t.Fatalf("%d points, error %v", len(ps), err)
			}
			time.Sleep(time.Minute) // of the bubble's clock
		}
		if s.future != 1 || s.past != 1 {
			t.Errorf("asked %d times for the future and %d for the past: want once", s.future, s.past)
		}
		if ps, err := c.History(t.Context(), "GB", time.Now().Add(-200*time.Hour), time.Now().Add(-100*time.Hour)); err != nil || len(ps) < 100 || s.past != 2 {
			t.Errorf("%d points of days not asked for before, error %v, asked %d times", len(ps), err, s.past)
		}
		time.Sleep(10 * time.Minute)
		s.level = 200
		if ps, err := c.Forecast(t.Context(), "GB", time.Now(), time.Now().Add(time.Hour)); err != nil || ps[0].Value < 200 {
			t.Errorf("after the interval %+v, error %v", ps, err)
		}
	})
}

// Some who look at different stretches of the past, each going with the clock, do not have the provider asked anew at each look.
func TestCachedKeepsStretchesOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seer{level: 100}
		c := grid.NewCached(s, grid.CacheOptions{Interval: 10 * time.Minute})
		time.Sleep(30 * time.Minute)
		for range 9 {
			now := time.Now()
			for _, hours := range [][2]time.Duration{{48, 24}, {12, 6}, {200, 100}, {24, 0}} {
				from, until := now.Add(-hours[0]*time.Hour), now.Add(-hours[1]*time.Hour)
				ps, err := c.History(t.Context(), "GB", from, until)
				if err != nil || !ps[0].Covers(from) || !ps[len(ps)-1].Covers(until.Add(-1)) || ps[len(ps)-1].Start.After(until) {
					t.Fatalf("%v hours: %d points, error %v", hours, len(ps), err)
				}
			}
			time.Sleep(time.Minute) // of the bubble's clock
		}
		if s.past != 4 {
			t.Errorf("asked %d times about four stretches: want once each", s.past)
		}
		for h := range time.Duration(50) {
			if _, err := c.History(t.Context(), "GB", time.Now().Add(-h*time.Hour), time.Now().Add(-h*time.Hour+time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A provider that is away is followed by its last forecast, for a day, which also tells the present; and one that wants peace is asked for nothing.
func TestCachedGoesOnWithTheLastForecast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seer{level: 100}
		s.value = 7
		c := grid.NewCached(s, grid.CacheOptions{})
		ask := func() ([]grid.Point, error) {
			return c.Forecast(t.Context(), "GB", time.Now(), time.Now().Add(24*time.Hour))
		}
		if _, err := ask(); err != nil {
			t.Fatal(err)
		}
		s.err = errors.New("away")
		time.Sleep(6 * time.Hour)
		if ps, err := ask(); err != nil || !ps[0].Covers(time.Now()) {
			t.Errorf("six hours later the forecast is %+v, error %v", ps, err)
		}
		if p, err := c.Current(t.Context(), "GB"); err != nil || p.Value != 100+float64(time.Now().UTC().Hour()) || !p.Estimated {
			t.Errorf("six hours later the present is %+v, error %v", p, err)
		}
		asked := s.future
		if _, err := ask(); err != nil || s.future != asked {
			t.Errorf("asked %d times more within the interval, error %v", s.future-asked, err)
		}
		time.Sleep(19 * time.Hour)
		if ps, err := ask(); err == nil {
			t.Errorf("a day later the forecast is %+v", ps)
		}
		s.err = throttled{}
		time.Sleep(time.Hour)
		if _, err := ask(); !errors.As(err, new(throttled)) {
			t.Errorf("error %v", err)
		}
		asked = s.future + s.past + s.calls
		for range 5 {
			time.Sleep(30 * time.Minute)
			_, errs := ask()
			_, errp := c.History(t.Context(), "FR", time.Now().Add(-time.Hour), time.Now())
			_, errc := c.Current(t.Context(), "DE")
			for _, err := range []error{errs, errp, errc} {
				if !errors.As(err, new(throttled)) {
					t.Errorf("error %v, want the provider's", err)
				}
			}
		}
		if n := s.future + s.past + s.calls - asked; n != 0 {
			t.Errorf("a provider that wants three hours of peace was asked %d times", n)
		}
	})
}

// crowded is a provider whose quota is used up and that does not say until when.
type crowded struct {
	seer
	asked []time.Time
}

func (c *crowded) Current(context.Context, string) (grid.Point, error) {
	c.asked = append(c.asked, time.Now())
	return grid.Point{}, fmt.Errorf("quota: %w", &boundedhttp.StatusError{Method: "GET", URL: "http://provider", Code: http.StatusTooManyRequests})
}

// A provider that answers 429 to the questions of one zone is not asked about the others either, and ever more seldom.
func TestCachedLeavesAProviderAloneWhoseQuotaIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &crowded{}
		c := grid.NewCached(p, grid.CacheOptions{})
		for range 24 * 60 {
			for _, zone := range []string{"GB", "FR", "DE"} {
				if _, err := c.Current(t.Context(), zone); err == nil {
					t.Fatal("known")
				}
			}
			time.Sleep(time.Minute) // of the bubble's clock
		}
		if n := len(p.asked); n < 8 || n > 14 {
			t.Errorf("asked %d times in a day about three zones: want some tens of minutes between, then hours", n)
		}
		for i := 1; i < len(p.asked); i++ {
			if d := p.asked[i].Sub(p.asked[i-1]); d > grid.LongestPeace+5*time.Minute {
				t.Errorf("not asked for %v", d)
			}
		}
	})
}

// ahead is a provider whose points are of another time or zone than asked.
type ahead struct {
	flaky
	by   time.Duration
	zone string
}

func (a *ahead) Current(ctx context.Context, zone string) (grid.Point, error) {
	if a.zone != "" {
		zone = a.zone
	}
	p, err := a.flaky.Current(ctx, zone)
	p.Start, p.End = p.Start.Add(a.by), p.End.Add(a.by)
	return p, err
}

// A value of a time to come would seem fresh while its provider is away, however long: it is refused, and so is that of another zone.
func TestCachedRefusesWhatWasNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &ahead{flaky: flaky{value: 7}, by: 30 * 24 * time.Hour}
		c := grid.NewCached(p, grid.CacheOptions{})
		if got, err := c.Current(t.Context(), "GB"); !errors.Is(err, grid.ErrImplausible) {
			t.Errorf("of next month %+v, error %v, want ErrImplausible", got, err)
		}
		p.err = errors.New("away")
		time.Sleep(24 * time.Hour)
		if got, err := c.Current(t.Context(), "GB"); err == nil {
			t.Errorf("a day after the provider went it is %+v", got)
		}
		*p = ahead{flaky: flaky{value: 7}, zone: "FR"}
		if got, err := c.Current(t.Context(), "DE"); !errors.Is(err, grid.ErrImplausible) {
			t.Errorf("of another zone %+v, error %v, want ErrImplausible", got, err)
		}
		*p = ahead{flaky: flaky{value: 7}}
		if got, err := c.Current(t.Context(), "SE"); err != nil || got.Value != 7 {
			t.Errorf("%+v, error %v", got, err)
		}
	})
}

// hanging answers nobody.
type hanging struct{ flaky }

func (hanging) Current(ctx context.Context, _ string) (grid.Point, error) {
	<-ctx.Done()
	return grid.Point{}, ctx.Err()
}

// Whoever waits for another's request returns when its own context ends.
func TestCachedWaitsNoLongerThanAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grid.NewCached(&hanging{}, grid.CacheOptions{})
		long, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := c.Current(long, "GB")
			done <- err
		}()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Current(short, "GB"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		select {
		case err := <-done:
			t.Errorf("the first has returned: %v", err)
		default:
		}
		stop()
		<-done
	})
}
