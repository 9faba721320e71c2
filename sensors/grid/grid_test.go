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
		"empty":          {"", "x.csv: header"},
		"one column":     {"time\n", "x.csv:1: want a time column"},
		"no zone name":   {"time,\n", "x.csv:1: column 2"},
		"not a time":     {"time,GB\nyesterday,1\n", "x.csv:2: column 1"},
		"text":           {"time,GB\n2026-06-01T12:00:00Z,high\n", "x.csv:2: column 2 (GB)"},
		"NaN":            {"time,GB\n2026-06-01T12:00:00Z,NaN\n", "x.csv:2: column 2 (GB)"},
		"negative":       {"time,GB\n2026-06-01T12:00:00Z,-5\n", "x.csv:2: column 2"},
		"billion":        {"time,GB\n2026-06-01T12:00:00Z,1e9\n", "x.csv:2: column 2"},
		"backwards":      {"time,GB\n2026-06-01T12:00:00Z,1\n2026-06-01T11:00:00Z,1\n", "x.csv:3: column 1"},
		"ragged":         {"time,GB\n2026-06-01T12:00:00Z\n", "x.csv: record on line 2"},
		"too many rows":  {"time,GB\n2026-06-01T12:00:00Z,1\n2026-06-01T13:00:00Z,1\n2026-06-01T14:00:00Z,1\n", "x.csv:4: more than 2 rows"},
		"no header":      {"2026-06-01T12:00:00Z,1\n2026-06-01T13:00:00Z,2\n", `x.csv:1: column 1: a time where the header should be`},
		"zone twice":     {"time,A,B,A\n", `x.csv:1: column 4: zone "A" is there already, in column 2`},
		"zone left out":  {"time,A\n2026-06-01T12:00:00+02:00,1\n2026-06-01T13:00:00,2\n", `x.csv:3: column 1: "2026-06-01T13:00:00" has no time zone, the rows above have`},
		"zone told late": {"time,A\n2026-06-01T12:00:00,1\n2026-06-01T13:00:00+02:00,2\n", `x.csv:3: column 1: "2026-06-01T13:00:00+02:00" has a time zone, the rows above have none`},
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

// Times without a zone are by a wall clock: in spring it leaves an hour out, and in autumn it tells one twice, of which none is lost.
func TestReadCSVByTheWallClock(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here")
	}
	read := func(rows string, step time.Duration) ([]grid.Point, error) {
		return grid.ReadCSV(strings.NewReader("time,DE\n"+rows), grid.CSVOptions{Location: berlin, Step: step})
	}
	autumn, err := read("2026-10-25 01:00,1\n2026-10-25 02:00,2\n2026-10-25 02:00,3\n2026-10-25 03:00,4\n", time.Hour)
	if err != nil || len(autumn) != 4 || autumn[2].Value != 3 || !autumn[0].Start.Equal(time.Date(2026, 10, 24, 23, 0, 0, 0, time.UTC)) || !autumn[3].Start.Equal(time.Date(2026, 10, 25, 2, 0, 0, 0, time.UTC)) {
		t.Errorf("autumn: %+v, error %v; want four hours in a row", autumn, err)
	}
	halves, err := read("2026-10-25 02:00,1\n2026-10-25 02:30,2\n2026-10-25 02:00,3\n2026-10-25 02:30,4\n2026-10-25 03:00,5\n", 30*time.Minute)
	if err != nil || len(halves) != 5 || !halves[4].Start.Equal(halves[0].Start.Add(2*time.Hour)) {
		t.Errorf("autumn by half-hours: %+v, error %v; want five in a row", halves, err)
	}
	once, err := read("2026-10-25 02:00,2\n2026-10-25 03:00,4\n", time.Hour)
	if err != nil || len(once) != 2 || once[1].Start.Sub(once[0].Start) != 2*time.Hour || once[0].End.Sub(once[0].Start) != time.Hour {
		t.Errorf("autumn told once: %+v, error %v; want a gap of an hour", once, err)
	}
	spring, err := read("2026-03-29 01:00,1\n2026-03-29 03:00,2\n", time.Hour)
	if err != nil || len(spring) != 2 || !spring[1].Start.Equal(spring[0].End) {
		t.Errorf("spring: %+v, error %v; want two hours in a row", spring, err)
	}
	if ps, err := read("2026-03-29 01:00,1\n2026-03-29 02:00,2\n", time.Hour); err == nil || !strings.Contains(err.Error(), "csv:3: column 1") {
		t.Errorf("the hour that is left out is %+v, error %v", ps, err)
	}
	if ps, err := read("2026-06-01T12:00:00Z,1\n", time.Hour); err != nil || !ps[0].Start.Equal(noon) {
		t.Errorf("a time with a zone is %+v, error %v", ps, err)
	}
	year, days := new(strings.Builder), 0
	for at := time.Date(2026, 1, 1, 0, 0, 0, 0, berlin); at.In(berlin).Year() == 2026; at = at.Add(15 * time.Minute) {
		fmt.Fprintf(year, "%s,1\n", at.In(berlin).Format("2006-01-02 15:04"))
		days++
	}
	all, err := read(year.String(), 15*time.Minute)
	if err != nil || len(all) != 365*96 || len(all) != days {
		t.Fatalf("of a year %d quarters of an hour, error %v; want %d", len(all), err, days)
	}
	for i := 1; i < len(all); i++ {
		if !all[i].Start.Equal(all[i-1].End) {
			t.Fatalf("%v follows %v", all[i], all[i-1])
		}
	}
}

