package forecast_test

import (
	"sync"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
)

// Rounds, questions and restarts at once: for the race detector, and no answer is half made.
func TestSourceIsSafeForConcurrentUse(t *testing.T) {
	now := start.Add(20 * 24 * time.Hour)
	static, err := grid.ParseProfile("static:300", grid.AverageDirect, 0, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	s, err := forecast.NewSource(static, forecast.SourceOptions{Zones: []string{"GB", "FR"}, Past: 5 * 24 * time.Hour, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	from, values := s.Values("GB")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				if err := s.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
				if err := s.Restore("GB", "", from, values); err != nil {
					t.Error(err)
				}
				for _, zone := range []string{"GB", "FR"} {
					steps, err := s.Steps(zone)
					if err != nil || len(steps) != forecast.Horizon || steps[0].Value < 299 || steps[0].Value > 301 {
						t.Errorf("%s: %d steps, error %v", zone, len(steps), err)
					}
				}
			}
		})
	}
	wg.Wait()
}
