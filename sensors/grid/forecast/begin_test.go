package forecast_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
)

// slow is a provider without a forecast that takes its time for each answer, or for ever.
type slow struct {
	takes time.Duration // negative: for ever

	mu    sync.Mutex
	asked map[string]int // guarded by mu
	away  bool           // guarded by mu
}

func (*slow) Signal() grid.Signal { return grid.AverageDirect }

func (*slow) Current(context.Context, string) (grid.Point, error) {
	return grid.Point{}, grid.ErrUnknown
}

func (s *slow) History(ctx context.Context, zone string, from, until time.Time) (ps []grid.Point, err error) {
	s.mu.Lock()
	s.asked[zone]++
	away := s.away
	s.mu.Unlock()
	if s.takes < 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(s.takes) // of the bubble's clock
	if away {
		return nil, errors.New("nobody is there")
	}
	for at := from.Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		ps = append(ps, truth(zone, at))
	}
	return ps, nil
}

func (s *slow) count(zone string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[zone]
}

// Who asks for a forecast right after a start gets it, from a provider that has none: else all that waits would start at each restart of a program that holds
// nothing without a forecast.
func TestForecastAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slow{takes: time.Second / 10, asked: make(map[string]int)}
		s, err := forecast.NewSource(p, forecast.SourceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for zone := range level {
			for range 3 {
				wg.Go(func() {
					from, until := time.Now(), time.Now().Add(72*time.Hour)
					ps, err := s.Forecast(t.Context(), zone, from, until)
					if _, covered := grid.Mean(ps, from, until); err != nil || covered < 1 {
						t.Errorf("zone %s: %d points, %v", zone, len(ps), err)
					}
				})
			}
		}
		wg.Wait()
		if n := p.count("GB"); n > 9 { // 60 days by weeks
			t.Errorf("%d questions, want each once", n)
		}
	})
}

// A provider that hangs holds nobody for ever, and one that is away is told and asked again soon, but less and less.
func TestNoForecastAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := forecast.NewSource(&slow{takes: -1, asked: make(map[string]int)}, forecast.SourceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 2 {
			if _, err := s.Forecast(t.Context(), "GB", time.Now(), time.Now().Add(time.Hour)); !errors.Is(err, grid.ErrUnknown) {
				t.Errorf("of a provider that hangs: %v", err)
			}
		}
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("it held who asked for %v", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := &slow{asked: make(map[string]int), away: true}
		s, err := forecast.NewSource(p, forecast.SourceOptions{Past: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ask := func() error {
			_, err := s.Forecast(t.Context(), "GB", time.Now(), time.Now().Add(time.Hour))
			return err
		}
		for range 3 {
			if err := ask(); !errors.Is(err, grid.ErrUnknown) {
				t.Errorf("of a provider that is away: %v", err)
			}
		}
		if n := p.count("GB"); n != 1 {
			t.Errorf("asked %d times before the first round, want once", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := p.count("GB"); n > 24*4+8 {
			t.Errorf("asked %d times in a day", n)
		}
		p.mu.Lock()
		p.away = false
		p.mu.Unlock()
		time.Sleep(16 * time.Minute)
		if err := ask(); err != nil {
			t.Error(err)
		}
		cancel()
		<-done
	})
	synctest.Test(t, func(t *testing.T) { // away for a moment when the program starts
		p := &slow{asked: make(map[string]int), away: true}
		s, err := forecast.NewSource(p, forecast.SourceOptions{Past: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		_, err = s.Forecast(t.Context(), "GB", time.Now(), time.Now().Add(time.Hour))
		if err == nil {
			t.Error("a provider that is away was forecast")
		}
		time.Sleep(90 * time.Second)
		p.mu.Lock()
		p.away = false
		p.mu.Unlock()
		time.Sleep(time.Minute)
		if _, err := s.Forecast(t.Context(), "GB", time.Now(), time.Now().Add(time.Hour)); err != nil {
			t.Error(fmt.Errorf("a minute after it came back: %w", err))
		}
		cancel()
		<-done
	})
}
