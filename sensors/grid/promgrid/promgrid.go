// Package promgrid reads a grid signal from Prometheus, by any query that gives one series a zone.
//
// Its main type is [Source]; [GridIntensity] is the query for what grid-intensity-go exports. Prometheus knows when a value
// was scraped, and not when the provider measured it: a point's Start is the former.
package promgrid

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"sync"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/prometheus"
)

// A Query tells how a signal is read of all zones.
type Query struct {
	Signal grid.Signal

	// Expr is PromQL for an instant vector with one series per zone.
	Expr string

	// Time is PromQL for when that was scraped, in Unix seconds, with the same zone label: the oldest counts. ""
	// works where Expr is a selector alone, and means timestamp(Expr).
	Time string

	Label    string  // names the zone; "" means "location"
	Scale    float64 // makes a value g/kWh, or currency per kWh; 0 means what the label "units" says, else 1
	Currency string  // of a price
}

// GridIntensity is the query for grid-intensity-go from version 0.3 on: its grid_intensity_carbon_average, or
// grid_intensity_carbon_marginal for a marginal signal, by location. The metric does not tell direct from life-cycle:
// that depends on the provider, one of which can be chosen ("Ember", "ElectricityMaps", "WattTime",
// "CarbonIntensityOrgUK"); "" takes the only one there is.
func GridIntensity(signal grid.Signal, provider string) Query {
	q := Query{Signal: signal, Expr: "grid_intensity_carbon_average"}
	if signal == grid.MarginalDirect || signal == grid.MarginalLifeCycle {
		q.Expr = "grid_intensity_carbon_marginal"
	}
	if provider != "" {
		q.Expr += "{provider=" + strconv.Quote(provider) + "}"
	}
	return q
}

// Options tune a [Source]. The zero value works.
type Options struct {
	// Hold is how long a sample holds; beyond it the error wraps [grid.ErrStale]. 0 means 15 minutes.
	Hold time.Duration

	// Step is between the points of History; 0 means 15 minutes.
	Step time.Duration

	Timeout  time.Duration // of one request; 0 means 10 seconds
	MaxBytes int64         // of one answer; 0 means 32 MiB

	// Now tells the time; nil means [time.Now].
	Now func() time.Time
}

// A Source asks Prometheus. It implements [grid.HistorySource].
type Source struct {
	api   v1.API
	query Query
	opts  Options

	mu   sync.Mutex
	seen map[string]bool // zones that an answer named; guarded by mu
}

