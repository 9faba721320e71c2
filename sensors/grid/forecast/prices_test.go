package forecast_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
)

// TestPublishedPrices measures the forecasts on day-ahead prices of a year, daily from the fourth month on: markets with hours below 0 (Germany, Victoria),
// with spikes of a hundred times the mean (Texas, Singapore), and calm ones. A spike spoils neither the days after it nor the intervals.
func TestPublishedPrices(t *testing.T) {
	file := filepath.Join("..", "..", "..", "..", "shared", "data", "electricity_prices", "prices_hourly_2023.csv")
	f, err := os.Open(file)
	if err != nil {
		t.Skipf("the prices are not here: %v", err)
	}
	defer f.Close()
	points, err := grid.ReadCSV(f, grid.CSVOptions{Name: "prices", Signal: grid.Price})
	if err != nil {
		t.Fatal(err)
	}
	series := make(map[string][]grid.Point)
	for _, p := range points {
		series[p.Zone] = append(series[p.Zone], p)
	}
	zones := []string{"DE-LU", "AU-VIC", "US-TEX-ERCO", "SG", "US-MIDA-PJM", "FR", "ES", "JP-TK"}
	if testing.Short() {
		zones = zones[2:3] // Texas alone; the race detector is slow
	}
	var ratio, covered, share []float64
	for _, z := range zones {
		s := prices(t, series[z])
		if s.days < 200 {
			t.Fatalf("%s: %d days", z, s.days)
		}
		ratio, covered, share = append(ratio, s.model[0]/s.naive[0]), append(covered, float64(s.inside[0])/float64(s.inside[0]+s.outside[0])), append(share, s.saved/s.possible)
		t.Logf("%-12s %d days: error %.3f of naive, cover %.3f, of %5.1f %% possible %5.1f %% reached", z, s.days, ratio[len(ratio)-1], covered[len(covered)-1],
			100*s.possible/s.atOnce, 100*share[len(share)-1])
	}
	t.Logf("means: error %.3f of naive, cover %.3f, reached %.3f", mean(ratio), mean(covered), mean(share))
	if r := mean(ratio); r > 0.86 {
		t.Errorf("the mean error of the first day is %.3f of the naive forecast's", r)
	}
	if c := mean(covered); c < 0.88 || c > 0.92 {
		t.Errorf("90 %% intervals hold %.1f %% of the prices", 100*c)
	}
	if s := mean(share); !testing.Short() && s < 0.7 {
		t.Errorf("the chosen windows reach %.1f %% of the possible saving", 100*s)
	}
}

// prices runs a model over a year of prices. Days of which the file lacks an hour do not count.
func prices(t *testing.T, points []grid.Point) (s score) {
	t.Helper()
	at := make(map[time.Time]float64, len(points))
	for _, p := range points {
		at[p.Start] = p.Value
	}
	m := forecast.NewModel(forecast.Options{Additive: true})
	for i, p := range points {
		if p.Start.Hour() == 0 && i > 90*24 && m.Next().Equal(p.Start) {
			steps, err := m.Forecast(slack + job)
			if err != nil {
				t.Fatal(err)
			}
			s.price(steps, at)
		}
		if err := m.Observe(p.Start, p.Value); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// price counts one forecast.
func (s *score) price(steps []forecast.Step, at map[time.Time]float64) {
	var truth, before [slack + job]float64
	for h, st := range steps {
		var ok, ok2 bool
		truth[h], ok = at[st.Start]
		before[h], ok2 = at[st.Start.Add(time.Duration(-24-h/24*24)*time.Hour)]
		if !ok || !ok2 {
			return
		}
	}
	s.days++
	for h, st := range steps[:24] {
		s.model[0] += math.Abs(st.Value - truth[h])
		s.naive[0] += math.Abs(before[h] - truth[h])
		s.interval(0, st, truth[h])
	}
	sum := func(start int, of func(h int) float64) (v float64) {
		for h := start; h < start+job; h++ {
			v += of(h)
		}
		return v
	}
	truly, guess := func(h int) float64 { return truth[h] }, func(h int) float64 { return steps[h].Value }
	chosen, best := 0, 0
	for w := range slack + 1 {
		if sum(w, guess) < sum(chosen, guess) {
			chosen = w
		}
		if sum(w, truly) < sum(best, truly) {
			best = w
		}
	}
	s.atOnce += sum(0, truly)
	s.saved += sum(0, truly) - sum(chosen, truly)
	s.possible += sum(0, truly) - sum(best, truly)
}
