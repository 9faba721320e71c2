// Package carbonaware speaks the REST interface of the Green Software Foundation's Carbon Aware SDK, version 1.8, in both
// directions.
//
// Its main types are [Source], which reads such a server, and [Handler], which answers the server's GET routes from any
// [grid.Source], so that clients of the SDK can be pointed here.
package carbonaware

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// Options tune a [Source]. The zero value works for a server whose locations are named as the zones are.
type Options struct {
	// Locations gives the server's name of a zone where it differs, such as "westus" for "US-CAL-CISO".
	Locations map[string]string

	// Answers gives the name that the server's data bear where it is not the one asked for: over WattTime,
	// "westus" is answered with data of "CAISO_NORTH". Data of any other location are refused.
	Answers map[string]string

	Step     time.Duration // how long a value holds that has no duration; 0 means 5 minutes
	Lookback time.Duration // how far back Current looks for the newest value; 0 means 6 hours
	MaxAge   time.Duration // how long ago the newest value may have ended; 0 means an hour
	Timeout  time.Duration // of one request; 0 means 10 seconds
	TLS      *tls.Config   // nil verifies against the system's roots

	// Now tells the time; nil means [time.Now].
	Now func() time.Time
}

// A Source asks a Carbon Aware SDK server. It implements [grid.HistorySource] and [grid.ForecastSource].
type Source struct {
	client *boundedhttp.Client
	signal grid.Signal
	opts   Options
}

// New returns a source of the server at an endpoint. The interface does not tell which signal its ratings are: with
// WattTime behind it they are [grid.MarginalDirect], with Electricity Maps [grid.AverageLifeCycle]. It connects
// to nothing.
func New(endpoint string, signal grid.Signal, o Options) (*Source, error) {
	if !signal.Valid() || signal == grid.Price {
		return nil, fmt.Errorf("carbonaware: signal %q: want an intensity", signal)
	}
	if o.Step <= 0 {
		o.Step = 5 * time.Minute
	}
	if o.Lookback <= 0 {
		o.Lookback = 6 * time.Hour
	}
	if o.MaxAge <= 0 {
		o.MaxAge = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Locations, o.Answers = maps.Clone(o.Locations), maps.Clone(o.Answers)
	c, err := boundedhttp.New(endpoint, boundedhttp.Options{Timeout: o.Timeout, TLS: o.TLS})
	if err != nil {
		return nil, fmt.Errorf("carbonaware: %w", err)
	}
	return &Source{client: c, signal: signal, opts: o}, nil
}

// Signal implements [grid.Source].
func (s *Source) Signal() grid.Signal { return s.signal }

// Current implements [grid.Source]: the newest value of the last hours. One that ended longer ago than MaxAge is an
// error that wraps [grid.ErrStale].
func (s *Source) Current(ctx context.Context, zone string) (grid.Point, error) {
	now := s.opts.Now()
	ps, err := s.History(ctx, zone, now.Add(-s.opts.Lookback), now)
	if err != nil {
		return grid.Point{}, err
	}
	if len(ps) == 0 {
		return grid.Point{}, fmt.Errorf("carbonaware: zone %q: nothing in the last %v: %w", zone, s.opts.Lookback, grid.ErrUnknown)
	}
	p := ps[len(ps)-1]
	if now.Sub(p.End) > s.opts.MaxAge {
		return grid.Point{}, fmt.Errorf("carbonaware: zone %q: the newest value ended at %v: %w", zone, p.End, grid.ErrStale)
	}
	return p, nil
}

// History implements [grid.HistorySource].
func (s *Source) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	q := url.Values{"time": {from.UTC().Format(time.RFC3339)}, "toTime": {until.UTC().Format(time.RFC3339)}}
	var answer []emission
	if err := s.get(ctx, "/emissions/bylocation", zone, q, &answer); err != nil {
		return nil, err
	}
	ps := make([]grid.Point, 0, len(answer))
	for i, e := range answer {
		ps = append(ps, grid.Point{Zone: e.Location, Start: e.Time, End: e.Time.Add(time.Duration(e.Duration)), Value: orUnknown(e.Rating), Source: source})
		if e.Rating == nil {
			ps[i].Source = ""
		}
	}
	return s.points(zone, ps, from, until)
}

