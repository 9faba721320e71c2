// Package loadwatcher reads the load-watcher service that Trimaran and PEAKS use, so that a cluster that has
// one need not change.
//
// Its main type is [Source], a [sensors.BatchSource]: one request (/watcher) serves all nodes. It gives
// [sensors.CPUUtilization], [MemoryUtilization], and their standard deviations where the service has them. Each
// is a mean over the service's window (unless its operator is Latest), and its time is the window's end, not that of the answer.
//
// A value that is no number (the service's metrics source may give NaN) loses itself and no other.
package loadwatcher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/fault"
	"github.com/leastwatt/leastwatt/sensors/internal/scrape"
)

// Kinds that this source alone gives.
const (
	MemoryUtilization sensors.Kind = "memory_utilization_ratio"
	CPUDeviation      sensors.Kind = "cpu_utilization_stddev_ratio"    // over the service's window
	MemoryDeviation   sensors.Kind = "memory_utilization_stddev_ratio" // over the service's window
)

// An Endpoint is the service. Its URL is the service's address, without /watcher.
type Endpoint = scrape.Endpoint

// Options tune a [Source]. The zero value works.
type Options struct {
	Timeout  time.Duration // of one request; 0 means 5 seconds
	MaxBytes int64         // of one answer; 0 means 16 MiB

	// Power is the kind that the service's metrics of type Power are, in watts: [sensors.Power] or
	// [sensors.CPUPower], as its configuration has it. "" leaves them out.
	Power sensors.Kind
}

// Source reads all nodes from one load-watcher.
type Source struct {
	client *boundedhttp.Client
	opts   Options
}

var _ sensors.BatchSource = (*Source)(nil)

// New returns a source. It connects to nothing.
func New(e Endpoint, o Options) (*Source, error) {
	so := scrape.Options{Timeout: cmp.Or(o.Timeout, 5*time.Second), MaxBytes: cmp.Or(o.MaxBytes, 16<<20)}
	e.URL = strings.TrimSuffix(strings.TrimSuffix(e.URL, "/"), "/watcher") + "/watcher"
	c, _, err := e.Open(so, 2)
	if err != nil {
		return nil, fmt.Errorf("loadwatcher: %w", err)
	}
	return &Source{client: c, opts: o}, nil
}

// String returns "loadwatcher".
func (s *Source) String() string { return name }

const name = "loadwatcher"

// Close closes unused connections.
func (s *Source) Close() error { s.client.Close(); return nil }

// Read implements [sensors.SensorSource]. It asks for all nodes, because the service caches that answer.
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	readings, errs := s.ReadAll(ctx, []string{node})
	return readings[node], errs[node]
}

// ReadAll implements [sensors.BatchSource].
func (s *Source) ReadAll(ctx context.Context, nodes []string) (map[string][]sensors.Reading, map[string]error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	readings, errs := make(map[string][]sensors.Reading, len(nodes)), make(map[string]error)
	resp, err := s.client.Get(ctx, "/watcher", http.Header{"Accept": {"application/json"}})
	var a *answer
	if err != nil {
		err = fault.HTTP(err)
	} else {
		a, err = parse(resp.Body)
	}
	for _, node := range nodes {
		if err != nil {
			errs[node] = &sensors.Error{Source: name, Node: node, Err: err}
			continue
		}
		of, ok := a.Data.Nodes[node]
		if !ok {
			errs[node] = &sensors.Error{Source: name, Node: node, Err: fmt.Errorf("%w: the service does not name it", sensors.ErrUnknownNode)}
			continue
		}
		r := &scrape.Result{Source: name, Node: node, At: a.at(resp.At)}
		s.fill(r, of, a.over())
		if readings[node], errs[node] = r.Done("no CPU or Memory metric of this node"); errs[node] == nil {
			delete(errs, node)
		}
	}
	return readings, errs
}

// An answer is what the service says: WatcherMetrics of load-watcher's pkg/watcher.
type answer struct {
	Timestamp number `json:"timestamp"`
	Window    struct {
		Start number `json:"start"`
		End   number `json:"end"`
	} `json:"window"`
	Data struct {
		Nodes map[string]nodeMetrics `json:"NodeMetricsMap"`
	} `json:"data"`
}

type nodeMetrics struct {
	Metrics []metric `json:"metrics"`
}

