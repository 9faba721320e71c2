// Package grid knows what a kilowatt-hour costs where and when: grams of CO2 equivalent and money.
//
// Its main type is [Source], which tells a zone's present value of one [Signal]; history and forecasts are asked
// for by [HistorySource] and [ForecastSource]. Average and marginal intensity, direct and life-cycle emissions
// are different signals and are never mixed. What is not known is an error, never a 0: an intensity of 0 is
// a measurement (a grid on water and wind has it).
package grid

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// A Signal is what a point measures, with its unit.
type Signal string

// The signals. Average intensity is what consumers share in; marginal is what one more kilowatt-hour adds.
const (
	AverageLifeCycle  Signal = "average_lifecycle_gco2eq_per_kwh"
	AverageDirect     Signal = "average_direct_gco2eq_per_kwh"
	MarginalLifeCycle Signal = "marginal_lifecycle_gco2eq_per_kwh"
	MarginalDirect    Signal = "marginal_direct_gco2eq_per_kwh"
	Price             Signal = "price_per_kwh" // in the point's currency
)

// Valid tells whether s is one of the signals of this package.
func (s Signal) Valid() bool {
	switch s {
	case AverageLifeCycle, AverageDirect, MarginalLifeCycle, MarginalDirect, Price:
		return true
	}
	return false
}

// A Point is a signal's value in a zone from Start until End.
type Point struct {
	Zone       string
	Signal     Signal
	Start, End time.Time // UTC; End is after Start
	Value      float64   // gCO2eq/kWh, or Currency per kWh; finite, and never negative but for a price
	Currency   string    // ISO 4217, of a price
	Estimated  bool      // modelled by the provider rather than measured
	Forecast   bool      // about the future when it was made
	Source     string    // "electricitymaps", "csv:prices.csv"
}

// Covers tells whether the point holds at t.
func (p Point) Covers(t time.Time) bool { return !t.Before(p.Start) && t.Before(p.End) }

// Limits of what a point may say, far beyond what any grid has: above them a unit was mistaken.
const (
	MaxIntensity = 5000 // gCO2eq/kWh; lignite is near 1,100
	MaxPrice     = 1e7  // per kWh, in currencies of any size
	MinPrice     = -1e7 // prices may be negative
	maxSpan      = 8 * 24 * time.Hour
)

// Validate returns an error that names what is wrong with the point and wraps [ErrImplausible].
func (p Point) Validate() error {
	switch {
	case !p.Signal.Valid():
		return fmt.Errorf("zone %q: signal %q: %w", p.Zone, p.Signal, ErrImplausible)
	case !p.End.After(p.Start) || p.End.Sub(p.Start) > maxSpan:
		return fmt.Errorf("zone %q: from %v until %v: %w", p.Zone, p.Start, p.End, ErrImplausible)
	case math.IsNaN(p.Value) || math.IsInf(p.Value, 0):
		return fmt.Errorf("zone %q at %v: value %v: %w", p.Zone, p.Start, p.Value, ErrImplausible)
	case p.Signal == Price && (p.Value < MinPrice || p.Value > MaxPrice), p.Signal != Price && (p.Value < 0 || p.Value > MaxIntensity):
		return fmt.Errorf("zone %q at %v: %s of %v is out of range: %w", p.Zone, p.Start, p.Signal, p.Value, ErrImplausible)
	}
	return nil
}

// A Source tells the present value of one signal.
//
// Current is safe for concurrent use and returns when ctx is done. A zone that the source does not have is
// an error that wraps [ErrUnknownZone]; a value that the provider does not know (null) wraps [ErrUnknown].
// No error contains a credential. The caller owns what is returned.
type Source interface {
	Signal() Signal
	Current(ctx context.Context, zone string) (Point, error)
}

// A HistorySource also knows the past: the points that overlap from–until, by start, without overlaps among
// themselves. Gaps stay gaps.
type HistorySource interface {
	Source
	History(ctx context.Context, zone string, from, until time.Time) ([]Point, error)
}

// A ForecastSource also foretells: the points that overlap from–until, by start. The forecast may end
// before until; callers look at the last point's End.
type ForecastSource interface {
	Source
	Forecast(ctx context.Context, zone string, from, until time.Time) ([]Point, error)
}

// What callers act on.
var (
	// ErrUnknownZone says that the source has no such zone.
	ErrUnknownZone = errors.New("unknown zone")
	// ErrUnknown says that the value is not known now. It is neutral: it holds no work back.
	ErrUnknown = errors.New("value not known")
	// ErrStale says that the newest value is older than allowed.
	ErrStale = errors.New("stale value")
	// ErrImplausible says that a value was refused.
	ErrImplausible = errors.New("implausible value")
	// ErrUnsupported says that the source has no history or no forecast.
	ErrUnsupported = errors.New("not supported by this source")
)

// History asks s for history, or returns an error that wraps [ErrUnsupported].
func History(ctx context.Context, s Source, zone string, from, until time.Time) ([]Point, error) {
	if h, ok := s.(HistorySource); ok {
		return h.History(ctx, zone, from, until)
	}
	return nil, fmt.Errorf("history of zone %q: %w", zone, ErrUnsupported)
}

// Forecast asks s for a forecast, or returns an error that wraps [ErrUnsupported].
func Forecast(ctx context.Context, s Source, zone string, from, until time.Time) ([]Point, error) {
	if f, ok := s.(ForecastSource); ok {
		return f.Forecast(ctx, zone, from, until)
	}
	return nil, fmt.Errorf("forecast of zone %q: %w", zone, ErrUnsupported)
}

// Mean returns the time-weighted mean of the points over from–until and the share of that time they cover,
// 0 to 1. With a share of 0 the mean is NaN.
func Mean(points []Point, from, until time.Time) (mean, covered float64) {
	total := until.Sub(from).Seconds()
	var sum, seconds float64
	for _, p := range points {
		start, end := p.Start, p.End
		if start.Before(from) {
			start = from
		}
		if end.After(until) {
			end = until
		}
		if s := end.Sub(start).Seconds(); s > 0 {
			sum += s * p.Value
			seconds += s
		}
	}
	return sum / seconds, seconds / total
}
