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
	opts     TariffOptions
	rates    []Rate
	base     float64
}

// TariffOptions tune a [TimeOfUse]. The zero value works.
type TariffOptions struct {
	Location *time.Location // whose clock and calendar; nil means UTC

	// Holidays count as Sundays, as most tariffs have it.
	Holidays []Date

	// Now tells the time; nil means [time.Now].
	Now func() time.Time
}

// A Rate is a price that holds on some days between two times of day.
type Rate struct {
	// Days on which the rate holds; none means every day.
	Days []time.Weekday

	// From and Until are times of day since midnight by the wall clock, of full minutes; Until may be 24 h, and
	// is after From.
	From, Until time.Duration

	// First and Last are the days of a season in which the rate holds, both included, of any year: one that starts later in the
	// year than it ends goes over its turn. Two zero ones mean all the year.
	First, Last Date

	Price float64 // money per kWh
}

// A Date is a day of the calendar; a Year of 0 means every year.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ParseDate reads "2026-12-25", or "12-25" for every year.
func ParseDate(text string) (Date, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil && t.Year() > 0 {
		return Date{t.Year(), t.Month(), t.Day()}, nil
	}
	t, err := time.Parse("2006-01-02", leap+"-"+text)
	if err != nil {
		return Date{}, fmt.Errorf("%.40q is no date: want 2026-12-25, or 12-25 for every year", text)
	}
	return Date{0, t.Month(), t.Day()}, nil
}

const leap = "2000" // a year that has all dates

func (d Date) valid() bool {
	t := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC) // year 0 is a leap year
	return d.Year >= 0 && t.Month() == d.Month && t.Day() == d.Day
}

// inYear orders the dates of a year.
func (d Date) inYear() int { return int(d.Month)*32 + d.Day }

// NewTimeOfUse returns a tariff: the first rate that holds decides, else base.
func NewTimeOfUse(currency string, base float64, rates []Rate, o TariffOptions) (*TimeOfUse, error) {
	if o.Location == nil {
		o.Location = time.UTC
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if currency == "" {
		return nil, errors.New("time-of-use tariff: want a currency")
	}
	o.Holidays = slices.Clone(o.Holidays)
	for _, d := range o.Holidays {
		if !d.valid() {
			return nil, fmt.Errorf("time-of-use tariff: holiday %d-%d-%d: there is no such day", d.Year, d.Month, d.Day)
		}
	}
	t := &TimeOfUse{currency: currency, opts: o, rates: slices.Clone(rates), base: base}
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
		if none := (Date{}); (r.First != none || r.Last != none) && !(r.First.valid() && r.Last.valid() && r.First.Year == 0 && r.Last.Year == 0) {
			return nil, fmt.Errorf("time-of-use tariff: rate %d holds from the day %v until %v: want two days of any year", i, r.First, r.Last)
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
	now := t.opts.Now()
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
	at = at.In(t.opts.Location)
	clock := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	today := Date{at.Year(), at.Month(), at.Day()}
	weekday := at.Weekday()
	for _, d := range t.opts.Holidays {
		if d.Month == today.Month && d.Day == today.Day && (d.Year == 0 || d.Year == today.Year) {
			weekday = time.Sunday
		}
	}
	for i := range t.rates {
		r := &t.rates[i]
		if clock >= r.From && clock < r.Until && (len(r.Days) == 0 || slices.Contains(r.Days, weekday)) && r.season(today) {
			return r.Price
		}
	}
	return t.base
}

// season tells whether a day is of the rate's season.
func (r *Rate) season(today Date) bool {
	first, last, day := r.First.inYear(), r.Last.inYear(), today.inYear()
	switch {
	case first == 0:
		return true
	case first <= last:
		return first <= day && day <= last
	}
	return day >= first || day <= last
}
