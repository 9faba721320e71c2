// Package watttime reads marginal and average carbon intensity from the WattTime API, version 3.
//
// Its main type is [Source], which logs in, keeps the token while it holds, and turns pounds per megawatt-hour into grams
// per kilowatt-hour.
package watttime

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// gramsPerKWh is one lb/MWh, by the international avoirdupois pound of 453.59237 g.
const gramsPerKWh = 0.45359237

// Options tune a [Source]. The zero value works.
type Options struct {
	// Average asks for co2_aoer, the average of a region's generation, instead of co2_moer, what one more kilowatt-hour adds.
	Average bool

	Step     time.Duration // how long a value holds where the answer does not tell; 0 means five minutes
	TokenAge time.Duration // how long a token is used; 0 means 25 minutes of the 30 that it holds
	Timeout  time.Duration // of one request; 0 means 10 seconds
	TLS      *tls.Config   // nil verifies against the system's roots
	Now      func() time.Time
}

// A Source asks WattTime for one signal. It implements [grid.HistorySource] and [grid.ForecastSource]. Zones are WattTime's
// regions, such as CAISO_NORTH.
type Source struct {
	client      *boundedhttp.Client
	credentials func() (user, password string, err error)
	opts        Options

	turn  chan struct{} // holds one element while somebody logs in or looks at the token
	token string        // whoever put it there owns this
	until time.Time     // and this
}

// New returns a source of the API at an endpoint, for which credentials are asked at every login. It connects to nothing.
func New(endpoint string, credentials func() (user, password string, err error), o Options) (*Source, error) {
	if credentials == nil {
		return nil, errors.New("watttime: want credentials")
	}
	if o.Step <= 0 {
		o.Step = 5 * time.Minute
	}
	if o.TokenAge <= 0 {
		o.TokenAge = 25 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c, err := boundedhttp.New(endpoint, boundedhttp.Options{Timeout: o.Timeout, TLS: o.TLS, Public: true})
	if err != nil {
		return nil, fmt.Errorf("watttime: %w", err)
	}
	return &Source{client: c, credentials: credentials, opts: o, turn: make(chan struct{}, 1)}, nil
}

// Signal implements [grid.Source].
func (s *Source) Signal() grid.Signal {
	if s.opts.Average {
		return grid.AverageDirect
	}
	return grid.MarginalDirect
}

// name is what WattTime calls the signal.
func (s *Source) name() string {
	if s.opts.Average {
		return "co2_aoer"
	}
	return "co2_moer"
}

// Current implements [grid.Source]: the value of now, as WattTime forecasts it.
func (s *Source) Current(ctx context.Context, zone string) (grid.Point, error) {
	ps, err := s.get(ctx, zone, "/v3/forecast", url.Values{"horizon_hours": {"1"}}, false)
	if err != nil {
		return grid.Point{}, err
	}
	now := s.opts.Now()
	for i := range ps {
		if ps[i].Covers(now) {
			return ps[i], nil
		}
	}
	if len(ps) > 0 && ps[0].Start.After(now) && !ps[0].Start.After(now.Add(slowClock)) {
		return ps[0], nil // the provider's present
	}
	if len(ps) > 0 && !ps[len(ps)-1].End.After(now) {
		return grid.Point{}, fmt.Errorf("watttime: zone %q: the newest value ended at %v: %w", zone, ps[len(ps)-1].End, grid.ErrStale)
	}
	return grid.Point{}, fmt.Errorf("watttime: zone %q: %w", zone, grid.ErrUnknown)
}

// slowClock is by how much this machine's clock may be behind the provider's, whose forecast begins with its own present.
const slowClock = 5 * time.Minute

// What the API answers at once: 32 days of the past, and 72 hours of the future, of which it tells 24 unless it is asked for more.
const (
	mostPast   = 32 * 24 * time.Hour
	mostFuture = 72
)

// History implements [grid.HistorySource].
func (s *Source) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	var all []grid.Point
	for at := from; at.Before(until); {
		end := at.Add(mostPast)
		if end.After(until) {
			end = until
		}
		q := url.Values{"start": {at.UTC().Format(time.RFC3339)}, "end": {end.UTC().Format(time.RFC3339)}}
		ps, err := s.get(ctx, zone, "/v3/historical", q, false)
		if err != nil {
			return nil, err
		}
		all = append(all, ps...)
		at = end
	}
	all, err := grid.Tidy(all) // pieces meet in one value
	return between(all, from, until), err
}

// Forecast implements [grid.ForecastSource]: at most 72 hours ahead.
func (s *Source) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	hours := math.Ceil(until.Sub(s.opts.Now()).Hours())
	q := url.Values{"horizon_hours": {strconv.Itoa(int(min(max(hours, 1), mostFuture)))}}
	ps, err := s.get(ctx, zone, "/v3/forecast", q, true)
	return between(ps, from, until), err
}

