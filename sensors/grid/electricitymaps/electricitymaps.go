// Package electricitymaps reads carbon intensity and day-ahead prices from the Electricity Maps API, version 3.
//
// Its main type is [Source]. It needs a token of the provider; name Electricity Maps when you show its data.
package electricitymaps

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// Options tune a [Source]. The zero value works.
type Options struct {
	Direct bool // direct instead of life-cycle emissions

	// Price asks for the day-ahead prices of the zone's market instead of emissions, in its currency per kWh.
	Price bool

	// Measured asks for measured values alone: what the provider has only estimated is not known.
	Measured bool

	Step    time.Duration // how long a value holds; 0 means an hour
	Timeout time.Duration // of one request; 0 means 10 seconds
	TLS     *tls.Config   // nil verifies against the system's roots

	// Now tells the time; nil means [time.Now].
	Now func() time.Time
}

// A Source asks Electricity Maps. It implements [grid.HistorySource] and [grid.ForecastSource].
type Source struct {
	client *boundedhttp.Client
	opts   Options
}

// New returns a source of the API at an endpoint (https://HOST), which token authorizes at every request. It connects
// to nothing.
func New(endpoint string, token func() (string, error), o Options) (*Source, error) {
	if token == nil {
		return nil, errors.New("electricitymaps: want a token")
	}
	if o.Step <= 0 {
		o.Step = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c, err := boundedhttp.New(endpoint, boundedhttp.Options{Timeout: o.Timeout, TLS: o.TLS, Public: true, Auth: func(r *http.Request) error {
		t, err := token()
		if err != nil {
			return err
		}
		r.Header.Set("auth-token", t)
		return nil
	}})
	if err != nil {
		return nil, fmt.Errorf("electricitymaps: %w", err)
	}
	return &Source{client: c, opts: o}, nil
}

// Signal implements [grid.Source].
func (s *Source) Signal() grid.Signal {
	switch {
	case s.opts.Price:
		return grid.Price
	case s.opts.Direct:
		return grid.AverageDirect
	}
	return grid.AverageLifeCycle
}

// A value is one element of any of the API's answers. A null intensity or price is not known.
type value struct {
	Zone        string    `json:"zone"`
	Intensity   *float64  `json:"carbonIntensity"`
	Price       *float64  `json:"value"`
	Unit        string    `json:"unit"` // of the price: EUR/MWh
	At          time.Time `json:"datetime"`
	Factors     string    `json:"emissionFactorType"`
	IsEstimated bool      `json:"isEstimated"`
}

// Current implements [grid.Source].
func (s *Source) Current(ctx context.Context, zone string) (grid.Point, error) {
	var v value
	if err := s.get(ctx, "latest", zone, nil, &v); err != nil {
		return grid.Point{}, err
	}
	p, known, err := s.point(zone, v)
	if err != nil {
		return grid.Point{}, err
	}
	if !known {
		return grid.Point{}, fmt.Errorf("electricitymaps: zone %q: %w", zone, grid.ErrUnknown)
	}
	if err := p.Validate(); err != nil {
		return grid.Point{}, fmt.Errorf("electricitymaps: %w", err)
	}
	return p, nil
}

// History implements [grid.HistorySource]. Values that the provider does not know are gaps. With a token that is not allowed to ask for ranges, as those of
// the free tier, it is what the last 24 hours have of the time asked for.
func (s *Source) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	var ps []grid.Point
	for at := from; at.Before(until); {
		end := at.Add(most)
		if end.After(until) {
			end = until
		}
		var answer list
		q := url.Values{"start": {at.UTC().Format(time.RFC3339)}, "end": {end.UTC().Format(time.RFC3339)}}
		err := s.get(ctx, "past-range", zone, q, &answer)
		if status, ok := errors.AsType[*boundedhttp.StatusError](err); ok && (status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden) &&
			until.After(s.opts.Now().Add(-24*time.Hour)) {
			if e := s.get(ctx, "history", zone, nil, &answer); e == nil {
				return s.points(zone, &answer, from, until, false)
			}
		}
		if err != nil {
			return nil, err
		}
		piece, err := s.points(zone, &answer, at, end, false)
		if err != nil {
			return nil, err
		}
		ps = append(ps, piece...)
		at = end
	}
	return grid.Tidy(ps) // pieces meet in one hour
}

// most is for how long the API answers at once.
const most = 10 * 24 * time.Hour

// horizons are the hours that a forecast may be asked for; without the question it is a day.
var horizons = [...]int{6, 24, 48, 72}

const day = 24