// The unit that a column names counts, and one that nobody knows is an error.
// What spreadsheets and pandas write is read: a byte order mark, a blank between date and time with a zone, a unit without a blank before it.
func TestReadCSVAsProgramsWriteIt(t *testing.T) {
	ps, err := grid.ReadCSV(strings.NewReader("\ufeff\"time\",FR(EUR/MWh)\r\n2026-06-01 12:00:00+02:00,80\r\n2026-06-01 13:00:00+02:00,90\r\n"), grid.CSVOptions{Signal: grid.Price})
	if err != nil || len(ps) != 2 {
		t.Fatalf("%+v, error %v", ps, err)
	}
	if p := ps[0]; p.Zone != "FR" || p.Currency != "EUR" || math.Abs(p.Value-0.08) > 1e-12 || !p.Start.Equal(time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, want 0.08 EUR in FR at 10:00 UTC", p)
	}
	if ps, err := grid.ReadCSV(strings.NewReader(""), grid.CSVOptions{}); err == nil {
		t.Errorf("of nothing %+v", ps)
	}
}

func TestReadCSVUnits(t *testing.T) {
	for header, want := range map[string]float64{"GB": 500, "GB (gCO2eq/kWh)": 500, "GB (g/kWh)": 500, "GB (gCO₂e/kWh)": 500, "GB (kg CO2/MWh)": 500, "GB (kgCO2-eq./MWh)": 500, "GB (tCO2/MWh)": 500000,
		"GB (lbs CO2/MWh)": 226.796185, "GB (lb/MWh)": 226.796185} {
		value := "500"
		if want > 5000 {
			value, want = "0.5", 500
		}
		ps, err := grid.ReadCSV(strings.NewReader("time,"+header+"\n2026-06-01T12:00:00Z,"+value+"\n"), grid.CSVOptions{})
		if err != nil || math.Abs(ps[0].Value-want) > 1e-9 || ps[0].Zone != "GB" {
			t.Errorf("%s: %+v, error %v, want %v", header, ps, err, want)
		}
	}
	for _, header := range []string{"GB (percent)", "GB (EUR/MWh)", "GB (MW)"} {
		if ps, err := grid.ReadCSV(strings.NewReader("time,"+header+"\n2026-06-01T12:00:00Z,500\n"), grid.CSVOptions{}); err == nil || !strings.Contains(err.Error(), "unit") {
			t.Errorf("%s: %+v, error %v", header, ps, err)
		}
		if ps, err := grid.ReadCSV(strings.NewReader("time,"+header+"\n2026-06-01T12:00:00Z,500\n"), grid.CSVOptions{Scale: 1}); err != nil || ps[0].Value != 500 {
			t.Errorf("%s with a scale: %+v, error %v", header, ps, err)
		}
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