type metric struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Operator string `json:"operator"`
	Value    number `json:"value"`
}

// A number is a JSON number; anything else is told as missing, not as an error of the whole answer.
type number struct {
	value float64
	ok    bool
}

func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	n.ok = json.Unmarshal(b, &n.value) == nil
	return nil
}

var errNoNodes = errors.New("no data.NodeMetricsMap")

func parse(body []byte) (*answer, error) {
	var a answer
	if err := json.Unmarshal(withoutNaN(body), &a); err != nil {
		return nil, fmt.Errorf("%w: not an answer of load-watcher: %w", sensors.ErrMalformed, err)
	}
	if a.Data.Nodes == nil {
		return nil, fmt.Errorf("%w: not an answer of load-watcher: %w", sensors.ErrMalformed, errNoNodes)
	}
	return &a, nil
}

// at returns the end of the window, else when the service answered, else when the answer came.
func (a *answer) at(came time.Time) time.Time {
	for _, n := range []number{a.Window.End, a.Timestamp} {
		if n.ok && n.value > 0 && n.value < 1e10 {
			return time.Unix(int64(n.value), 0)
		}
	}
	return came
}

// over returns how long the window is, or 0.
func (a *answer) over() time.Duration {
	from, to := a.Window.Start, a.Window.End
	if !from.ok || !to.ok || !(from.value > 0 && from.value < to.value && to.value < 1e10) {
		return 0
	}
	return time.Duration((to.value - from.value) * float64(time.Second))
}

// fill turns the service's metrics into readings. Of several of one meaning, Latest goes before AVG, which
// goes before one that tells no operator.
func (s *Source) fill(r *scrape.Result, of nodeMetrics, window time.Duration) {
	type found struct {
		rank  int
		value float64
		view  string
	}
	best := make(map[sensors.Kind]found)
	bad := make(map[sensors.Kind]string)
	for _, m := range of.Metrics {
		kind, rank, scale := s.meaning(m)
		if kind == "" {
			continue
		}
		if !m.Value.ok {
			bad[kind] = m.Name
			continue
		}
		if rank > best[kind].rank {
			best[kind] = found{rank, m.Value.value * scale, cmp.Or(m.Operator, "value")}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(best)) {
		f := best[kind]
		if f.rank == latest {
			r.Add(kind, f.value, time.Time{}, f.view)
		} else {
			r.AddMean(kind, f.value, window, f.view)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(bad)) {
		if _, ok := best[kind]; !ok {
			r.Fail(kind, fmt.Errorf("%w: the value of %q is no number", sensors.ErrNoReading, bad[kind]))
		}
	}
}

const latest = 3 // the rank of what is no mean

func (s *Source) meaning(m metric) (kind sensors.Kind, rank int, scale float64) {
	deviation := false
	switch strings.ToUpper(m.Operator) {
	case "LATEST":
		rank = latest
	case "AVG", "AVERAGE":
		rank = 2
	case "":
		rank = 1
	case "STD":
		rank, deviation = 1, true
	default:
		return "", 0, 0
	}
	switch t := strings.ToUpper(m.Type); {
	case t == "CPU" && deviation:
		return CPUDeviation, rank, 0.01
	case t == "CPU":
		return sensors.CPUUtilization, rank, 0.01
	case t == "MEMORY" && deviation:
		return MemoryDeviation, rank, 0.01
	case t == "MEMORY":
		return MemoryUtilization, rank, 0.01
	case t == "POWER" && !deviation:
		return s.opts.Power, rank, 1
	}
	return "", 0, 0
}

// withoutNaN replaces the numbers that JSON does not have, outside of strings, by null.
func withoutNaN(b []byte) []byte {
	out := make([]byte, 0, len(b))
	inString := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\' && i+1 < len(b):
			out = append(out, c, b[i+1])
			i++
			continue
		case c == '"':
			inString = !inString
		case !inString:
			if n := notANumber(b[i:]); n > 0 {
				out = append(out, "null"...)
				i += n - 1
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// notANumber returns the length of a NaN or infinity at the beginning of b.
func notANumber(b []byte) int {
	for _, w := range []string{"NaN", "nan", "+Infinity", "-Infinity", "Infinity", "+Inf", "-Inf", "Inf"} {
		if len(b) >= len(w) && string(b[:len(w)]) == w {
			return len(w)
		}
	}
	return 0
}
