// Package neso reads the carbon intensity of Great Britain from the National Energy System Operator's Carbon Intensity
// API, which needs no key. Its intensity is of the generation alone: average and direct, by half-hours.
//
// Its main type is [Source].
package neso

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// Zone is the only zone that the source has.
const Zone = "GB"

// Options tune a [Source]. The zero value works.
type Options struct {
	Timeout time.Duration // of one request; 0 means 10 seconds
	TLS     *tls.Config   // nil verifies against the system's roots
}

// A Source asks NESO. It implements [grid.HistorySource] and [grid.ForecastSource].
type Source struct{ client *boundedhttp.Client }

// New returns a source of the API at an endpoint. It connects to nothing.
func New(endpoint string, o Options) (*Source, error) {
	c, err := boundedhttp.New(endpoint, boundedhttp.Options{Timeout: o.Timeout, TLS: o.TLS})
	if err != nil {
		return nil, fmt.Errorf("neso: %w", err)
	}
	return &Source{client: c}, nil
}

// Signal implements [grid.Source].
func (*Source) Signal() grid.Signal { return grid.AverageDirect }

// Current implements [grid.Source]: the present half-hour, measured if it is known, else as forecast and marked estimated.
func (s *Source) Current(ctx context.Context, zone string) (grid.Point, error) {
	ps, err := s.get(ctx, zone, "/intensity", false)
	if err != nil {
		return grid.Point{}, err
	}
	if len(ps) == 0 {
		return grid.Point{}, fmt.Errorf("neso: zone %q: %w", zone, grid.ErrUnknown)
	}
	return ps[len(ps)-1], nil
}

// most is for how long the API answers at once.
const most = 14 * 24 * time.Hour

// History implements [grid.HistorySource].
func (s *Source) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	var all []grid.Point
	for from.Before(until) {
		end := from.Add(most)
		if end.After(until) {
			end = until
		}
		ps, err := s.get(ctx, zone, "/intensity/"+stamp(from)+"/"+stamp(end), false)
		if err != nil {
			return nil, err
		}
		all = append(all, ps...)
		from = end
	}
	return grid.Tidy(all) // pieces meet in one half-hour
}

// Forecast implements [grid.ForecastSource]: at most 48 hours from from.
func (s *Source) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	ps, err := s.get(ctx, zone, "/intensity/"+stamp(from)+"/fw48h", true)
	return slices.DeleteFunc(ps, func(p grid.Point) bool { return !p.End.After(from) || !p.Start.Before(until) }), err
}

func stamp(t time.Time) string { return t.UTC().Format(layout) }

const layout = "2006-01-02T15:04Z"

func (s *Source) get(ctx context.Context, zone, path string, forecast bool) ([]grid.Point, error) {
	if zone != Zone {
		return nil, fmt.Errorf("neso: zone %q: only %s: %w", zone, Zone, grid.ErrUnknownZone)
	}
	r, err := s.client.Get(ctx, path, nil)
	if err != nil {
		return nil, fmt.Errorf("neso: %w", err)
	}
	var answer struct {
		Data []struct {
			From, To  string
			Intensity struct{ Forecast, Actual *float64 }
		}
	}
	if err := json.Unmarshal(r.Body, &answer); err != nil {
		return nil, fmt.Errorf("neso: answer: %w", err)
	}
	ps := make([]grid.Point, 0, len(answer.Data))
	for i, d := range answer.Data {
		start, err := time.Parse(layout, d.From)
		if err != nil {
			return nil, fmt.Errorf("neso: data[%d].from: %w", i, err)
		}
		end, err := time.Parse(layout, d.To)
		if err != nil {
			return nil, fmt.Errorf("neso: data[%d].to: %w", i, err)
		}
		p := grid.Point{Zone: Zone, Signal: grid.AverageDirect, Start: start, End: end, Forecast: forecast, Source: "neso"}
		switch v := d.Intensity; {
		case v.Actual != nil && !forecast:
			p.Value = *v.Actual
		case v.Forecast != nil:
			p.Value, p.Estimated = *v.Forecast, true
		default:
			continue
		}
		ps = append(ps, p)
	}
	if ps, err = grid.Tidy(ps); err != nil {
		return nil, fmt.Errorf("neso: %w", err)
	}
	return ps, nil
}