var (
	selector  = regexp.MustCompile(`^\s*[a-zA-Z_:][a-zA-Z0-9_:]*\s*(\{[^{}]*\})?\s*$`)
	labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

// New returns a source that asks a query. It connects to nothing; whether the PromQL is right, only the server knows.
func New(e prometheus.Endpoint, q Query, o Options) (*Source, error) {
	if q.Label == "" {
		q.Label = "location"
	}
	switch {
	case !q.Signal.Valid():
		return nil, fmt.Errorf("promgrid: signal %q: %w", q.Signal, grid.ErrImplausible)
	case q.Signal == grid.Price && q.Currency == "":
		return nil, errors.New("promgrid: a price wants a Currency")
	case q.Expr == "":
		return nil, errors.New("promgrid: the query wants an Expr")
	case !labelName.MatchString(q.Label):
		return nil, fmt.Errorf("promgrid: %q is no label name", q.Label)
	case math.IsNaN(q.Scale) || math.IsInf(q.Scale, 0) || q.Scale < 0:
		return nil, fmt.Errorf("promgrid: scale %v: want a positive number", q.Scale)
	case q.Time == "" && !selector.MatchString(q.Expr):
		return nil, errors.New("promgrid: Expr is more than a selector, so Time must say when it was scraped: timestamp(metric)")
	case q.Time == "":
		q.Time = "timestamp(" + q.Expr + ")"
	}
	if o.Hold <= 0 {
		o.Hold = 15 * time.Minute
	}
	if o.Step <= 0 {
		o.Step = 15 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	api, err := prometheus.NewAPI(e, prometheus.Options{Timeout: o.Timeout, MaxBytes: o.MaxBytes})
	if err != nil {
		return nil, fmt.Errorf("promgrid: %w", err)
	}
	return &Source{api: api, query: q, opts: o, seen: make(map[string]bool)}, nil
}

// Signal implements [grid.Source].
func (s *Source) Signal() grid.Signal { return s.query.Signal }

// partLabel tells values and times apart in the answer to one request.
const partLabel = "leastwatt_part"

func (q *Query) text() string {
	return fmt.Sprintf("label_replace((%s), %q, \"value\", \"\", \"\")\nor\nlabel_replace(min by (%s) (%s), %q, \"time\", \"\", \"\")",
		q.Expr, partLabel, q.Label, q.Time, partLabel)
}

// Current implements [grid.Source]. A zone without a series is unknown for now where there was one before, and
// otherwise an error that wraps [grid.ErrUnknownZone], as long as there are series of others.
func (s *Source) Current(ctx context.Context, zone string) (grid.Point, error) {
	now := s.opts.Now()
	answer, _, _, err := s.api.Query(ctx, s.query.text(), now)
	if err != nil {
		return grid.Point{}, fmt.Errorf("promgrid: %w", err)
	}
	vector, ok := answer.(model.Vector)
	if !ok {
		return grid.Point{}, fmt.Errorf("promgrid: the expression gives no instant vector: %w", grid.ErrImplausible)
	}
	var values []*model.Sample
	var at time.Time
	others := false
	for _, v := range vector {
		if v == nil || v.Histogram != nil {
			continue
		}
		name := string(v.Metric[model.LabelName(s.query.Label)])
		s.saw(name)
		switch part := v.Metric[partLabel]; {
		case name != zone:
			others = true
		case part == "value":
			values = append(values, v)
		case part == "time":
			at = unix(float64(v.Value))
		}
	}
	if len(values) == 0 {
		return grid.Point{}, fmt.Errorf("promgrid: zone %q: no series has it as its %s: %w", zone, s.query.Label, s.absent(zone, others))
	}
	v := values[0]
	for _, w := range values[1:] {
		if err := agree(v.Metric, w.Metric); err != nil {
			return grid.Point{}, fmt.Errorf("promgrid: zone %q: %w", zone, err)
		}
		if w.Value != v.Value {
			return grid.Point{}, fmt.Errorf("promgrid: zone %q: %d series that differ; aggregate them by (%s): %w", zone, len(values), s.query.Label, grid.ErrImplausible)
		}
	}
	if at.IsZero() || at.After(now.Add(5*time.Minute)) {
		return grid.Point{}, fmt.Errorf("promgrid: zone %q: scraped at %v, check Time: %w", zone, at, grid.ErrImplausible)
	}
	if now.Sub(at) > s.opts.Hold {
		return grid.Point{}, fmt.Errorf("promgrid: zone %q: scraped at %v: %w", zone, at, grid.ErrStale)
	}
	p, err := s.point(zone, v.Metric, float64(v.Value), at, at.Add(s.opts.Hold))
	if err != nil {
		return grid.Point{}, err
	}
	if err := p.Validate(); err != nil {
		return grid.Point{}, fmt.Errorf("promgrid: %w", err)
	}
	return p, nil
}

// History implements [grid.HistorySource] by range queries. A step without a sample is a gap.
func (s *Source) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if now := s.opts.Now(); until.After(now) {
		until = now
	}
	const most = 10_000 // Prometheus answers 11,000 steps at once
	step := s.opts.Step
	if n := until.Sub(from) / step; n > 20*most {
		return nil, fmt.Errorf("promgrid: zone %q: %d steps of %v: at most %d", zone, n, step, 20*most)
	}
	var all []grid.Point
	known, others := false, false
	for at := from.UTC().Truncate(step); at.Before(until); at = at.Add(most * step) {
		end := at.Add((most - 1) * step)
		if end.After(until) {
			end = until
		}
		answer, _, _, err := s.api.QueryRange(ctx, s.query.Expr, v1.Range{Start: at, End: end, Step: step})
		if err != nil {
			return nil, fmt.Errorf("promgrid: zone %q: %w", zone, err)
		}
		matrix, ok := answer.(model.Matrix)
		if !ok {
			return nil, fmt.Errorf("promgrid: zone %q: the expression gives no range vector: %w", zone, grid.ErrImplausible)
		}
		var first model.Metric
		for _, series := range matrix {
			if series == nil {
				continue
			}
			name := string(series.Metric[model.LabelName(s.query.Label)])
			if s.saw(name); name != zone {
				others = true
				continue
			}
			if first != nil {
				if err := agree(first, series.Metric); err != nil {
					return nil, fmt.Errorf("promgrid: zone %q: %w", zone, err)
				}
			}
			known, first = true, series.Metric
			for _, v := range series.Values {
				start := v.Timestamp.Time().UTC()
				p, err := s.point(zone, series.Metric, float64(v.Value), start, start.Add(step))
				if errors.Is(err, grid.ErrUnknown) {
					continue
				}
				if err != nil {
					return nil, err
				}
				if p.End.After(from) && p.Start.Before(until) {
					all = append(all, p)
				}
			}
		}
	}
	if !known {
		return nil, fmt.Errorf("promgrid: zone %q: no series has it as its %s: %w", zone, s.query.Label, s.absent(zone, others))
	}
	all, err := grid.Tidy(all) // a step told twice, as where is_estimated changed, counts once
	if err != nil {
		return nil, fmt.Errorf("promgrid: %w", err)
	}
	return all, nil
}
