package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// hours are values from an hour on; NaN is unknown.
type hours struct {
	from   time.Time
	values []float64
	known  []float64 // while a file is read: the share of each hour that it told of
}

// at returns the value of the hour that holds t, NaN outside.
func (h *hours) at(t time.Time) float64 {
	k := int(t.Sub(h.from) / time.Hour)
	if t.Before(h.from) || k >= len(h.values) {
		return math.NaN()
	}
	return h.values[k]
}

func sortedKeys(m map[string]hours) []string {
	var names []string
	for z := range m {
		names = append(names, z)
	}
	slices.Sort(names)
	return names
}

// series reads a file by zone. Prices of several currencies need rates.
func (g *gridOptions) series(file string, signal grid.Signal) (map[string]hours, string, error) {
	if file == "" {
		return nil, "", nil
	}
	f, err := open(file)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	points, err := grid.ReadCSV(f, grid.CSVOptions{Name: file, Signal: signal})
	if err != nil {
		return nil, "", err
	}
	rates, err := grid.ParseRates(g.rates)
	if err != nil {
		return nil, "", fmt.Errorf("-rates: %w", err)
	}
	out, money, target := map[string]hours{}, "", "converted"
	for _, currency := range slices.Sorted(maps.Keys(rates)) {
		if rates[currency] == 1 { // all are worth so many of it
			target = currency
		}
	}
	for _, p := range points {
		h, ok := out[p.Zone]
		if !ok {
			h.from = p.Start.Truncate(time.Hour)
		}
		v := p.Value
		if signal == grid.Price {
			switch r, ok := rates[p.Currency]; {
			case ok:
				v, money = v*r, target
			case len(rates) > 0:
				continue // a currency that the user gave no rate for: its zones are unknown
			case money == "" || money == p.Currency:
				money = p.Currency
			default:
				return nil, "", fmt.Errorf("%s: prices in %s and %s: say -rates %s=…,%s=…", file, money, p.Currency, money, p.Currency)
			}
		}
		h.add(p.Start, p.End, v)
		out[p.Zone] = h
	}
	for z, h := range out {
		for k := range h.values {
			h.values[k] /= h.known[k] // NaN where nothing is known
		}
		out[z] = hours{from: h.from, values: h.values}
	}
	return out, money, nil
}

// add counts a value of some time in the hours that it touches, which become means when all is read.
func (h *hours) add(start, end time.Time, v float64) {
	for k := int(start.Sub(h.from) / time.Hour); ; k++ {
		from := h.from.Add(time.Duration(k) * time.Hour)
		if !from.Before(end) {
			return
		}
		for len(h.values) <= k {
			h.values, h.known = append(h.values, 0), append(h.known, 0)
		}
		until := from.Add(time.Hour)
		if start.After(from) {
			from = start
		}
		if end.Before(until) {
			until = end
		}
		d := until.Sub(from).Hours()
		h.values[k] += d * v
		h.known[k] += d
	}
}

func (w *world) filled(h *hours, n int) []float64 {
	out := make([]float64, n)
	last := 0.0
	for _, v := range h.values { // the first known value, in case the series begins with a gap
		if v == v {
			last = v
			break
		}
	}
	for k := range out {
		if v := h.at(w.start.Add(time.Duration(k) * time.Hour)); v == v {
			last = v
		}
		out[k] = last
	}
	return out
}
