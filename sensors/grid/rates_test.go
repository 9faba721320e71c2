package grid_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

func ExampleRates() {
	rates, err := grid.ParseRates("GBP=1.17")
	if err != nil {
		panic(err)
	}
	prices := []grid.Point{{Zone: "FR", Signal: grid.Price, Value: 0.08, Currency: "EUR"}, {Zone: "GB", Signal: grid.Price, Value: 0.1, Currency: "GBP"}}
	err = rates.Convert(prices, "EUR")
	fmt.Printf("%.3f %.3f %s %v\n", prices[0].Value, prices[1].Value, prices[1].Currency, err)
	// Output: 0.080 0.117 EUR <nil>
}

func TestRatesRefuse(t *testing.T) {
	for _, bad := range []string{"EUR", "EUR=", "EUR=x", "EUR=0", "EUR=-1", "EUR=NaN", "EUR=Inf", "=1", "EUR=1,EUR=2"} {
		if r, err := grid.ParseRates(bad); err == nil {
			t.Errorf("%q gives %v", bad, r)
		}
	}
	if r, err := grid.ParseRates(""); err != nil || len(r) != 0 {
		t.Errorf("of nothing %v, %v", r, err)
	}
	start := time.Unix(0, 0)
	point := grid.Point{Zone: "GB", Signal: grid.Price, Start: start, End: start.Add(time.Hour), Value: 0.1, Currency: "GBP"}
	if err := (grid.Rates{"CAD": 0.7}).Convert([]grid.Point{point}, "EUR"); !errors.Is(err, grid.ErrImplausible) {
		t.Errorf("without a rate: %v", err)
	}
	dollars := grid.Rates{"EUR": 1.08, "GBP": 1.27, "USD": 1}
	if err := dollars.Convert([]grid.Point{point}, "EUR"); !errors.Is(err, grid.ErrImplausible) {
		t.Errorf("rates to dollars for prices in euros: %v", err)
	}
	if err := dollars.Convert([]grid.Point{point}, "USD"); err != nil {
		t.Error(err)
	}
	if err := (grid.Rates{"GBP": 1e9}).Convert([]grid.Point{point}, "EUR"); !errors.Is(err, grid.ErrImplausible) {
		t.Errorf("an absurd rate: %v", err)
	}
	point.Signal = grid.AverageDirect
	if err := (grid.Rates{"GBP": 1}).Convert([]grid.Point{point}, "EUR"); !errors.Is(err, grid.ErrImplausible) {
		t.Errorf("of an intensity: %v", err)
	}
	if err := (grid.Rates{"GBP": math.Inf(1)}).Validate(); err == nil {
		t.Error("an infinite rate is valid")
	}
}
