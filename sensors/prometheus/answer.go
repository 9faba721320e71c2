package prometheus

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// An answer is what one query gave of each node.
type answer struct {
	nodes []sample // by the place of the node
	err   error
}

// A sample is a node's value and when it was measured.
type sample struct {
	value  float64
	at     int64 // in Unix milliseconds; 0 is not known
	values int32
	known  bool // some series names the node
}

func (x *sample) reading(q *Query) (sensors.Reading, error) {
	r := sensors.Reading{Kind: q.Kind, Value: x.value, At: time.UnixMilli(x.at), Mean: q.mean, Source: q.source}
	switch {
	case x.values == 0:
		return r, fmt.Errorf("%w: the series exist, but the expression gives no value", sensors.ErrNoReading)
	case x.values > 1:
		return r, fmt.Errorf("%w: %d series of one node; aggregate them by ($label)", sensors.ErrMalformed, x.values)
	case x.at == 0:
		return r, fmt.Errorf("%w: a value without a time; check Time", sensors.ErrMalformed)
	case math.IsNaN(x.value):
		return r, fmt.Errorf("%w: NaN", sensors.ErrNoReading)
	}
	return r, sensors.Possible(q.Kind, x.value)
}

// places are nodes that are asked for, and where each stands.
type places struct {
	nodes []string
	of    map[string]int32
}

// places returns where the nodes stand. A poller asks for the same all the time.
func (s *Source) places(nodes []string) *places {
	if last := s.last.Load(); last != nil && slices.Equal(last.nodes, nodes) {
		return last
	}
	p := &places{nodes: slices.Clone(nodes), of: make(map[string]int32, len(nodes))}
	for i, n := range nodes {
		p.of[n] = int32(i)
	}
	if len(nodes) > 1 {
		s.last.Store(p)
	}
	return p
}

func (s *Source) ask(ctx context.Context, i int, p *places) answer {
	q := &s.queries[i]
	a := answer{nodes: make([]sample, len(p.nodes))}
	err := transport{s.client}.query(ctx, q.text(), q.Label, &s.sizes[i], func(x *point) {
		k, ok := s.placeOf(p, q.Label, x.node)
		if !ok {
			return
		}
		n := &a.nodes[k]
		n.known = true
		switch string(x.part) {
		case "value":
			n.value = x.value
			n.values++
		case "time":
			if at, ok := unix(x.value); ok && (n.at == 0 || at < n.at) {
				n.at = at
			}
		}
	})
	if err != nil {
		return answer{err: describe(err)}
	}
	return a
}

// unix returns the milliseconds of Unix seconds, if they are a time: up to the year 2286.
func unix(f float64) (ms int64, ok bool) {
	if !(f > 0 && f < 1e10) {
		return 0, false
	}
	return int64(math.Round(f * 1000)), true
}

// placeOf returns where the node stands that a label names.
func (s *Source) placeOf(p *places, label string, value []byte) (int32, bool) {
	if n, ok := s.opts.Names[string(value)]; ok {
		i, ok := p.of[n]
		return i, ok
	}
	if label == "instance" {
		if i := bytes.LastIndexByte(value, ':'); i >= 0 && i+1 < len(value) && len(bytes.Trim(value[i+1:], "0123456789")) == 0 {
			value = bytes.Trim(value[:i], "[]")
		}
		if n, ok := s.opts.Names[string(value)]; ok {
			i, ok := p.of[n]
			return i, ok
		}
	}
	i, ok := p.of[string(value)]
	return i, ok && len(value) > 0
}
