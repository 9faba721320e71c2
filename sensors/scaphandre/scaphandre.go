// Package scaphandre reads what Scaphandre's Prometheus exporter says of a host, as text, without a
// Prometheus server.
//
// Its main type is [Source]. Scaphandre measures by RAPL: processor packages and memory, not fans, disks or
// supplies. So it gives [sensors.CPUPower] and the counter [sensors.CPUEnergy], never [sensors.Power].
//
// # Precedence
//
// Power is that of the host (scaph_host_power_microwatts); else the rate of the host's energy
// (scaph_host_energy_microjoules), from the second read on; else the sum over sockets
// (scaph_socket_power_microwatts) and their memory (the domain "dram"). Host, sockets and domains lie
// within each other and are never added up across these levels.
package scaphandre

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/internal/exposition"
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

// The names that Scaphandre gives its metrics.
const (
	hostPower    = "scaph_host_power_microwatts"
	hostEnergy   = "scaph_host_energy_microjoules"
	socketPower  = "scaph_socket_power_microwatts"
	domainPower  = "scaph_domain_power_microwatts"
	microPerUnit = 1e6
)

// Source reads the Scaphandre exporters of many nodes.
type Source struct {
	reader *scrape.Reader
	rates  exposition.Rates
}

// New returns a source of the nodes that lookup knows. It connects to nothing.
func New(lookup Lookup, o Options) *Source {
	return &Source{reader: scrape.New("scaphandre", lookup, o)}
}

// String returns "scaphandre".
func (s *Source) String() string { return "scaphandre" }

// Close closes unused connections.
func (s *Source) Close() error { return s.reader.Close() }

// Read implements [sensors.SensorSource]. Scaphandre tells no time of measurement: At is when the answer came,
// or the end of the interval that a rate is of.
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	samples, r, err := s.reader.Scrape(ctx, node, hostPower, hostEnergy, socketPower, domainPower)
	if err != nil {
		return nil, err
	}
	return interpret(samples, r, node, &s.rates)
}

// Parse returns what a text of the exporter says of a node that pushed it, as of at where a line has no time stamp of its
// own. A text that holds the energy counter alone gives no power: that is the difference of two. Errors are those
// of Read.
func Parse(node string, text []byte, at time.Time) ([]sensors.Reading, error) {
	const most = 4 << 20
	r := &scrape.Result{Source: "scaphandre", Node: node, At: at}
	if len(text) > most {
		r.Fail("", fmt.Errorf("%w: %d bytes: want %d at most", sensors.ErrMalformed, len(text), most))
		return r.Done("")
	}
	samples, err := exposition.Parse(text, hostPower, hostEnergy, socketPower, domainPower)
	if err != nil {
		r.Fail("", fmt.Errorf("%w: %w", sensors.ErrMalformed, err))
	}
	return interpret(samples, r, node, new(exposition.Rates))
}

func interpret(samples exposition.Samples, r *scrape.Result, node string, rates *exposition.Rates) ([]sensors.Reading, error) {
	energy := samples.Named(hostEnergy)
	if len(energy) == 1 {
		r.Add(sensors.CPUEnergy, energy[0].Value/microPerUnit, energy[0].At, "host")
	}
	switch host := samples.Named(hostPower); {
	case len(host) == 1:
		r.Add(sensors.CPUPower, host[0].Value/microPerUnit, host[0].At, "host")
	case len(host) > 1 || len(energy) > 1:
		r.Fail(sensors.CPUPower, fmt.Errorf("%w: the answer is of several hosts; choose one with Match", sensors.ErrMalformed))
	case len(energy) == 1:
		at := r.At
		if !energy[0].At.IsZero() {
			at = energy[0].At
		}
		if watts, end, ok := rates.Per(node, energy[0].Value/microPerUnit, at); ok {
			r.Add(sensors.CPUPower, watts, end, "host energy")
		}
	default:
		watts, at, ok := sockets(samples)
		if ok {
			r.Add(sensors.CPUPower, watts, at, "sockets")
		}
	}
	return r.Done("no " + hostPower + ", " + hostEnergy + " or " + socketPower)
}

// sockets adds up the sockets and their memory. The time is that of the oldest sample.
func sockets(samples exposition.Samples) (watts float64, at time.Time, ok bool) {
	add := func(s exposition.Samples) {
		for _, x := range s {
			watts += x.Value / microPerUnit
			if !x.At.IsZero() && (at.IsZero() || x.At.Before(at)) {
				at = x.At
			}
		}
	}
	of := samples.Named(socketPower)
	add(of)
	add(samples.Named(domainPower).Where(map[string]string{"domain_name": "dram"}))
	return watts, at, len(of) > 0
}
