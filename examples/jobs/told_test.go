package main

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// flaky is a grid that is away, each time at another port.
type flaky struct {
	even
	away  *atomic.Bool
	asked *atomic.Int64
}

func (f flaky) Current(ctx context.Context, zone string) (grid.Point, error) {
	if n := f.asked.Add(1); f.away.Load() {
		return grid.Point{}, fmt.Errorf("read tcp 10.0.0.7:%d: connection reset", 40000+n)
	}
	return f.even.Current(ctx, zone)
}

func (f flaky) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if f.away.Load() {
		return nil, fmt.Errorf("read tcp 10.0.0.7:%d: connection reset", 30000+f.asked.Load())
	}
	return f.even.Forecast(ctx, zone, from, until)
}

// A grid that is away is told once, and once that it is back, however often it is asked; meanwhile Prometheus hears how long it has told nothing.
func TestGridThatIsAway(t *testing.T) {
	f := flaky{even{300}, new(atomic.Bool), new(atomic.Int64)}
	log := &journal{}
	o := &options{strategy: "leastwatt", places: []Site{{Name: "east", Zone: "east"}}, source: f}
	url, _ := serveLogged(t, o, slog.New(slog.NewTextHandler(log, nil)))
	c := client{t: t, url: url}
	age := func() float64 {
		_, text := c.do("GET", "/metrics", "", "")
		m := regexp.MustCompile(`(?m)^leastwatt_jobs_site_outlook_age_seconds\{site="east",zone="east"\} (.*)$`).FindStringSubmatch(text)
		if m == nil {
			return -1
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	until(t, "the outlook", func() bool { return age() >= 0 })
	for n := 1; n <= 2; n++ {
		f.away.Store(true)
		from := f.asked.Load()
		until(t, "asked again and again", func() bool { return f.asked.Load() > from+20 && age() > 0.1 })
		if a, b := log.count("level=WARN msg=grid "), log.count("is there again"); a != n || b != n-1 {
			t.Errorf("outage %d: told %d times that it is away and %d times that it is back", n, a, b)
		}
		f.away.Store(false)
		until(t, "it is back", func() bool { return log.count("is there again") == n })
	}
}
