package grid_test

import (
	"math"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

func date(t *testing.T, text string) grid.Date {
	t.Helper()
	d, err := grid.ParseDate(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// priceAt is the tariff's price at a time by the wall clock of its place.
func priceAt(t *testing.T, tou *grid.TimeOfUse, loc *time.Location, wall string) float64 {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04", wall, loc)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := tou.Forecast(t.Context(), "z", at, at.Add(time.Minute))
	if err != nil || len(ps) != 1 || !ps[0].Covers(at) {
		t.Fatalf("%s: %+v, error %v", wall, ps, err)
	}
	return ps[0].Value
}

// A tariff like those of American utilities: a dear afternoon on working days of the summer, a cheap season over the turn of the year, and holidays
// that count as Sundays.
func TestSeasonsWeekendsAndHolidays(t *testing.T) {
	loc, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Skip("no time zones here")
	}
	workdays := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	tou, err := grid.NewTimeOfUse("USD", 0.30, []grid.Rate{
		{Days: workdays, From: 16 * time.Hour, Until: 21 * time.Hour, First: date(t, "06-01"), Last: date(t, "09-30"), Price: 0.55},
		{From: 0, Until: 24 * time.Hour, First: date(t, "12-15"), Last: date(t, "02-29"), Price: 0.20},
	}, grid.TariffOptions{Location: loc, Holidays: []grid.Date{date(t, "07-04"), date(t, "2026-09-07")}})
	if err != nil {
		t.Fatal(err)
	}
	for wall, want := range map[string]float64{
		"2026-05-29 17:00": 0.30, // a Friday before the season
		"2026-06-01 15:59": 0.30, "2026-06-01 16:00": 0.55, "2026-06-01 20:59": 0.55, "2026-06-01 21:00": 0.30,
		"2026-06-06 17:00": 0.30,                                                     // a Saturday
		"2025-07-04 17:00": 0.30, "2024-07-04 17:00": 0.30, "2025-07-03 17:00": 0.55, // Independence Day, a Friday and a Thursday, of every year
		"2026-09-07 17:00": 0.30, "2027-09-07 17:00": 0.55, // Labor Day of one year, and a Tuesday
		"2026-09-30 17:00": 0.55, "2026-10-01 17:00": 0.30,
		"2026-12-14 12:00": 0.30, "2026-12-15 00:00": 0.20, "2026-12-31 23:59": 0.20, "2027-01-01 00:00": 0.20, "2027-02-28 12:00": 0.20, "2028-02-29 12:00": 0.20, "2027-03-01 00:00": 0.30,
	} {
		if got := priceAt(t, tou, loc, wall); got != want {
			t.Errorf("at %s the price is %v, want %v", wall, got, want)
		}
	}
	// The day's points follow each other, whatever the clocks do: they are 23, 25 and 24 hours.
	for day, hours := range map[string]float64{"2026-03-08": 23, "2026-11-01": 25, "2026-07-04": 24} {
		from, err := time.ParseInLocation(time.DateOnly, day, loc)
		if err != nil {
			t.Fatal(err)
		}
		until := from.AddDate(0, 0, 1)
		ps, err := tou.History(t.Context(), "z", from, until)
		if err != nil {
			t.Fatal(err)
		}
		if _, covered := grid.Mean(ps, from, until); until.Sub(from).Hours() != hours || math.Abs(covered-1) > 1e-12 {
			t.Errorf("%s has %v hours, of which the points cover %v; want %v and all", day, until.Sub(from).Hours(), covered, hours)
		}
		for i := 1; i < len(ps); i++ {
			if !ps[i].Start.Equal(ps[i-1].End) {
				t.Errorf("%s: a point starts at %v, the one before ends at %v", day, ps[i].Start, ps[i-1].End)
			}
		}
	}
}

func TestDatesThatAreNone(t *testing.T) {
	for _, text := range []string{"", "13-01", "02-30", "2026-02-29", "0000-01-01", "1-1", "2026-1-1", "12-25x"} {
		if d, err := grid.ParseDate(text); err == nil {
			t.Errorf("%q was read as %v", text, d)
		}
	}
	for what, r := range map[string]grid.Rate{
		"half a season":    {Until: time.Hour, First: grid.Date{Month: 1, Day: 1}},
		"no such day":      {Until: time.Hour, First: grid.Date{Month: 2, Day: 30}, Last: grid.Date{Month: 3, Day: 1}},
		"a season of once": {Until: time.Hour, First: grid.Date{Year: 2026, Month: 2, Day: 1}, Last: grid.Date{Year: 2026, Month: 3, Day: 1}},
	} {
		if _, err := grid.NewTimeOfUse("EUR", 0.3, []grid.Rate{r}, grid.TariffOptions{}); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	if _, err := grid.NewTimeOfUse("EUR", 0.3, nil, grid.TariffOptions{Holidays: []grid.Date{{Month: 4, Day: 31}}}); err == nil {
		t.Error("a holiday on the 31st of April was accepted")
	}
}
