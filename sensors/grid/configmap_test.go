package grid_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

func hours(zone string, values ...float64) []grid.Point {
	var ps []grid.Point
	for h, v := range values {
		at := noon.Add(time.Duration(h) * time.Hour)
		ps = append(ps, grid.Point{Zone: zone, Signal: grid.MarginalDirect, Start: at, End: at.Add(time.Hour), Value: v, Forecast: true})
	}
	return ps
}

func ExampleConfigMap() {
	data, binary, err := grid.ConfigMap(hours("PJM_ROANOKE", 550.9853, 0), "", noon)
	fmt.Println(data["numOfRecords"], data["minForecast"], data["maxForecast"], data["forecastDateTime"], err)
	fmt.Println(string(binary["data"]))
	// Output:
	// 2 0.000000 550.985300 2026-06-01 12:00:00 +0000 UTC <nil>
	// [{"location":"PJM_ROANOKE","timestamp":"2026-06-01T12:00:00Z","duration":60,"value":550.9853},{"location":"PJM_ROANOKE","timestamp":"2026-06-01T13:00:00Z","duration":60,"value":0}]
}

// What is written reads back as the points, minute by minute, also when cut.
func TestConfigMapKeepsTheForecast(t *testing.T) {
	points := hours("GB", 100, 0, 333.25)
	fine, err := grid.Split(points, 5*time.Minute)
	if err != nil || len(fine) != 36 {
		t.Fatalf("%d pieces, error %v, want 36", len(fine), err)
	}
	data, binary, err := grid.ConfigMap(fine, "provider away", noon)
	if err != nil {
		t.Fatal(err)
	}
	var records []struct {
		Timestamp time.Time
		Duration  int
		Value     float64
	}
	if err := json.Unmarshal(binary["data"], &records); err != nil {
		t.Fatal(err)
	}
	if data["message"] != "provider away" || data["numOfRecords"] != "36" || len(records) != 36 {
		t.Errorf("data is %v with %d records", data, len(records))
	}
	for _, r := range records {
		want, covered := grid.Mean(points, r.Timestamp, r.Timestamp.Add(time.Duration(r.Duration)*time.Minute))
		if r.Value != want || covered != 1 {
			t.Errorf("at %v: %v, want %v", r.Timestamp, r.Value, want)
		}
	}
}

func TestConfigMapRefuses(t *testing.T) {
	mixed, price, odd, nan := hours("GB", 1, 2), hours("GB", 1), hours("GB", 1), hours("GB", math.NaN())
	mixed[1].Zone = "FR"
	price[0].Signal = grid.Price
	odd[0].End = odd[0].End.Add(time.Second)
	for name, ps := range map[string][]grid.Point{
		"none": nil, "two zones": mixed, "a price": price, "odd seconds": odd, "NaN": nan,
		"overlap": append(hours("GB", 1), hours("GB", 1)...),
	} {
		if _, _, err := grid.ConfigMap(ps, "", noon); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, _, err := grid.ConfigMap(hours(strings.Repeat("x", 2000), make([]float64, 1000)...), "", noon); err == nil {
		t.Error("more than a ConfigMap holds was accepted")
	}
	if _, err := grid.Split(hours("GB", 1), time.Second); err == nil {
		t.Error("split by seconds")
	}
	if _, err := grid.Split(hours("GB", make([]float64, 2000)...), time.Minute); err == nil {
		t.Error("120,000 pieces were made")
	}
}

// Pieces start on full steps, and together are the points.
func TestSplit(t *testing.T) {
	p := hours("GB", 7)
	p[0].Start = noon.Add(7 * time.Minute)
	pieces, err := grid.Split(p, 30*time.Minute)
	if err != nil || len(pieces) != 2 || !pieces[0].Start.Equal(p[0].Start) || !pieces[0].End.Equal(noon.Add(30*time.Minute)) || !pieces[1].End.Equal(p[0].End) {
		t.Errorf("pieces are %+v, error %v", pieces, err)
	}
}