// Forecast implements [grid.ForecastSource]: at most 72 hours ahead, and a day where the token is not allowed more.
func (s *Source) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	var answer list
	hours := horizons[len(horizons)-1]
	for _, h := range slices.Backward(horizons[:]) {
		if until.Sub(s.opts.Now()) <= time.Duration(h)*time.Hour {
			hours = h
		}
	}
	err := s.get(ctx, "forecast", zone, url.Values{"horizonHours": {strconv.Itoa(hours)}}, &answer)
	if status, ok := errors.AsType[*boundedhttp.StatusError](err); ok && hours > day && status.Code < 500 && status.Code != http.StatusNotFound && status.Code != http.StatusTooManyRequests {
		err = s.get(ctx, "forecast", zone, nil, &answer)
	}
	if err != nil {
		return nil, err
	}
	return s.points(zone, &answer, from, until, true)
}

// A list is an answer of several values, whose name goes by the question.
type list struct {
	Zone     string  `json:"zone"`
	Unit     string  `json:"unit"`
	Data     []value `json:"data"`
	History  []value `json:"history"`
	Forecast []value `json:"forecast"`
}

func (s *Source) points(zone string, answer *list, from, until time.Time, forecast bool) ([]grid.Point, error) {
	var ps []grid.Point
	for _, v := range slices.Concat(answer.Data, answer.History, answer.Forecast) {
		v.Zone, v.Unit = cmp.Or(v.Zone, answer.Zone), cmp.Or(v.Unit, answer.Unit)
		p, known, err := s.point(zone, v)
		if err != nil {
			return nil, err
		}
		if known && p.End.After(from) && p.Start.Before(until) {
			p.Forecast = forecast
			ps = append(ps, p)
		}
	}
	ps, err := grid.Tidy(ps)
	if err != nil {
		return nil, fmt.Errorf("electricitymaps: %w", err)
	}
	return ps, nil
}

// point makes a point of a value, not checked yet.
func (s *Source) point(zone string, v value) (p grid.Point, known bool, err error) {
	switch want := map[bool]string{true: "direct", false: "lifecycle"}[s.opts.Direct]; {
	case v.Zone != "" && v.Zone != zone:
		return p, false, fmt.Errorf("electricitymaps: asked for zone %q, got %q: %w", zone, v.Zone, grid.ErrImplausible)
	case v.Factors != "" && v.Factors != want:
		return p, false, fmt.Errorf("electricitymaps: zone %q: asked for %s emissions, got %s: %w", zone, want, v.Factors, grid.ErrImplausible)
	case s.opts.Price && v.Price == nil, !s.opts.Price && v.Intensity == nil:
		return p, false, nil
	}
	at := v.At.UTC()
	p = grid.Point{Zone: zone, Signal: s.Signal(), Start: at, End: at.Add(s.opts.Step), Estimated: v.IsEstimated, Source: "electricitymaps"}
	if !s.opts.Price {
		p.Value = *v.Intensity
		return p, true, nil
	}
	const perMWh = 1000 // kWh
	currency, ok := strings.CutSuffix(v.Unit, "/MWh")
	if !ok || currency == "" {
		return p, false, fmt.Errorf("electricitymaps: zone %q: price in %.20q, want a currency per MWh: %w", zone, v.Unit, grid.ErrImplausible)
	}
	p.Value, p.Currency = *v.Price/perMWh, currency
	return p, true, nil
}

func (s *Source) get(ctx context.Context, what, zone string, q url.Values, v any) error {
	if q == nil {
		q = url.Values{}
	}
	q.Set("zone", zone)
	q.Set("disableCallerLookup", "true") // of a zone without data it would tell where this program runs
	if s.opts.Measured && what != "forecast" {
		q.Set("disableEstimations", "true")
	}
	about := "carbon-intensity"
	switch {
	case s.opts.Price:
		about = "price-day-ahead"
	case s.opts.Direct:
		q.Set("emissionFactorType", "direct")
	default:
		q.Set("emissionFactorType", "lifecycle")
	}
	r, err := s.client.Get(ctx, "/v3/"+about+"/"+what+"?"+q.Encode(), nil)
	if status, ok := errors.AsType[*boundedhttp.StatusError](err); ok && status.Code == http.StatusNotFound {
		return fmt.Errorf("electricitymaps: zone %q: %w", zone, grid.ErrUnknownZone)
	}
	if err != nil {
		return fmt.Errorf("electricitymaps: zone %q: %w", zone, err)
	}
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("electricitymaps: zone %q: answer: %w", zone, err)
	}
	return nil
}