// RegionAt asks for the region, that is the zone, of a place, in degrees. Where there is none the error wraps [grid.ErrUnknownZone].
func (s *Source) RegionAt(ctx context.Context, lat, lon float64) (string, error) {
	if !(math.Abs(lat) <= 90) || !(math.Abs(lon) <= 180) {
		return "", fmt.Errorf("watttime: latitude %v, longitude %v: want −90 to 90 and −180 to 180: %w", lat, lon, grid.ErrUnknownZone)
	}
	degrees := func(v float64) []string { return []string{strconv.FormatFloat(v, 'f', -1, 64)} }
	q := url.Values{"latitude": degrees(lat), "longitude": degrees(lon), "signal_type": {s.name()}}
	r, err := s.authorized(ctx, "/v3/region-from-loc?"+q.Encode())
	if status, ok := errors.AsType[*boundedhttp.StatusError](err); ok && status.Code == http.StatusNotFound {
		return "", fmt.Errorf("watttime: no region at latitude %v, longitude %v: %w", lat, lon, grid.ErrUnknownZone)
	}
	if err != nil {
		return "", fmt.Errorf("watttime: region at latitude %v, longitude %v: %w", lat, lon, err)
	}
	var a struct {
		Region string `json:"region"`
		Signal string `json:"signal_type"`
	}
	if err := json.Unmarshal(r.Body, &a); err != nil {
		return "", fmt.Errorf("watttime: region at latitude %v, longitude %v: answer: %w", lat, lon, err)
	}
	if a.Region == "" || a.Signal != "" && a.Signal != s.name() {
		return "", fmt.Errorf("watttime: region at latitude %v, longitude %v: got %q of %q: %w", lat, lon, a.Region, a.Signal, grid.ErrImplausible)
	}
	return a.Region, nil
}

func between(ps []grid.Point, from, until time.Time) []grid.Point {
	return slices.DeleteFunc(ps, func(p grid.Point) bool { return !p.End.After(from) || !p.Start.Before(until) })
}

type answer struct {
	Data []struct {
		At    time.Time `json:"point_time"`
		Value *float64  `json:"value"`
	} `json:"data"`
	Meta struct {
		Region string `json:"region"`
		Signal string `json:"signal_type"`
		Units  string `json:"units"`
		Period int    `json:"data_point_period_seconds"`
	} `json:"meta"`
}

const units = "lbs_co2_per_mwh"

func (s *Source) get(ctx context.Context, zone, path string, q url.Values, forecast bool) ([]grid.Point, error) {
	if q == nil {
		q = url.Values{}
	}
	q.Set("region", zone)
	q.Set("signal_type", s.name())
	r, err := s.authorized(ctx, path+"?"+q.Encode())
	if status, ok := errors.AsType[*boundedhttp.StatusError](err); ok && status.Code == http.StatusNotFound {
		return nil, fmt.Errorf("watttime: zone %q: %w", zone, grid.ErrUnknownZone)
	}
	if err != nil {
		return nil, fmt.Errorf("watttime: zone %q: %w", zone, err)
	}
	var a answer
	if err := json.Unmarshal(r.Body, &a); err != nil {
		return nil, fmt.Errorf("watttime: zone %q: answer: %w", zone, err)
	}
	switch {
	case a.Meta.Region != "" && a.Meta.Region != zone:
		return nil, fmt.Errorf("watttime: asked for zone %q, got %q: %w", zone, a.Meta.Region, grid.ErrImplausible)
	case a.Meta.Signal != "" && a.Meta.Signal != s.name(), a.Meta.Units != units:
		return nil, fmt.Errorf("watttime: zone %q: asked for %s in %s, got %q in %q: %w", zone, s.name(), units, a.Meta.Signal, a.Meta.Units, grid.ErrImplausible)
	}
	step := s.opts.Step
	if p := a.Meta.Period; p > 0 && p <= 24*3600 {
		step = time.Duration(p) * time.Second
	}
	ps := make([]grid.Point, 0, len(a.Data))
	for _, d := range a.Data {
		if d.Value == nil {
			continue
		}
		ps = append(ps, grid.Point{Zone: zone, Signal: s.Signal(), Start: d.At.UTC(), End: d.At.UTC().Add(step), Value: *d.Value * gramsPerKWh,
			Estimated: true, Forecast: forecast, Source: "watttime"})
	}
	if ps, err = grid.Tidy(ps); err != nil {
		return nil, fmt.Errorf("watttime: %w", err)
	}
	return ps, nil
}

// authorized asks with the token; one that was refused is renewed once.
func (s *Source) authorized(ctx context.Context, path string) (*boundedhttp.Response, error) {
	token, err := s.login(ctx, "")
	if err != nil {
		return nil, err
	}
	r, err := s.client.Get(ctx, path, http.Header{"Authorization": {"Bearer " + token}})
	if status, ok := errors.AsType[*boundedhttp.StatusError](err); ok && status.Code == http.StatusUnauthorized {
		if token, err = s.login(ctx, token); err != nil {
			return nil, err
		}
		return s.client.Get(ctx, path, http.Header{"Authorization": {"Bearer " + token}})
	}
	return r, err
}

// login returns a token that holds and is not the refused one. Callers that wait share one login.
func (s *Source) login(ctx context.Context, refused string) (string, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for another's login: %w", ctx.Err())
	}
	now := s.opts.Now()
	if s.token != "" && s.token != refused && now.Before(s.until) {
		return s.token, nil
	}
	user, password, err := s.credentials()
	if err != nil {
		return "", fmt.Errorf("credentials: %w", err)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	r, err := s.client.Get(ctx, "/login", http.Header{"Authorization": {basic}})
	if err != nil {
		return "", fmt.Errorf("login: %w", err)
	}
	var a struct{ Token string }
	if json.Unmarshal(r.Body, &a) != nil || a.Token == "" {
		return "", errors.New("login: the answer holds no token") // and is not shown: it may hold one
	}
	s.token, s.until = a.Token, now.Add(s.opts.TokenAge)
	return s.token, nil
}
