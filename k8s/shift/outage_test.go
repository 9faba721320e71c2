package shift

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// dialled is a provider that is away, each time at another port.
type dialled struct {
	day
	port int
}

func (d *dialled) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if d.port++; d.fault == "away" {
		return nil, fmt.Errorf("read tcp 10.0.0.7:%d: connection reset", d.port)
	}
	return d.day.Forecast(ctx, zone, from, until)
}

// A provider that is away for a day is told once, and once that it is back; another fault is told as well.
func TestOutageIsToldOnce(t *testing.T) {
	l := newLab(t, zoneDE, pod("p", noon, map[string]string{MaxDelayAnnotation: "96h"}))
	var log bytes.Buffer
	d := &dialled{}
	c, err := New(l.c, d, Options{Policies: policies(t, zoneDE), Now: func() time.Time { return l.now }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	l.Controller = c
	for _, x := range []struct {
		fault         string
		warned, again int
	}{{"", 0, 0}, {"away", 1, 0}, {"absurd", 2, 0}, {"", 2, 1}, {"away", 3, 1}} {
		d.fault = x.fault
		for range 20 {
			if _, err := l.Round(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.now = l.now.Add(time.Minute)
		}
		if a, b := strings.Count(log.String(), "level=WARN"), strings.Count(log.String(), "there again"); a != x.warned || b != x.again {
			t.Errorf("after %q: warned %d times and told %d times that it is there again, want %d and %d:\n%s", x.fault, a, b, x.warned, x.again, &log)
		}
	}
}
