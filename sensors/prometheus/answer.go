package prometheus

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/leastwatt/leastwatt/sensors"
)

// An answer is what one query gave of each node.
type answer struct {
	nodes map[string]*sample
	err   error
}

// A sample is a node's value and when it was measured.
type sample struct {
	value  float64
	values int
	at     time.Time
}

func (x *sample) reading(kind sensors.Kind) (sensors.Reading, error) {
	r := sensors.Reading{Kind: kind, Value: x.value, At: x.at, Source: name + ":" + string(kind)}
	switch {
	case x.values == 0:
		return r, fmt.Errorf("%w: the series exist, but the expression gives no value", sensors.ErrNoReading)
	case x.values > 1:
		return r, fmt.Errorf("%w: %d series of one node; aggregate them by ($label)", sensors.ErrMalformed, x.values)
	case x.at.IsZero():
		return r, fmt.Errorf("%w: a value without a time; check Time", sensors.ErrMalformed)
	case math.IsNaN(x.value):
		return r, fmt.Errorf("%w: NaN", sensors.ErrNoReading)
	}
	return r, sensors.Possible(kind, x.value)
}

func (s *Source) ask(ctx context.Context, q *Query) answer {
	value, _, _, err := s.api.Query(ctx, q.text(), time.Now())
	if err != nil {
		return answer{err: describe(err)}
	}
	vector, ok := value.(model.Vector)
	if !ok {
		what := "nothing"
		if value != nil {
			what = value.Type().String()
		}
		return answer{err: fmt.Errorf("%w: the expression gives %s, want an instant vector", sensors.ErrMalformed, what)}
	}
	return answer{nodes: s.sort(q, vector)}
}

// sort sorts an answer's series by node.
func (s *Source) sort(q *Query, vector model.Vector) map[string]*sample {
	out := make(map[string]*sample)
	for _, v := range vector {
		if v == nil || v.Histogram != nil {
			continue
		}
		node := s.nodeOf(q.Label, string(v.Metric[model.LabelName(q.Label)]))
		if node == "" {
			continue
		}
		x := out[node]
		if x == nil {
			x = &sample{}
			out[node] = x
		}
		switch f := float64(v.Value); v.Metric[partLabel] {
		case "value":
			x.value = f
			x.values++
		case "time":
			if at, ok := unix(f); ok && (x.at.IsZero() || at.Before(x.at)) {
				x.at = at
			}
		}
	}
	return out
}

// unix returns a time of Unix seconds, if it is one: up to the year 2286.
func unix(f float64) (time.Time, bool) {
	if !(f > 0 && f < 1e10) {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(f * 1000))), true
}

func (s *Source) nodeOf(label, value string) string {
	if n, ok := s.opts.Names[value]; ok {
		return n
	}
	if label == "instance" {
		if host, port, ok := cutLast(value, ":"); ok && port != "" && strings.Trim(port, "0123456789") == "" {
			value = strings.Trim(host, "[]")
		}
		if n, ok := s.opts.Names[value]; ok {
			return n
		}
	}
	return value
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
