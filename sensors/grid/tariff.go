package grid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A TimeOfUse is a price by the clock, as tariffs tell it: known always, and in advance. It answers for any zone. Changes of
// clocks follow the location's rules.
type TimeOfUse struct {
	currency string
	loc      *time.Location
	rates    []Rate
	base     float64
	now      func() time.Time
}

// A Rate is a price that holds on some days between two times of day.
type Rate struct {
	// Days on which the rate holds; none means every day.
	Days []time.Weekday

	// From and Until are times of day since midnight by the wall clock, of full minutes; Until may be 24 h, and
	// is after From.
	From, Until time.Duration

	Price float64 // money per kWh
}

// NewTimeOfUse returns a tariff: the first rate that holds decides, else base. Loc nil means UTC, now nil [time.Now].
func NewTimeOfUse(currency string, base float64, rates []Rate, loc *time.Location, now func() time.Time) (*TimeOfUse, error) {
	if loc == nil {
		loc = time.UTC
	}
	if now == nil {
		now = time.Now
	}
	if currency == "" {
		return nil, errors.New("time-of-use tariff: want a currency")
	}
	t := &TimeOfUse{currency: currency, loc: loc, rates: slices.Clone(rates), base: base, now: now}
	start := time.Unix(0, 0)
	check := func(what string, price float64) error {
		p := Point{Zone: what, Signal: Price, Start: start, End: start.Add(time.Hour), Value: price}
		if err := p.Validate(); err != nil {
			return fmt.Errorf("time-of-use tariff: %w", err)
		}
		return nil
	}
	if err := check("base", base); err != nil {
		return nil, err
	}
	for i, r := range rates {
		if r.From < 0 || r.Until > 24*time.Hour || r.From >= r.Until || r.From%time.Minute != 0 || r.Until%time.Minute != 0 {
			return nil, fmt.Errorf("time-of-use tariff: rate %d holds from %v until %v: want full minutes of one day, in order", i, r.From, r.Until)
		}
		if err := check(fmt.Sprintf("rate %d", i), r.Price); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Signal implements [Source].
func (t *TimeOfUse) Signal() Signal { return Price }

// Current implements [Source].
func (t *TimeOfUse) Current(_ context.Context, zone string) (Point, error) {
	now := t.now()
	ps, err := t.between(zone, now, now.Add(time.Second))
	if err != nil {
		return Point{}, err
	}
	return ps[0], nil
}

// History implements [HistorySource].
func (t *TimeOfUse) History(_ context.Context, zone string, from, until time.Time) ([]Point, error) {
	return t.between(zone, from, until)
}

// Forecast implements [ForecastSource]: a tariff is known in advance.
func (t *TimeOfUse) Forecast(_ context.Context, zone string, from, until time.Time) ([]Point, error) {
	ps, err := t.between(zone, from, until)
	for i := range ps {
		ps[i].Forecast = true
	}
	return ps, err
}

// between walks from one change of price to the next. Changes lie on full minutes of the wall clock, and so do changes of
// clocks.
func (t *TimeOfUse) between(zone string, from, until time.Time) ([]Point, error) {
	if n := until.Sub(from) / time.Hour; n > maxPoints {
		return nil, fmt.Errorf("time-of-use tariff: %d hours from %v: at most %d at once", n, from, maxPoints)
	}
	var ps []Point
	for at := from.Truncate(time.Hour); at.Before(until); {
		end, price := at, t.price(at)
		limit := at.Add(24 * time.Hour)
		for end.Before(limit) && t.price(end) == price {
			end = end.Add(t.stride(end))
		}
		if end.After(from) {
			ps = append(ps, Point{Zone: zone, Signal: Price, Start: at.UTC(), End: end.UTC(), Value: price, Currency: t.currency, Source: "time-of-use"})
		}
		at = end
	}
	return ps, nil
}

// stride returns how far the price cannot change from a moment on: to the next full quarter of an hour where all rates
// begin on one, else a minute.
func (t *TimeOfUse) stride(at time.Time) time.Duration {
	const quarter = 15 * time.Minute
	for _, r := range t.rates {
		if r.From%quarter != 0 || r.Until%quarter != 0 {
			return time.Minute
		}
	}
	return at.Truncate(quarter).Add(quarter).Sub(at)
}

func (t *TimeOfUse) price(at time.Time) float64 {
	at = at.In(t.loc)
	clock := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	for _, r := range t.rates {
		if clock >= r.From && clock < r.Until && (len(r.Days) == 0 || slices.Contains(r.Days, at.Weekday())) {
			return r.Price
		}
	}
	return t.base
}
