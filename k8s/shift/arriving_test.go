package shift

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// afternoons is a grid that is clean for two hours after noon, the second a little cleaner.
type afternoons struct{ day }

func (*afternoons) Forecast(_ context.Context, zone string, from, until time.Time) (ps []grid.Point, err error) {
	for at := from.Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		v := 400.0
		switch h := at.Hour(); {
		case h < 12:
			v = 500
		case h == 12:
			v = 100
		case h == 13:
			v = 90
		}
		ps = append(ps, grid.Point{Zone: zone, Signal: grid.AverageLifeCycle, Start: at, End: at.Add(time.Hour), Value: v, Forecast: true, Source: "test"})
	}
	return ps, nil
}

// Where pods come that fill the cores, one does not wait for the next hour, which is a little cleaner, since others will need it and the hours that follow are
// dirty; where nothing came before, and after a restart that has no file, or a bad one, it does.
func TestLeavesRoomForWhatComes(t *testing.T) {
	for name, want := range map[string]int{"busy": 12, "idle": 13, "restarted": 13, "kept": 12, "spoiled": 13} {
		l := newLab(t, "default: {zone: DE}\ncores: {DE: 2}\n")
		l.now = noon.Truncate(24 * time.Hour)
		const text = "default: {zone: DE}\ncores: {DE: 2}\n"
		file := ""
		if name == "kept" || name == "spoiled" {
			file = filepath.Join(t.TempDir(), "arrivals.json")
		}
		open := func() {
			c, err := New(l.c, &afternoons{}, Options{ArrivalsFile: file, Policies: policies(t, text), Now: func() time.Time { return l.now }})
			if err != nil {
				t.Fatal(err)
			}
			l.Controller = c
		}
		open()
		clear := func(all bool) { // what has run for an hour has ended
			var list v1.PodList
			if err := l.c.List(t.Context(), &list); err != nil {
				t.Fatal(err)
			}
			for k := range list.Items {
				p := &list.Items[k]
				at, err := time.Parse(time.RFC3339, p.Annotations[ReleasedAnnotation])
				if all || err == nil && l.now.Sub(at) >= time.Hour {
					if err := l.c.Delete(t.Context(), p); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		make := func(name string) {
			if err := l.c.Create(t.Context(), pod(name, l.now, map[string]string{DurationAnnotation: "1h", MaxDelayAnnotation: "4h"})); err != nil {
				t.Fatal(err)
			}
		}
		const days = 2
		for h := range days*24 + 12 {
			if l.now = noon.Truncate(24 * time.Hour).Add(time.Duration(h) * time.Hour); h > 0 && name != "idle" {
				make(fmt.Sprint("j", h))
			}
			clear(false)
			l.round()
		}
		clear(true)
		if name == "spoiled" {
			if err := os.WriteFile(file, []byte(`{"until": "2024-06-03T12:00:00Z", "zones": {"DE": {"slot": 0}}}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if name != "busy" && name != "idle" {
			open()
		}
		l.now = l.now.Add(time.Hour) // noon
		make("probe")
		for l.round(); gated(l.pod("probe")); l.round() {
			l.now = l.now.Add(15 * time.Minute)
		}
		if h := l.now.Hour(); h != want {
			t.Errorf("%s: started at %v, want in hour %d", name, l.now, want)
		}
		if err := l.c.Delete(t.Context(), l.pod("probe"), client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
	}
}
