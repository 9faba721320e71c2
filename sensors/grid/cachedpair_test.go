package grid_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// Two that look at different stretches of what is to come, of which neither holds the other, do not have the provider asked at each look.
func TestCachedForecastOfTwoWhoLookDifferently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seer{level: 100}
		c := grid.NewCached(s, grid.CacheOptions{Interval: 10 * time.Minute})
		for range 60 {
			now := time.Now()
			for _, d := range [][2]time.Duration{{0, 96 * time.Hour}, {-6 * time.Hour, 4 * time.Hour}} {
				ps, err := c.Forecast(t.Context(), "GB", now.Add(d[0]), now.Add(d[1]))
				if err != nil || !ps[0].Covers(now.Add(d[0])) || !ps[len(ps)-1].Covers(now.Add(d[1]-1)) {
					t.Fatalf("%d points, error %v", len(ps), err)
				}
			}
			time.Sleep(time.Minute) // of the bubble's clock
		}
		if s.future > 8 {
			t.Errorf("asked %d times in an hour, the interval is ten minutes", s.future)
		}
		// One who looked far ahead once does not make all others do so.
		if _, err := c.Forecast(t.Context(), "GB", time.Now(), time.Now().Add(5000*time.Hour)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(11 * time.Minute)
			if _, err := c.Forecast(t.Context(), "GB", time.Now(), time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		asked := s.future
		if _, err := c.Forecast(t.Context(), "GB", time.Now(), time.Now().Add(5000*time.Hour)); err != nil || s.future != asked+1 {
			t.Errorf("the far end is still asked for: %d questions more, error %v", s.future-asked, err)
		}
	})
}

// sleeper hangs where it is told to.
type sleeper struct {
	seer
	hangs bool
}

func (s *sleeper) wait(ctx context.Context) error {
	if s.hangs {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (s *sleeper) Current(ctx context.Context, zone string) (grid.Point, error) {
	if err := s.wait(ctx); err != nil {
		return grid.Point{}, err
	}
	return s.seer.Current(ctx, zone)
}

func (s *sleeper) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.seer.Forecast(ctx, zone, from, until)
}

// Who does not wait as long as a provider hangs is told what it said last.
func TestCachedTellsTheImpatientWhatItRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sleeper{seer: seer{level: 100}}
		s.value = 7
		c := grid.NewCached(s, grid.CacheOptions{})
		ask := func() (grid.Point, []grid.Point, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			p, err := c.Current(ctx, "GB")
			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			ps, errF := c.Forecast(ctx, "GB", time.Now(), time.Now().Add(12*time.Hour))
			return p, ps, errors.Join(err, errF)
		}
		if _, _, err := ask(); err != nil {
			t.Fatal(err)
		}
		s.hangs = true
		time.Sleep(30 * time.Minute) // of the bubble's clock
		if p, ps, err := ask(); err != nil || p.Value != 7 || len(ps) < 12 {
			t.Errorf("after half an hour %+v and %d points, error %v", p, len(ps), err)
		}
		time.Sleep(5 * time.Hour)
		if p, _, err := ask(); err != nil || p.Value < 100 {
			t.Errorf("after hours %+v, error %v; want what the forecast says", p, err)
		}
		time.Sleep(20 * time.Hour)
		if p, ps, err := ask(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after a day %+v and %d points, error %v", p, len(ps), err)
		}
	})
}

// stray answers with the points of another zone.
type stray struct{ seer }

func (s *stray) Forecast(ctx context.Context, _ string, from, until time.Time) ([]grid.Point, error) {
	return s.seer.Forecast(ctx, "FR", from, until)
}

func (s *stray) History(ctx context.Context, _ string, from, until time.Time) ([]grid.Point, error) {
	return s.seer.History(ctx, "FR", from, until)
}

// Another zone's points are no forecast, nor history, nor, while the provider is away, the present.
func TestCachedRefusesAnotherZonesPoints(t *testing.T) {
	s := &stray{seer{level: 900}}
	s.err = nil
	c := grid.NewCached(s, grid.CacheOptions{})
	now := time.Now()
	if ps, err := c.Forecast(t.Context(), "GB", now, now.Add(time.Hour)); !errors.Is(err, grid.ErrImplausible) {
		t.Errorf("forecast %+v, error %v", ps, err)
	}
	if ps, err := c.History(t.Context(), "GB", now.Add(-time.Hour), now); !errors.Is(err, grid.ErrImplausible) {
		t.Errorf("history %+v, error %v", ps, err)
	}
	s.err = errors.New("away")
	if p, err := c.Current(t.Context(), "GB"); err == nil {
		t.Errorf("the present is %+v", p)
	}
}

// Names that mean nothing do not fill the memory for those that do.
func TestCachedForgetsWhatNobodyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seer{level: 100}
		c := grid.NewCached(s, grid.CacheOptions{MaxZones: 3})
		if _, err := c.Current(t.Context(), "GB"); err != nil {
			t.Fatal(err)
		}
		s.err = grid.ErrUnknownZone
		refused := 0
		for i := range 10 {
			if _, err := c.Current(t.Context(), fmt.Sprint("junk-", i)); !errors.Is(err, grid.ErrUnknownZone) {
				refused++
			}
		}
		if refused != 8 {
			t.Errorf("%d of ten were refused, room is for two", refused)
		}
		s.err = nil
		time.Sleep(6 * time.Minute) // of the bubble's clock
		for _, zone := range []string{"FR", "DE"} {
			if _, err := c.Current(t.Context(), zone); err != nil {
				t.Errorf("%s: %v", zone, err)
			}
		}
		time.Sleep(6 * time.Minute)
		if _, err := c.Current(t.Context(), "SE"); err == nil {
			t.Error("a zone that is known gave way")
		}
	})
}

// Who asks for the present alone is told by the provider's last forecast while it is away, for which it is asked once an hour and not at all by others.
func TestCachedForesees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seer{level: 100}
		s.value = 7
		c := grid.NewCached(s, grid.CacheOptions{Foresight: 24 * time.Hour})
		for range 3 * 60 {
			if p, err := c.Current(t.Context(), "GB"); err != nil || p.Value != 7 {
				t.Fatalf("%+v, error %v", p, err)
			}
			time.Sleep(time.Minute) // of the bubble's clock
		}
		if s.future != 3 {
			t.Errorf("asked %d times in three hours for a forecast", s.future)
		}
		s.err = errors.New("away")
		time.Sleep(6 * time.Hour)
		if p, err := c.Current(t.Context(), "GB"); err != nil || p.Value != 100+float64(time.Now().UTC().Hour()) || !p.Estimated {
			t.Errorf("six hours later %+v, error %v", p, err)
		}
		time.Sleep(19 * time.Hour)
		if p, err := c.Current(t.Context(), "GB"); err == nil {
			t.Errorf("a day later %+v", p)
		}
		none := &flaky{value: 7} // which has no forecast
		if p, err := grid.NewCached(none, grid.CacheOptions{Foresight: time.Hour}).Current(t.Context(), "GB"); err != nil || p.Value != 7 {
			t.Errorf("%+v, error %v", p, err)
		}
	})
}
