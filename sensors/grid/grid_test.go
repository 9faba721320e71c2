package grid_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func ExampleReadCSV() {
	points, err := grid.ReadCSV(strings.NewReader("time,FR (EUR/MWh),GB (EUR/MWh)\n2026-06-01T12:00:00Z,-4.5,\n"),
		grid.CSVOptions{Signal: grid.Price})
	if err != nil {
		panic(err)
	}
	for _, p := range points {
		fmt.Printf("%s %.4f %s/kWh\n", p.Zone, p.Value, p.Currency)
	}
	// Output: FR -0.0045 EUR/kWh
}

func TestReadCSVSaysWhere(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":         {"", "x.csv: header"},
		"one column":    {"time\n", "x.csv:1: want a time column"},
		"no zone name":  {"time,\n", "x.csv:1: column 2"},
		"not a time":    {"time,GB\nyesterday,1\n", "x.csv:2: column 1"},
		"text":          {"time,GB\n2026-06-01T12:00:00Z,high\n", "x.csv:2: column 2 (GB)"},
		"NaN":           {"time,GB\n2026-06-01T12:00:00Z,NaN\n", "x.csv:2: column 2 (GB)"},
		"negative":      {"time,GB\n2026-06-01T12:00:00Z,-5\n", "x.csv:2: column 2"},
		"billion":       {"time,GB\n2026-06-01T12:00:00Z,1e9\n", "x.csv:2: column 2"},
		"backwards":     {"time,GB\n2026-06-01T12:00:00Z,1\n2026-06-01T11:00:00Z,1\n", "x.csv:3: column 1"},
		"ragged":        {"time,GB\n2026-06-01T12:00:00Z\n", "x.csv: record on line 2"},
		"too many rows": {"time,GB\n2026-06-01T12:00:00Z,1\n2026-06-01T13:00:00Z,1\n2026-06-01T14:00:00Z,1\n", "x.csv:4: more than 2 rows"},
	} {
		_, err := grid.ReadCSV(strings.NewReader(test.text), grid.CSVOptions{Name: "x.csv", MaxRows: 2})
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want it to begin with %q", name, err, test.want)
		}
	}
}

// An hour told twice at a change of clocks counts once; an empty cell is a gap, not 0.
func TestReadCSVGapsAndRepeats(t *testing.T) {
	points, err := grid.ReadCSV(strings.NewReader("time,GB\n2026-06-01T12:00:00Z,0\n2026-06-01T12:00:00Z,7\n2026-06-01T13:00:00Z,\n2026-06-01T14:00:00Z,3\n"), grid.CSVOptions{})
	if err != nil {
		t.Fatal(err)
	}
	halves, err := grid.ReadCSV(strings.NewReader("time,GB\n2026-10-25 01:00,1\n2026-10-25 01:30,2\n2026-10-25 01:00,3\n2026-10-25 01:30,4\n2026-10-25 02:00,5\n"), grid.CSVOptions{Step: 30 * time.Minute})
	if err != nil || len(halves) != 3 || halves[1].Value != 2 || halves[2].Value != 5 {
		t.Errorf("half-hours told twice: %v, %v; want the first of each", halves, err)
	}
	s, err := grid.NewSeries(grid.AverageLifeCycle, points, func() time.Time { return noon.Add(30 * time.Minute) })
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Current(t.Context(), "GB"); err != nil || p.Value != 0 {
		t.Errorf("now is %v, error %v; want a measured 0", p.Value, err)
	}
	if mean, covered := grid.Mean(points, noon, noon.Add(3*time.Hour)); mean != 1.5 || math.Abs(covered-2.0/3) > 1e-12 {
		t.Errorf("mean %v over %v of the time, want 1.5 over 2/3", mean, covered)
	}
}

func TestSeriesKnowsWhatItDoesNotKnow(t *testing.T) {
	at := func(h int, v float64) grid.Point {
		return grid.Point{Zone: "GB", Signal: grid.AverageDirect, Start: noon.Add(time.Duration(h) * time.Hour), End: noon.Add(time.Duration(h+1) * time.Hour), Value: v}
	}
	now := noon
	s, err := grid.NewSeries(grid.AverageDirect, []grid.Point{at(2, 30), at(0, 10)}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for hours, want := range map[int]error{-1: grid.ErrUnknown, 0: nil, 1: grid.ErrUnknown, 2: nil, 3: grid.ErrStale} {
		now = noon.Add(time.Duration(hours) * time.Hour)
		if _, err := s.Current(t.Context(), "GB"); !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("hour %d: error is %v, want %v", hours, err, want)
		}
	}
	if _, err := s.Current(t.Context(), "FR"); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("error is %v, want ErrUnknownZone", err)
	}
	now = noon.Add(time.Hour)
	if past, err := s.History(t.Context(), "GB", noon, noon.Add(9*time.Hour)); err != nil || len(past) != 1 {
		t.Errorf("history has %d points (error %v): it must not tell the future", len(past), err)
	}
	if next, err := s.Forecast(t.Context(), "GB", now, noon.Add(9*time.Hour)); err != nil || len(next) != 1 || !next[0].Forecast {
		t.Errorf("forecast is %+v, error %v; want the point of the third hour", next, err)
	}
	mixed := at(5, 1)
	mixed.Signal = grid.MarginalDirect
	for name, bad := range map[string][]grid.Point{"mixed signals": {at(0, 1), mixed}, "overlap": {at(0, 1), at(0, 2)}} {
		if _, err := grid.NewSeries(grid.AverageDirect, bad, nil); !errors.Is(err, grid.ErrImplausible) {
			t.Errorf("%s: error is %v, want ErrImplausible", name, err)
		}
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("time,GB\n2026-06-01T12:00:00Z,1\n")
	f.Add("time,FR (EUR/MWh)\n2026-06-01 12:00,-4\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, signal := range []grid.Signal{grid.AverageLifeCycle, grid.Price} {
			points, err := grid.ReadCSV(strings.NewReader(text), grid.CSVOptions{Signal: signal, MaxRows: 1000})
			if err != nil {
				continue
			}
			for _, p := range points {
				if err := p.Validate(); err != nil {
					t.Fatalf("a point that is not valid was read: %v", err)
				}
			}
			if _, err := grid.NewSeries(signal, points, nil); err != nil && !strings.Contains(err.Error(), "overlap") {
				t.Fatal(err)
			}
		}
	})
}
