// Package neso reads the carbon intensity of Great Britain from the National Energy System Operator's Carbon Intensity
// API, which needs no key. Its intensity is of the generation alone: average and direct, by half-hours.
//
// Its main type is [Source].
package neso

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// Zone is all of Great Britain. Its regions are zones too, of which the API tells forecasts alone: by number as "GB-13" (London; 1 to 14 are those of
// the distribution networks, 15 England, 16 Scotland, 17 Wales), or by the first half of a postcode as "GB-EC2A".
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
	ps, err := s.get(ctx, zone, "", false)
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
	for at := from; at.Before(until); {
		end := at.Add(most)
		if end.After(until) {
			end = until
		}
		ps, err := s.get(ctx, zone, "/"+stamp(at)+"/"+stamp(end), false)
		if err != nil {
			return nil, err
		}
		all = append(all, ps...)
		at = end
	}
	all, err := grid.Tidy(all) // pieces meet in one half-hour
	return between(all, from, until), err
}

// Forecast implements [grid.ForecastSource]: at most 48 hours from from.
func (s *Source) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	ps, err := s.get(ctx, zone, "/"+stamp(from)+"/fw48h", true)
	return between(ps, from, until), err
}

// between drops what the API tells of the half-hours beside those asked for, such as the one that ends at from.
func between(ps []grid.Point, from, until time.Time) []grid.Point {
	return slices.DeleteFunc(ps, func(p grid.Point) bool { return !p.End.After(from) || !p.Start.Before(until) })
}

func stamp(t time.Time) string { return t.UTC().Format(layout) }

const layout = "2006-01-02T15:04Z"

// outward is the first half of a postcode, which always holds a digit: EC2A.
var outward = regexp.MustCompile(`^[A-Z]{1,2}[0-9][0-9A-Z]?$`)

// region returns how a zone's region is named in a path, such as "regionid/13"; "" is all of Great Britain.
func region(zone string) (string, error) {
	if zone == Zone {
		return "", nil
	}
	name, ok := strings.CutPrefix(zone, Zone+"-")
	switch n, err := strconv.Atoi(name); {
	case !ok:
	case err == nil && n >= 1 && n <= 17 && strconv.Itoa(n) == name:
		return "regionid/" + name, nil
	case outward.MatchString(name):
		return "postcode/" + name, nil
	}
	return "", fmt.Errorf("neso: zone %.40q: want %s, %[2]s-1 to %[2]s-17 or %[2]s with the first half of a postcode, as in %[2]s-EC2A: %w", zone, Zone, grid.ErrUnknownZone)
}

// A half is a half-hour.
type half struct {
	From, To  string
	Intensity struct{ Forecast, Actual *float64 }
}

// An area is the half-hours of a region. The API tells its number also where it was asked for a postcode.
type area struct {
	RegionID int
	Postcode string
	Data     []half
}

// get asks for a stretch of time, "" for the present.
func (s *Source) get(ctx context.Context, zone, when string, forecast bool) ([]grid.Point, error) {
	of, err := region(zone)
	if err != nil {
		return nil, err
	}
	path := "/intensity" + when
	switch {
	case of != "" && when == "":
		path = "/regional/" + of
	case of != "":
		path = "/regional/intensity" + when + "/" + of
	}
	r, err := s.client.Get(ctx, path, nil)
	if status, ok := errors.AsType[*boundedhttp.StatusError](err); ok && strings.HasPrefix(of, "postcode/") && (status.Code == http.StatusBadRequest || status.Code == http.StatusNotFound) {
		return nil, fmt.Errorf("neso: zone %q: %w: %w", zone, grid.ErrUnknownZone, err) // of the question, only the postcode can be wrong
	}
	if err != nil {
		return nil, fmt.Errorf("neso: %w", err)
	}
	data, err := halves(r.Body, of)
	if err != nil {
		return nil, fmt.Errorf("neso: zone %q: answer: %w", zone, err)
	}
	ps := make([]grid.Point, 0, len(data))
	for i, d := range data {
		start, err := time.Parse(layout, d.From)
		if err != nil {
			return nil, fmt.Errorf("neso: data[%d].from: %w", i, err)
		}
		end, err := time.Parse(layout, d.To)
		if err != nil {
			return nil, fmt.Errorf("neso: data[%d].to: %w", i, err)
		}
		p := grid.Point{Zone: zone, Signal: grid.AverageDirect, Start: start, End: end, Forecast: forecast, Source: "neso"}
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

// halves takes an answer apart: a list of half-hours, or that of one region, which stands in a list or alone.
func halves(body []byte, of string) ([]half, error) {
	var answer struct{ Data json.RawMessage }
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if of == "" {
		var data []half
		return data, json.Unmarshal(answer.Data, &data)
	}
	var all []area
	if err := json.Unmarshal(answer.Data, &all); err != nil {
		all = make([]area, 1)
		if err := json.Unmarshal(answer.Data, &all[0]); err != nil {
			return nil, err
		}
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("of %d regions, want one: %w", len(all), grid.ErrImplausible)
	}
	if got := all[0]; of != "regionid/"+strconv.Itoa(got.RegionID) && of != "postcode/"+got.Postcode {
		return nil, fmt.Errorf("asked for %s, got regionid/%d, postcode/%.10s: %w", of, got.RegionID, got.Postcode, grid.ErrImplausible)
	}
	return all[0].Data, nil
}
