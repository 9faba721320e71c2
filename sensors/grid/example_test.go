package grid_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

func ExampleTimeOfUse() {
	night := grid.Rate{From: 0, Until: 6 * time.Hour, Price: 0.18}
	tariff, err := grid.NewTimeOfUse("EUR", 0.31, []grid.Rate{night}, grid.TariffOptions{})
	if err != nil {
		panic(err)
	}
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	points, err := tariff.Forecast(context.Background(), "any", at, at.Add(24*time.Hour))
	for _, p := range points {
		fmt.Println(p.Start.Format("15:04"), p.Value, p.Currency)
	}
	fmt.Println(err)
	// Output:
	// 00:00 0.18 EUR
	// 06:00 0.31 EUR
	// <nil>
}

func ExampleProfile() {
	now := func() time.Time { return time.Date(2026, 6, 1, 6, 0, 0, 0, time.UTC) }
	sine, err := grid.ParseProfile("sine:300:100:86400", grid.AverageLifeCycle, 0, now)
	if err != nil {
		panic(err)
	}
	p, err := sine.Current(context.Background(), "any")
	fmt.Printf("%.0f g/kWh until %s %v\n", p.Value, p.End.Format("15:04"), err)
	// Output: 399 g/kWh until 07:00 <nil>
}

// away is a provider that does not answer.
type away struct{}

func (away) Signal() grid.Signal { return grid.AverageLifeCycle }

func (away) Current(context.Context, string) (grid.Point, error) {
	return grid.Point{}, errors.New("connection refused")
}

// A provider that is asked at most every ten minutes, and a table of the past for when it is away.
func ExampleFallback() {
	now := func() time.Time { return time.Date(2026, 6, 1, 12, 30, 0, 0, time.UTC) }
	provider := grid.NewCached(away{}, grid.CacheOptions{Interval: 10 * time.Minute, Now: now})
	hour := now().Truncate(time.Hour)
	table, err := grid.NewSeries(grid.AverageLifeCycle, []grid.Point{{Zone: "FR", Signal: grid.AverageLifeCycle, Start: hour, End: hour.Add(time.Hour), Value: 56, Source: "table"}}, now)
	if err != nil {
		panic(err)
	}
	source, err := grid.NewFallback(provider, table)
	if err != nil {
		panic(err)
	}
	p, err := source.Current(context.Background(), "FR")
	fmt.Println(p.Value, p.Source, err)
	_, err = source.Current(context.Background(), "XX")
	fmt.Println(errors.Is(err, grid.ErrUnknownZone)) // the provider, which is away, may have it
	// Output:
	// 56 table <nil>
	// false
}
