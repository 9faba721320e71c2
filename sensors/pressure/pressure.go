// Package pressure reads the differential-pressure API of WAO deployments: the static pressure between the
// aisle in front of a server and the one behind it.
//
// Its main type is [Source]. It asks GET /api/sensor/by_nodename/NODE and gives [sensors.PressureDelta], and the
// pressure sensor's own temperature as [Temp], which is not the server's inlet.
package pressure

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/fault"
	"github.com/leastwatt/leastwatt/sensors/internal/scrape"
)

// Temp is the temperature of the pressure sensor itself.
const Temp sensors.Kind = "pressure_sensor_temp_celsius"

// An Endpoint is the API. Its URL is the API's address, without /api/sensor.
type Endpoint = scrape.Endpoint

// Options tune a [Source]. The zero value works.
type Options struct {
	Timeout  time.Duration // of one request; 0 means 5 seconds
	MaxBytes int64         // of one answer; 0 means 1 MiB

	// Names gives the name by which the API knows a node where it is another.
	Names map[string]string

	// Knows says which nodes have a sensor; others are not asked for. nil asks for all.
	Knows func(node string) bool
}

// Source reads many nodes from one API. It knows every node until the API says that it does not.
type Source struct {
	client *boundedhttp.Client
	prefix string
	names  map[string]string
	knows  func(node string) bool
}

// New returns a source. It connects to nothing.
func New(e Endpoint, o Options) (*Source, error) {
	e.URL = strings.TrimSuffix(e.URL, "/")
	c, path, err := e.Open(scrape.Options{Timeout: cmp.Or(o.Timeout, 5*time.Second), MaxBytes: cmp.Or(o.MaxBytes, 1<<20)}, 8)
	if err != nil {
		return nil, fmt.Errorf("pressure: %w", err)
	}
	return &Source{client: c, prefix: path + "/api/sensor/by_nodename/", names: o.Names, knows: o.Knows}, nil
}

// String returns "pressure".
func (s *Source) String() string { return name }

const name = "pressure"

// Close closes unused connections.
func (s *Source) Close() error { s.client.Close(); return nil }

// Read implements [sensors.SensorSource]. Of several sensors of a node the first that measures counts, as in
// WAO. The API tells no time: At is when the answer came.
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	if s.knows != nil && !s.knows(node) {
		return nil, fault.Node(name, node, sensors.ErrUnknownNode)
	}
	known, ok := s.names[node]
	if !ok {
		known = node
	}
	resp, err := s.client.Get(ctx, s.prefix+url.PathEscape(known), http.Header{"Accept": {"application/json"}})
	if err != nil {
		err = fault.HTTP(err)
		if sensors.Reason(err) == "no_reading" { // 404
			err = fmt.Errorf("%w: %w", sensors.ErrUnknownNode, err)
		}
		return nil, fault.Node(name, node, err)
	}
	list, err := parse(resp.Body)
	if err != nil {
		return nil, fault.Node(name, node, err)
	}
	r := &scrape.Result{Source: name, Node: node, At: resp.At}
	fill(r, list)
	return r.Done("the API has no sensor of this node")
}

// A device is one sensor of the API.
type device struct {
	Pressure    json.RawMessage `json:"pressure"`
	ID          json.RawMessage `json:"sensorid"`
	Temperature json.RawMessage `json:"temperature"`
}

func parse(body []byte) ([]device, error) {
	var a struct {
		Code   int      `json:"code"`
		Sensor []device `json:"sensor"`
	}
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("%w: invalid UTF-8", sensors.ErrMalformed)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("%w: not an answer of the differential-pressure API: %w", sensors.ErrMalformed, err)
	}
	switch {
	case a.Code == 0:
		return nil, fmt.Errorf("%w: not an answer of the differential-pressure API: no code", sensors.ErrMalformed)
	case a.Code == http.StatusNotFound:
		return nil, fmt.Errorf("%w: the API answers with code 404", sensors.ErrUnknownNode)
	case a.Code/100 != 2:
		return nil, fmt.Errorf("%w: the API answers with code %d", sensors.ErrDevice, a.Code)
	}
	return a.Sensor, nil
}

func fill(r *scrape.Result, list []device) {
	var bad json.RawMessage
	for _, d := range list {
		p, ok, isNull := float(d.Pressure)
		if isNull {
			continue
		}
		if !ok {
			bad = d.Pressure
			continue
		}
		r.Add(sensors.PressureDelta, p, time.Time{}, id(d.ID))
		if t, ok, _ := float(d.Temperature); ok {
			if err := sensors.Possible(sensors.ExhaustTemp, t); err == nil {
				r.Add(Temp, t, time.Time{}, id(d.ID))
			}
		}
		return
	}
	if bad != nil {
		r.Fail(sensors.PressureDelta, fmt.Errorf("%w: the pressure is %.40q, no number", sensors.ErrMalformed, bad))
	}
}

// float returns a JSON number, and whether there is none at all.
func float(raw json.RawMessage) (v float64, ok, isNull bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, false, true
	}
	err := json.Unmarshal(raw, &v)
	return v, err == nil, false
}

// id returns a sensor's name for Reading.Source.
func id(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, s)
	return cmp.Or(s[:min(len(s), 64)], "sensor")
}
