// Package ipmiexporter reads what prometheus-ipmi-exporter says of a BMC, as text, without a Prometheus server.
//
// Its main type is [Source]. A node's URL is the exporter's /ipmi with the BMC as target
// ("http://exporter:9290/ipmi?target=10.0.0.7&module=default"), or /metrics of an exporter on the node
// itself. It gives [sensors.InletTemp], [sensors.ExhaustTemp], [sensors.CPUTemp] (the hottest),
// [sensors.FanSpeed] (the fastest) and [sensors.Power].
//
// The exporter answers 200 even if it could not reach the BMC: what ipmi_up says of a collector decides
// whether its numbers count.
//
// # Precedence
//
// Power: the endpoint's Sensors, else DCMI, else the sensor of the whole server by name, else the sum of the
// supplies' inputs. Inlet: the endpoint's Sensors, else the name; one with inlet or intake goes before one
// with ambient, and those of parts (supplies, cards, processors) do not count.
package ipmiexporter

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/internal/exposition"
	"github.com/leastwatt/leastwatt/internal/sensorname"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/scrape"
)

// An Endpoint is where one node's exporter answers.
type Endpoint = scrape.Endpoint

// A Lookup finds the endpoint of a node. Its error wraps [sensors.ErrUnknownNode] where there is none.
type Lookup = scrape.Lookup

// Options tune a [Source]. The zero value works.
type Options = scrape.Options

// Nodes looks endpoints up in a map, which is not to be changed afterwards.
func Nodes(endpoints map[string]Endpoint) Lookup { return scrape.Nodes(endpoints) }

// The names that ipmi_exporter gives its metrics.
const (
	temperature = "ipmi_temperature_celsius"
	fan         = "ipmi_fan_speed_rpm"
	power       = "ipmi_power_watts"
	dcmi        = "ipmi_dcmi_power_consumption_watts"
	up          = "ipmi_up"
)

// Source reads ipmi_exporters for many nodes.
type Source struct{ reader *scrape.Reader }

// New returns a source of the nodes that lookup knows. It connects to nothing.
func New(lookup Lookup, o Options) *Source {
	return &Source{reader: scrape.New("ipmiexporter", lookup, o)}
}

// String returns "ipmiexporter".
func (s *Source) String() string { return "ipmiexporter" }

// Close closes unused connections.
func (s *Source) Close() error { return s.reader.Close() }

// Read implements [sensors.SensorSource]. The exporter asks the BMC while it answers: At is when the answer
// came.
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	samples, r, err := s.reader.Scrape(ctx, node, temperature, fan, power, dcmi, up)
	if err != nil {
		return nil, err
	}
	state := collectors(samples)
	if len(state) == 0 {
		r.Fail("", fmt.Errorf("%w: no ipmi_up: not the answer of ipmi_exporter's /ipmi", sensors.ErrMalformed))
		return r.Done("")
	}
	if ok, known := state["ipmi"]; ok {
		temperatures(samples.Named(temperature), r)
		fans(samples.Named(fan), r)
	} else if known {
		r.Fail("", fmt.Errorf("%w: the exporter's collector ipmi failed for this BMC (ipmi_up is 0)", sensors.ErrDevice))
	}
	watts(samples, state, r)
	return r.Done("none of the BMC's sensors is one that we know; name them in Sensors")
}

// collectors returns which of the exporter's collectors succeeded.
func collectors(samples exposition.Samples) map[string]bool {
	out := make(map[string]bool)
	for _, x := range samples.Named(up) {
		out[x.Labels["collector"]] = x.Value == 1
	}
	return out
}

func temperatures(of exposition.Samples, r *scrape.Result) {
	one := func(kind sensors.Kind, rank func(string) int) {
		if x, ok, named := pick(of, r, kind, rank); ok {
			r.Add(kind, x.Value, x.At, x.Labels["name"])
		} else if named {
			r.Fail(kind, fmt.Errorf("%w: no sensor named %q", sensors.ErrNoReading, r.Named[kind]))
		}
	}
	one(sensors.InletTemp, sensorname.InletRank)
	one(sensors.ExhaustTemp, rankOf(sensorname.Exhaust))
	for kind := range r.Named { // of kinds of one's own
		if kind != sensors.InletTemp && kind != sensors.ExhaustTemp && kind != sensors.CPUTemp && strings.HasSuffix(string(kind), "_temp_celsius") {
			one(kind, nil)
		}
	}
	if r.Named[sensors.CPUTemp] != "" {
		one(sensors.CPUTemp, nil)
		return
	}
	largest(of, r, sensors.CPUTemp, sensorname.CPUTemp)
}

func fans(of exposition.Samples, r *scrape.Result) {
	largest(of, r, sensors.FanSpeed, func(string) bool { return true })
}

func watts(samples exposition.Samples, state map[string]bool, r *scrape.Result) {
	x, ok, named := pick(samples.Named(power), r, sensors.Power, rankOf(sensorname.ServerPower))
	ok = ok && state["ipmi"]
	switch total := samples.Named(dcmi); {
	case named && ok:
		r.Add(sensors.Power, x.Value, x.At, x.Labels["name"])
	case named:
		r.Fail(sensors.Power, fmt.Errorf("%w: no sensor named %q", sensors.ErrNoReading, r.Named[sensors.Power]))
	case state["dcmi"] && len(total) == 1 && total[0].Value != 0: // a BMC that answers draws more than nothing
		r.Add(sensors.Power, total[0].Value, total[0].At, "DCMI")
	case ok:
		r.Add(sensors.Power, x.Value, x.At, x.Labels["name"])
	case state["ipmi"]:
		supplies(samples.Named(power), r)
	}
}

// supplies adds up what the power supplies draw.
func supplies(of exposition.Samples, r *scrape.Result) {
	var sum float64
	n := 0
	for _, x := range of {
		if sensorname.SupplyInput(x.Labels["name"]) {
			sum += x.Value
			n++
		}
	}
	if n > 0 {
		r.Add(sensors.Power, sum, time.Time{}, "sum of "+strconv.Itoa(n)+" supplies")
	}
}

// pick returns the sensor that the endpoint names for a kind, else the one of the highest rank, the first
// among equals; and whether one was named.
func pick(of exposition.Samples, r *scrape.Result, kind sensors.Kind, rank func(string) int) (best exposition.Sample, ok, named bool) {
	want := r.Named[kind]
	top := 0
	for _, x := range of {
		n := 0
		switch {
		case want != "" && x.Labels["name"] == want:
			n = 1
		case want == "":
			n = rank(x.Labels["name"])
		}
		if n > top {
			best, top = x, n
		}
	}
	return best, top > 0, want != ""
}

func largest(of exposition.Samples, r *scrape.Result, kind sensors.Kind, want func(string) bool) {
	var best exposition.Sample
	found := false
	for _, x := range of {
		if want(x.Labels["name"]) && (!found || x.Value > best.Value) {
			best, found = x, true
		}
	}
	if found {
		r.Add(kind, best.Value, best.At, best.Labels["name"])
	}
}

func rankOf(want func(string) bool) func(string) int {
	return func(name string) int {
		if want(name) {
			return 1
		}
		return 0
	}
}
