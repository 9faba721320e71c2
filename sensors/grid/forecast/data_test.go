package forecast_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
)

const (
	job   = 4  // hours that the work runs
	slack = 24 // hours that it may wait
)

// A score is what a year of daily forecasts was worth in one zone.
type score struct {
	days                    int
	model, naive            [2]float64 // sums of MAPE: first day, all 96 h
	inside, outside         [2]int     // intervals: first day, all 96 h
	saved, possible, atOnce float64
}

// TestPublishedGrids measures the forecasts on three years, none of which the model has seen before, issued daily at midnight UTC from when it has
// intervals, and checks the laws that must hold whatever zone and year: better than seasonal naive, honest intervals, most of the possible saving.
func TestPublishedGrids(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "shared", "data", "carbon")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the carbon data are not here: %v", err)
	}
	series := make(map[string][]grid.Point)
	for _, year := range []string{"2021", "2022", "2023"} {
		f, err := os.Open(filepath.Join(dir, "electricitymaps_lca_hourly_"+year+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		points, err := grid.ReadCSV(f, grid.CSVOptions{Name: f.Name()})
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range points {
			series[p.Zone] = append(series[p.Zone], p)
		}
	}
	zones := make([]string, 0, len(series))
	for z := range series {
		zones = append(zones, z)
	}
	slices.Sort(zones)
	if testing.Short() {
		zones = zones[4:5] // Great Britain alone; the race detector is slow
	}
	years := []int{2021, 2022, 2023} // of the first the model has seen nothing before
	all := make([][]score, len(years))
	for _, z := range zones {
		for i, s := range evaluate(t, series[z], years) {
			all[i] = append(all[i], s)
		}
	}
	for i, year := range years {
		t.Run(strconv.Itoa(year), func(t *testing.T) { laws(t, zones, all[i]) })
	}
}

// laws checks a year's scores by zone.
func laws(t *testing.T, zones []string, scores []score) {
	var ratio, share []float64
	var covered [2][]float64
	t.Logf("%-12s %8s %8s %6s %8s %8s %6s %6s %8s %8s", "zone", "MAPE 1d", "naive", "ratio", "96 h", "naive", "cover", "96 h", "possible", "reached")
	for i, z := range zones {
		s := scores[i]
		n := float64(s.days)
		var cover [2]float64
		for k := range cover {
			cover[k] = float64(s.inside[k]) / float64(s.inside[k]+s.outside[k])
			covered[k] = append(covered[k], cover[k])
		}
		if cover[0] < 0.87 || cover[0] > 0.93 {
			t.Errorf("%s: 90 %% intervals hold %.1f %% of the first day", z, 100*cover[0])
		}
		possible, reached := s.possible/s.atOnce, s.saved/s.possible
		t.Logf("%-12s %7.2f%% %7.2f%% %6.3f %7.2f%% %7.2f%% %5.1f%% %5.1f%% %7.1f%% %7.1f%%", z, s.model[0]/n, s.naive[0]/n, s.model[0]/s.naive[0],
			s.model[1]/n, s.naive[1]/n, 100*cover[0], 100*cover[1], 100*possible, 100*reached)
		ratio = append(ratio, s.model[0]/s.naive[0])
		if possible > 0.15 {
			share = append(share, reached)
		}
	}
	t.Logf("means: ratio %.3f, cover %.3f and %.3f, reached %.3f over %d zones that can save over 15 %%", mean(ratio), mean(covered[0]), mean(covered[1]), mean(share), len(share))
	if r := mean(ratio); r > 0.78 {
		t.Errorf("first-day MAPE is %.3f of the naive forecast's, want at most 0.78", r)
	}
	spread := 0.02
	if len(zones) == 1 {
		spread = 0.03 // as for each zone
	}
	for k, hours := range []int{24, forecast.Horizon} {
		if c := mean(covered[k]); math.Abs(c-0.9) > spread {
			t.Errorf("90 %% intervals hold %.1f %% of the values of %d hours", 100*c, hours)
		}
	}
	if s := mean(share); len(share) > 1 && s < 0.8 {
		t.Errorf("the chosen windows reach %.1f %% of the possible saving, want 80", 100*s)
	}
}

func mean(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s / float64(len(v))
}

// evaluate runs a model once over all points and returns the scores of the years.
func evaluate(t *testing.T, points []grid.Point, years []int) []score {
	t.Helper()
	scores := make([]score, len(years))
	m := forecast.NewModel(forecast.Options{})
	for i, p := range points {
		if k := slices.Index(years, p.Start.Year()); k >= 0 && p.Start.Hour() == 0 && i+forecast.Horizon <= len(points) {
			steps, err := m.Forecast(forecast.Horizon)
			switch learning := i < learned; {
			case err != nil && !(learning && errors.Is(err, forecast.ErrTooShort)):
				t.Fatal(err)
			case err != nil || math.IsNaN(steps[0].Low):
				if !learning {
					t.Fatalf("after %d hours there are no intervals", i)
				}
				steps = nil
			}
			scores[k].add(t, steps, points[i:i+forecast.Horizon], points[max(i-24, 0):i])
		}
		if err := m.Observe(p.Start, p.Value); err != nil {
			t.Fatal(err)
		}
	}
	return scores
}

// interval counts whether an hour's value lies in its interval.
func (s *score) interval(k int, st forecast.Step, value float64) {
	if st.Low <= value && value <= st.High {
		s.inside[k]++
	} else {
		s.outside[k]++
	}
}

// learned is how many hours a model has learned from at most when it knows its intervals.
const learned = 50 * 24

// add counts a forecast, if there is one.
func (s *score) add(t *testing.T, steps []forecast.Step, actual, before []grid.Point) {
	if steps == nil {
		return
	}
	s.days++
	var model, naive [2]float64
	for h, st := range steps {
		a := actual[h].Value
		if !st.Start.Equal(actual[h].Start) {
			t.Fatalf("step %d starts at %v, want %v", h, st.Start, actual[h].Start)
		}
		em, en := math.Abs(st.Value-a)/max(a, 1), math.Abs(before[h%24].Value-a)/max(a, 1)
		if h < 24 {
			model[0], naive[0] = model[0]+em, naive[0]+en
			s.interval(0, st, a)
		}
		s.interval(1, st, a)
		model[1], naive[1] = model[1]+em, naive[1]+en
	}
	for k, hours := range []float64{24, forecast.Horizon} {
		s.model[k] += 100 * model[k] / hours
		s.naive[k] += 100 * naive[k] / hours
	}
	window := func(at func(h int) float64, start int) (sum float64) {
		for h := start; h < start+job; h++ {
			sum += at(h)
		}
		return sum
	}
	truth := func(h int) float64 { return actual[h].Value }
	guess := func(h int) float64 { return steps[h].Value }
	chosen, best := 0, 0
	for w := range slack + 1 {
		if window(guess, w) < window(guess, chosen) {
			chosen = w
		}
		if window(truth, w) < window(truth, best) {
			best = w
		}
	}
	s.atOnce += window(truth, 0)
	s.saved += window(truth, 0) - window(truth, chosen)
	s.possible += window(truth, 0) - window(truth, best)
}

func ExampleModel() {
	m := forecast.NewModel(forecast.Options{})
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for h := range 60 * 24 { // sunny noons
		at := start.Add(time.Duration(h) * time.Hour)
		if err := m.Observe(at, 300-100*math.Cos(2*math.Pi*float64(h-12)/24)); err != nil {
			panic(err)
		}
	}
	steps, err := m.Forecast(24)
	if err != nil {
		panic(err)
	}
	best := steps[0]
	for _, s := range steps {
		if s.Value < best.Value {
			best = s
		}
	}
	fmt.Printf("%s %.0f g/kWh\n", best.Start.Format("15:04"), best.Value)
	// Output: 12:00 200 g/kWh
}
