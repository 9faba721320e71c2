// Package kepler reads what a Kepler exporter says of its node, as text, without a Prometheus server.
//
// Its main type is [Source]. It speaks both schemes of names: that of Kepler 0.10 and later, which has
// watts, and that of 0.7 to 0.9, which has counters of joules alone, whose watts are there from the second
// read on.
//
// # What is counted, and once
//
// The zones of RAPL overlap: core and uncore lie within package, and psys holds all of them. The node's
// CPU power is that of psys where there is one, otherwise package and dram together; other zones are not
// counted. It holds neither fans nor disks nor supplies, and so is [sensors.CPUPower], never [sensors.Power].
//
// [sensors.Power] is what Kepler itself reads from the server's BMC (kepler_platform_watts): the first power
// control of the server's chassis, else the sum of its supplies; else the platform counter of the old
// scheme.
package kepler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/internal/exposition"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/scrape"
)

// An Endpoint is where one node's exporter answers. Its Match is needed only where an answer is of several
// nodes none of which bears the node's name.
type Endpoint = scrape.Endpoint

// A Lookup finds the endpoint of a node. Its error wraps [sensors.ErrUnknownNode] where there is none.
type Lookup = scrape.Lookup

// Options tune a [Source]. The zero value works.
type Options = scrape.Options

// Nodes looks endpoints up in a map, which is not to be changed afterwards.
func Nodes(endpoints map[string]Endpoint) Lookup { return scrape.Nodes(endpoints) }

// The names of the scheme of 0.10 and later.
const (
	usageRatio    = "kepler_node_cpu_usage_ratio"
	cpuWatts      = "kepler_node_cpu_watts"
	cpuJoules     = "kepler_node_cpu_joules_total"
	gpuWatts      = "kepler_node_gpu_watts"
	platformWatts = "kepler_platform_watts"
)

// The names of the scheme of 0.7 to 0.9: pkg/metrics/consts of module kepler v0.9.0.
const (
	oldPackage  = "kepler_node_package_joules_total"
	oldDRAM     = "kepler_node_dram_joules_total"
	oldGPU      = "kepler_node_gpu_joules_total"
	oldPlatform = "kepler_node_platform_joules_total"
)

// Metrics returns the names of the metrics that a [Source] reads, of both schemes.
func Metrics() []string {
	return []string{usageRatio, cpuWatts, cpuJoules, gpuWatts, platformWatts, oldPackage, oldDRAM, oldGPU, oldPlatform}
}

// A Source reads the Kepler exporters of many nodes.
type Source struct {
	// KeepPods, where it is not nil, is told what each answer says of the node's pods. It is set before the
	// first Read.
	KeepPods *Pods

	reader *scrape.Reader
	rates  exposition.Rates
}

// New returns a source of the nodes that lookup knows. It connects to nothing.
func New(lookup Lookup, o Options) *Source { return &Source{reader: scrape.New("kepler", lookup, o)} }

// String returns "kepler".
func (s *Source) String() string { return "kepler" }

// Close closes unused connections.
func (s *Source) Close() error { return s.reader.Close() }

// Read implements [sensors.SensorSource]. Kepler tells no time of measurement: At is when the answer came,
// or the end of the interval that a rate is of.
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	names := Metrics()
	if s.KeepPods != nil {
		names = append(names, podWatts)
	}
	samples, r, err := s.reader.Scrape(ctx, node, names...)
	if err != nil {
		return nil, err
	}
	samples, err = ofNode(samples, node)
	if err != nil {
		r.Fail("", err)
		return r.Done("")
	}
	if s.KeepPods != nil {
		s.KeepPods.put(pods(samples, node, r.At))
	}
	if u := samples.Named(usageRatio); len(u) == 1 {
		r.Add(sensors.CPUUtilization, u[0].Value, u[0].At, "cpu_usage_ratio")
	} else if len(u) > 1 {
		r.Fail(sensors.CPUUtilization, fmt.Errorf("%w: %d values of %s", sensors.ErrMalformed, len(u), usageRatio))
	}
	if watts, at, view, ok := zones(samples.Named(cpuWatts)); ok {
		r.Add(sensors.CPUPower, watts, at, "cpu_watts "+view)
	}
	if joules, at, view, ok := zones(samples.Named(cpuJoules)); ok {
		r.Add(sensors.CPUEnergy, joules, at, "cpu_joules_total "+view)
	}
	if g := samples.Named(gpuWatts); len(g) > 0 {
		watts, at := sum(g)
		r.Add(sensors.GPUPower, watts, at, "gpu_watts")
	}
	if p := samples.Named(platformWatts); len(p) > 0 {
		if watts, at, view, err := platform(p); err != nil {
			r.Fail(sensors.Power, err)
		} else {
			r.Add(sensors.Power, watts, at, view)
		}
	}
	s.old(samples, r, node)
	return r.Done("the answer has no metric of the node that is known: want " + strings.Join([]string{usageRatio, cpuWatts, oldPackage}, ", "))
}

