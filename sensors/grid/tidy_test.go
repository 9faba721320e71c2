package grid_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// What is wrong with one point is a gap, and what is told twice counts once.
func TestTidy(t *testing.T) {
	at := func(minutes int, v float64) grid.Point {
		start := noon.Add(time.Duration(minutes) * time.Minute)
		return grid.Point{Zone: "GB", Signal: grid.AverageDirect, Start: start, End: start.Add(time.Hour), Value: v}
	}
	ps, err := grid.Tidy([]grid.Point{at(120, 3), at(0, 1), at(60, -5), at(180, 1e9), at(120, 99), at(240, math.NaN()), at(135, 4)})
	if err != nil || len(ps) != 3 || ps[0].Value != 1 || ps[1].Value != 3 || ps[2].Value != 4 {
		t.Fatalf("%+v, %v: want 1, 3 and 4", ps, err)
	}
	if !ps[0].End.Equal(noon.Add(time.Hour)) || !ps[1].End.Equal(ps[2].Start) {
		t.Errorf("%+v: want the hour of the gap left out, and no overlap", ps)
	}
	if ps, err := grid.Tidy([]grid.Point{at(0, -5), at(60, 1e9)}); !errors.Is(err, grid.ErrImplausible) || len(ps) != 0 {
		t.Errorf("%+v, %v: want ErrImplausible", ps, err)
	}
	if ps, err := grid.Tidy(nil); err != nil || len(ps) != 0 {
		t.Errorf("of nothing %+v, %v", ps, err)
	}
}
