package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	prom "github.com/prometheus/common/model"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
)

// queries is a repeatable flag of COLUMN=EXPRESSION.
type queries map[string]string

func (q *queries) String() string { return "" }

func (q *queries) Set(text string) error {
	column, expr, ok := strings.Cut(text, "=")
	if !ok || column == "" || expr == "" {
		return errors.New("want COLUMN=EXPRESSION")
	}
	if *q == nil {
		*q = make(queries)
	}
	if _, twice := (*q)[column]; twice {
		return fmt.Errorf("column %q is given twice", column)
	}
	(*q)[column] = expr
	return nil
}

// chunk is how many points one range query asks for; Prometheus answers at most 11,000.
const chunk = 10_000

// bearer sends a token with each request to one host, and with none to which that redirects.
type bearer struct{ token, scheme, host string }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != b.scheme || r.URL.Host != b.host {
		return http.DefaultTransport.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return http.DefaultTransport.RoundTrip(r)
}

// fromPrometheus reads the columns over the range and joins what was measured at one time.
func fromPrometheus(ctx context.Context, o options, inputs []power.Input) (source, error) {
	columns := make([]string, 0, len(inputs)+1)
	for _, in := range inputs {
		columns = append(columns, string(in))
	}
	columns = append(columns, o.target)
	for _, c := range columns {
		if o.queries[c] == "" {
			return source{}, fmt.Errorf("-prometheus: no -query for column %q: give -query %s=EXPRESSION", c, c)
		}
	}
	if o.step < time.Millisecond {
		return source{}, fmt.Errorf("-step %v: want at least a millisecond", o.step)
	}
	to := time.Now().Truncate(o.step)
	from, err := since(o.from, to)
	if err != nil {
		return source{}, err
	}
	cfg := api.Config{Address: o.prometheus}
	if token := os.Getenv("PROMETHEUS_TOKEN"); token != "" {
		u, err := url.Parse(o.prometheus)
		if err != nil {
			return source{}, errors.New("-prometheus: is no URL")
		}
		cfg.RoundTripper = bearer{token, u.Scheme, u.Host}
	}
	client, err := api.NewClient(cfg)
	if err != nil {
		return source{}, fmt.Errorf("-prometheus: %w", err)
	}
	table := make([]map[prom.Time]float64, len(columns))
	for i, c := range columns {
		if table[i], err = column(ctx, v1.NewAPI(client), o.queries[c], v1.Range{Start: from, End: to, Step: o.step}); err != nil {
			return source{}, fmt.Errorf("-query %s=%s: %w", c, o.queries[c], err)
		}
	}
	times := slices.Sorted(maps.Keys(table[len(table)-1]))
	return source{name: o.prometheus, samples: func() iter.Seq2[calibrate.Sample, error] {
		return func(yield func(calibrate.Sample, error) bool) {
			for _, t := range times {
				if s, ok := join(inputs, table, t); ok && !yield(s, nil) {
					return
				}
			}
		}
	}}, nil
}

func since(text string, to time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		if d <= 0 {
			return time.Time{}, fmt.Errorf("-from %q: want a duration above 0", text)
		}
		return to.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !t.Before(to) {
		return t, fmt.Errorf("-from %q: want a duration such as 24h, or an RFC 3339 time that has passed", text)
	}
	return t, nil
}

// column asks one query over a range, in parts.
func column(ctx context.Context, a v1.API, expr string, r v1.Range) (map[prom.Time]float64, error) {
	out := make(map[prom.Time]float64)
	for start := r.Start; !start.After(r.End); start = start.Add(chunk * r.Step) {
		end := start.Add((chunk - 1) * r.Step)
		if end.After(r.End) {
			end = r.End
		}
		v, _, _, err := a.QueryRange(ctx, expr, v1.Range{Start: start, End: end, Step: r.Step}, v1.WithTimeout(time.Minute))
		if err != nil {
			return nil, err
		}
		m, ok := v.(prom.Matrix)
		if !ok {
			return nil, fmt.Errorf("the answer is a %v: want a range of one series", v.Type())
		}
		if len(m) > 1 {
			return nil, fmt.Errorf("%d series, such as %v and %v: narrow it down to one server", len(m), m[0].Metric, m[1].Metric)
		}
		for _, s := range m {
			for _, p := range s.Values {
				if f := float64(p.Value); !math.IsNaN(f) && !math.IsInf(f, 0) {
					out[p.Timestamp] = f
				}
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no values in that time")
	}
	return out, nil
}

// join makes a sample of what all columns have at one time.
func join(inputs []power.Input, table []map[prom.Time]float64, t prom.Time) (calibrate.Sample, bool) {
	s := calibrate.Sample{At: t.Time().UTC(), Watts: power.Watts(table[len(table)-1][t])}
	for i, in := range inputs {
		v, ok := table[i][t]
		if !ok {
			return s, false
		}
		switch in {
		case power.InputUtilization:
			s.State.Utilization = v
		case power.InputInletTemp:
			s.State.InletTemp = new(power.Celsius(v))
		case power.InputPressureDelta:
			s.State.PressureDelta = new(power.Pascals(v))
		default:
			if s.State.Inputs == nil {
				s.State.Inputs = make(map[string]float64)
			}
			s.State.Inputs[string(in)] = v
		}
	}
	return s, true
}