// Forecast implements [grid.ForecastSource] with the newest forecast that the server has.
func (s *Source) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	var answer []forecast // without bounds, which the server refuses where its forecast is shorter
	if err := s.get(ctx, "/emissions/forecasts/current", zone, url.Values{}, &answer); err != nil {
		return nil, err
	}
	if len(answer) != 1 {
		return nil, fmt.Errorf("carbonaware: zone %q: asked for one forecast, got %d: %w", zone, len(answer), grid.ErrImplausible)
	}
	ps := make([]grid.Point, 0, len(answer[0].Data))
	for i, d := range answer[0].Data {
		if d.Location == "" {
			d.Location = answer[0].Location
		}
		if d.Duration < 0 || d.Duration > maxMinutes {
			return nil, fmt.Errorf("carbonaware: zone %q: forecastData[%d].duration of %d minutes: %w", zone, i, d.Duration, grid.ErrImplausible)
		}
		ps = append(ps, grid.Point{Zone: d.Location, Start: d.Timestamp, End: d.Timestamp.Add(time.Duration(d.Duration) * time.Minute), Value: orUnknown(d.Value), Forecast: true, Source: source})
		if d.Value == nil {
			ps[i].Source = ""
		}
	}
	return s.points(zone, ps, from, until)
}

const source = "carbon-aware-sdk"

// points checks what the server said, and keeps what is known and overlaps from–until. A point without a source is
// one that the server does not know.
func (s *Source) points(zone string, raw []grid.Point, from, until time.Time) ([]grid.Point, error) {
	var ps []grid.Point
	for _, p := range raw {
		if want := s.answer(zone); p.Zone != want {
			return nil, fmt.Errorf("carbonaware: zone %q: want data of %q, got %q (see Options.Answers): %w", zone, want, p.Zone, grid.ErrImplausible)
		}
		if p.Source == "" {
			continue
		}
		p.Zone, p.Signal, p.Start, p.End = zone, s.signal, p.Start.UTC(), p.End.UTC()
		if p.End.Equal(p.Start) {
			p.End = p.Start.Add(s.opts.Step)
		}
		if p.End.After(from) && p.Start.Before(until) {
			ps = append(ps, p)
		}
	}
	ps, err := grid.Tidy(ps)
	if err != nil {
		return nil, fmt.Errorf("carbonaware: %w", err)
	}
	return ps, nil
}

func (s *Source) location(zone string) string {
	if l, ok := s.opts.Locations[zone]; ok {
		return l
	}
	return zone
}

func (s *Source) answer(zone string) string {
	if l, ok := s.opts.Answers[zone]; ok {
		return l
	}
	return s.location(zone)
}

func (s *Source) get(ctx context.Context, path, zone string, q url.Values, v any) error {
	q.Set("location", s.location(zone))
	r, err := s.client.Get(ctx, path+"?"+q.Encode(), nil)
	if status, ok := errors.AsType[*boundedhttp.StatusError](err); ok {
		switch status.Code {
		case http.StatusBadRequest, http.StatusNotFound: // which is what it answers of a location that it does not know: nothing else of the question can be wrong
			return fmt.Errorf("carbonaware: zone %q: %w: %w", zone, grid.ErrUnknownZone, err)
		case http.StatusNotImplemented:
			return fmt.Errorf("carbonaware: zone %q: %w: %w", zone, grid.ErrUnsupported, err)
		}
	}
	if err != nil {
		return fmt.Errorf("carbonaware: zone %q: %w", zone, err)
	}
	if r.Status == http.StatusNoContent {
		return fmt.Errorf("carbonaware: zone %q: the server has no data: %w", zone, grid.ErrUnknown)
	}
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("carbonaware: zone %q: answer: %w", zone, err)
	}
	return nil
}

func orUnknown(v *float64) float64 {
	if v == nil {
		return 0 // not used: such points are left out
	}
	return *v
}