// old reads the counters of the old scheme. Each is split by mode, idle and dynamic, which together are all.
func (s *Source) old(samples exposition.Samples, r *scrape.Result, node string) {
	rate := func(kind sensors.Kind, joules float64, at time.Time, view string) {
		if at.IsZero() {
			at = r.At
		}
		if watts, end, ok := s.rates.Per(node+"\xff"+view, joules, at); ok {
			r.Add(kind, watts, end, view)
		}
	}
	pack, dram := samples.Named(oldPackage), samples.Named(oldDRAM)
	if len(pack) > 0 && !r.Has(sensors.CPUEnergy) {
		joules, at := sum(slices.Concat(pack, dram))
		view := "node_package_joules_total"
		if len(dram) > 0 {
			view += "+dram"
		}
		r.Add(sensors.CPUEnergy, joules, at, view)
		if !r.Has(sensors.CPUPower) {
			rate(sensors.CPUPower, joules, at, view)
		}
	}
	if g := samples.Named(oldGPU); len(g) > 0 && !r.Has(sensors.GPUPower) {
		joules, at := sum(g)
		rate(sensors.GPUPower, joules, at, "node_gpu_joules_total")
	}
	if p := samples.Named(oldPlatform); len(p) > 0 && !r.Has(sensors.Power) {
		joules, at := sum(p)
		r.Add(sensors.Energy, joules, at, "node_platform_joules_total")
		rate(sensors.Power, joules, at, "node_platform_joules_total")
	}
}

// ofNode leaves the samples of one node: of the only one there is, or of the one with the node's name.
func ofNode(samples exposition.Samples, node string) (exposition.Samples, error) {
	named := map[string]bool{}
	for i := range samples {
		named[nodeOf(&samples[i])] = true
	}
	if len(named) <= 1 {
		return samples, nil
	}
	if !named[node] {
		return nil, fmt.Errorf("%w: the answer is of %d nodes, none of them named so; choose one with Match", sensors.ErrNoReading, len(named))
	}
	return slices.DeleteFunc(samples, func(x exposition.Sample) bool { return nodeOf(&x) != node }), nil
}

// nodeOf returns the node that a sample is of: in the old scheme, the label instance says it.
func nodeOf(s *exposition.Sample) string {
	if n, ok := s.Labels["node_name"]; ok {
		return n
	}
	return s.Labels["instance"]
}

// zones adds up what does not overlap: psys alone, otherwise packages and their memory.
func zones(samples exposition.Samples) (total float64, at time.Time, view string, ok bool) {
	of := func(zone string) exposition.Samples {
		var found exposition.Samples
		for _, s := range samples {
			// Several sockets are one zone, or "package-0", "package-1".
			if z, _, _ := strings.Cut(s.Labels["zone"], "-"); z == zone {
				found = append(found, s)
			}
		}
		return found
	}
	if p := of("psys"); len(p) > 0 {
		total, at = sum(p)
		return total, at, "psys", true
	}
	pack, dram := of("package"), of("dram")
	if len(pack) == 0 {
		return 0, at, "", false
	}
	view = "package"
	if len(dram) > 0 {
		view += "+dram"
	}
	total, at = sum(slices.Concat(pack, dram))
	return total, at, view, true
}

// platform reads the BMC's watts: the first power control, which is the server; else all supplies.
func platform(samples exposition.Samples) (watts float64, at time.Time, view string, err error) {
	chassis := map[string]bool{}
	var controls, supplies exposition.Samples
	for _, s := range samples {
		chassis[s.Labels["bmc_id"]+"\xff"+s.Labels["chassis_id"]] = true
		if s.Labels["source_type"] == "PowerSupply" {
			supplies = append(supplies, s)
		} else {
			controls = append(controls, s)
		}
	}
	if len(chassis) > 1 { // one may hold the other: their sum could count it twice
		return 0, at, "", fmt.Errorf("%w: %s is of %d chassis; choose one with Match", sensors.ErrMalformed, platformWatts, len(chassis))
	}
	if len(controls) > 0 {
		first := slices.MinFunc(controls, func(a, b exposition.Sample) int { return strings.Compare(a.Labels["source_id"], b.Labels["source_id"]) })
		return first.Value, first.At, "platform_watts", nil
	}
	watts, at = sum(supplies)
	return watts, at, "platform_watts supplies", nil
}

// sum adds samples up, and returns the oldest of their times.
func sum(samples exposition.Samples) (total float64, at time.Time) {
	for _, s := range samples {
		total += s.Value
		if !s.At.IsZero() && (at.IsZero() || s.At.Before(at)) {
			at = s.At
		}
	}
	return total, at
}
