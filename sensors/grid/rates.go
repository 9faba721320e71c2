package grid

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Rates are exchange rates that the user gives: what one unit of a currency is worth in the currency that all prices are to be in.
type Rates map[string]float64

// ParseRates reads "EUR=1.08,CAD=0.74,USD=1". An empty text gives no rates.
func ParseRates(text string) (Rates, error) {
	rates := Rates{}
	if text == "" {
		return rates, nil
	}
	for f := range strings.SplitSeq(text, ",") {
		currency, number, ok := strings.Cut(strings.TrimSpace(f), "=")
		v, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil || currency == "" {
			return nil, fmt.Errorf("exchange rate %q: want CURRENCY=NUMBER above 0", f)
		}
		if _, twice := rates[currency]; twice {
			return nil, fmt.Errorf("exchange rate of %s: stands twice", currency)
		}
		rates[currency] = v
	}
	return rates, rates.Validate()
}

// Validate returns an error that names a rate that is none.
func (r Rates) Validate() error {
	for _, currency := range slices.Sorted(maps.Keys(r)) {
		if v := r[currency]; !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("exchange rate of %s: %v: want a number above 0", currency, v)
		}
	}
	return nil
}

// Convert brings prices into one currency, in place. Those that are in it already need no rate; one in a currency without a rate is an error that wraps
// [ErrImplausible], since money of two currencies is never mixed, and so is one that a rate makes absurd. A rate of the currency itself is 1, or the rates are to another one.
func (r Rates) Convert(points []Point, to string) error {
	if err := r.To(to); err != nil {
		return err
	}
	for i := range points {
		p := &points[i]
		rate, ok := r[p.Currency]
		switch {
		case p.Signal != Price:
			return fmt.Errorf("zone %q: %s is no price: %w", p.Zone, p.Signal, ErrImplausible)
		case ok:
			p.Value *= rate
		case p.Currency != to:
			return fmt.Errorf("zone %q is in %q, and prices are to be in %q: give an exchange rate: %w", p.Zone, p.Currency, to, ErrImplausible)
		}
		p.Currency = to
		if p.Value < MinPrice || p.Value > MaxPrice {
			return fmt.Errorf("zone %q: in %s a price is %v per kWh: %w", p.Zone, to, p.Value, ErrImplausible)
		}
	}
	return nil
}

// To returns an error that wraps [ErrImplausible] if the rates are not to a currency, of which one unit is then worth something else than one.
func (r Rates) To(currency string) error {
	if v, ok := r[currency]; ok && v != 1 {
		return fmt.Errorf("exchange rate of %s: %v: prices are to be in %[1]s, of which one is worth one: %[3]w", currency, v, ErrImplausible)
	}
	return nil
}
