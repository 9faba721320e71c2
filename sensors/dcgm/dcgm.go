// Package dcgm reads what NVIDIA's DCGM exporter says of a host's GPUs, as text, without a Prometheus server.
//
// Its main type is [Source]. It gives [sensors.GPUPower], the sum over the host's GPUs, [sensors.GPUUtilization],
// their mean, and [sensors.GPUTemp], the hottest. A GPU that is divided (MIG) or shared by pods appears in
// several series; it counts once. A sum or mean of which one GPU is missing is an error, not a smaller number.
//
// # Precedence
//
// Power: DCGM_FI_DEV_POWER_USAGE, else the rate of DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, from the second read
// on. Utilization: DCGM_FI_DEV_GPU_UTIL, else DCGM_FI_PROF_GR_ENGINE_ACTIVE, which is what there is under MIG:
// there the instances count by their slices of the GPU's seven. DCGM's values for "blank", "not supported" and
// the like are no readings.
package dcgm

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
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

// The names that DCGM gives its fields.
const (
	powerUsage   = "DCGM_FI_DEV_POWER_USAGE"              // W
	totalEnergy  = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION" // mJ
	gpuUtil      = "DCGM_FI_DEV_GPU_UTIL"                 // percent
	engineActive = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"        // 0 to 1
	gpuTemp      = "DCGM_FI_DEV_GPU_TEMP"                 // °C
)

// Source reads the DCGM exporters of many nodes. Where one endpoint answers for many, Match {"Hostname": …}
// chooses a node's GPUs.
type Source struct {
	reader *scrape.Reader
	rates  exposition.Rates
}

// New returns a source of the nodes that lookup knows. It connects to nothing.
func New(lookup Lookup, o Options) *Source {
	return &Source{reader: scrape.New("dcgm", lookup, o)}
}

// String returns "dcgm".
func (s *Source) String() string { return "dcgm" }

// Close closes unused connections.
func (s *Source) Close() error { return s.reader.Close() }

// Read implements [sensors.SensorSource]. The exporter tells no time of measurement: At is when the answer
// came, or the end of the interval that a rate is of.
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	samples, r, err := s.reader.Scrape(ctx, node, powerUsage, totalEnergy, gpuUtil, engineActive, gpuTemp)
	if err != nil {
		return nil, err
	}
	gpus := group(samples)
	s.power(node, gpus, r)
	utilization(gpus, r)
	temperature(gpus, r)
	return r.Done("no " + powerUsage + ", " + gpuUtil + " or " + gpuTemp)
}

// A gpu is one physical GPU and the samples of each field.
type gpu struct {
	id     string
	fields map[string]exposition.Samples
}

// group sorts samples by physical GPU.
func group(samples exposition.Samples) []*gpu {
	byID := make(map[string]*gpu)
	for _, x := range samples {
		id := cmp.Or(x.Labels["UUID"], x.Labels["Hostname"]+"/"+cmp.Or(x.Labels["gpu"], x.Labels["device"]))
		g := byID[id]
		if g == nil {
			g = &gpu{id: id, fields: make(map[string]exposition.Samples)}
			byID[id] = g
		}
		if !blank(x.Value) {
			g.fields[x.Name] = append(g.fields[x.Name], x)
		}
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b *gpu) int { return cmp.Compare(a.id, b.id) })
}

// blank reports whether a value is one of those that DCGM writes for a number it does not have
// (dcgm_structs.h: DCGM_INT32_BLANK, DCGM_INT64_BLANK, DCGM_FP64_BLANK, and the three that follow each:
// not found, not supported, not permissioned).
func blank(v float64) bool {
	const int32Blank, int64Blank, fp64Blank = 0x7ffffff0, 0x1p63, 140737488355328 // a float64 cannot tell the 64-bit ones apart
	return v >= int32Blank && v <= int32Blank+3 || v == int64Blank || v >= fp64Blank && v <= fp64Blank+3
}

// largest returns the largest value of a field: series of one GPU repeat its value for each of its instances
// and pods.
func (g *gpu) largest(field string) (exposition.Sample, bool) {
	of := g.fields[field]
	if len(of) == 0 {
		return exposition.Sample{}, false
	}
	return slices.MaxFunc(of, func(a, b exposition.Sample) int { return cmp.Compare(a.Value, b.Value) }), true
}

func (s *Source) power(node string, gpus []*gpu, r *scrape.Result) {
	var sum float64
	var oldest time.Time
	var missing string
	view, waiting, found := powerUsage, false, 0
	for _, g := range gpus {
		at := r.At
		if x, ok := g.largest(powerUsage); ok {
			sum += x.Value
			at = own(x, at)
		} else if x, ok := g.largest(totalEnergy); ok {
			watts, end, ok := s.rates.Per(node+"\xff"+g.id, x.Value/1000, own(x, at))
			if !ok {
				waiting = true
				continue
			}
			sum, at, view = sum+watts, end, totalEnergy
		} else {
			missing = g.id
			continue
		}
		found++
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	switch {
	case found == 0 && !waiting: // the exporter is configured without power
	case missing != "":
		r.Fail(sensors.GPUPower, fmt.Errorf("%w: GPU %s of %d gives none, so that there is no sum", sensors.ErrNoReading, missing, len(gpus)))
	case waiting:
		r.Fail(sensors.GPUPower, fmt.Errorf("%w: only a counter, which needs a second read", sensors.ErrNoReading))
	default:
		r.Add(sensors.GPUPower, sum, oldest, view)
	}
}

func utilization(gpus []*gpu, r *scrape.Result) {
	var sum float64
	var missing string
	view, found := gpuUtil, 0
	for _, g := range gpus {
		if x, ok := g.largest(gpuUtil); ok {
			sum += x.Value / 100
		} else if active, ok := g.active(); ok {
			sum, view = sum+active, engineActive
		} else {
			missing = g.id
			continue
		}
		found++
	}
	switch {
	case found == 0:
	case missing != "":
		r.Fail(sensors.GPUUtilization, fmt.Errorf("%w: GPU %s of %d gives none, so that there is no mean", sensors.ErrNoReading, missing, len(gpus)))
	default:
		r.Add(sensors.GPUUtilization, sum/float64(found), time.Time{}, view)
	}
}

// active returns how busy a GPU's engines are. A whole GPU says so itself; a divided one is the sum of its
// instances, each weighted by its slices of seven (profile "3g.20gb" has three).
func (g *gpu) active() (float64, bool) {
	const slices = 7
	var whole, parts float64
	isWhole, isParts := false, false
	seen := make(map[string]bool)
	for _, x := range g.fields[engineActive] {
		instance := x.Labels["GPU_I_ID"]
		if instance == "" {
			whole, isWhole = max(whole, x.Value), true
			continue
		}
		if seen[instance] {
			continue
		}
		seen[instance] = true
		n, ok := profileSlices(x.Labels["GPU_I_PROFILE"])
		if !ok {
			return 0, false
		}
		parts, isParts = parts+x.Value*n/slices, true
	}
	if isWhole {
		return whole, true
	}
	return parts, isParts
}

func profileSlices(profile string) (float64, bool) {
	for i, c := range profile {
		if c == 'g' && i > 0 {
			n, err := strconv.Atoi(profile[:i])
			return float64(n), err == nil && n >= 1 && n <= 7
		}
	}
	return 0, false
}

func temperature(gpus []*gpu, r *scrape.Result) {
	var hottest float64
	found := false
	for _, g := range gpus {
		if x, ok := g.largest(gpuTemp); ok && (!found || x.Value > hottest) {
			hottest, found = x.Value, true
		}
	}
	if found {
		r.Add(sensors.GPUTemp, hottest, time.Time{}, gpuTemp)
	}
}

// own returns a sample's own time, else that of the answer.
func own(x exposition.Sample, answer time.Time) time.Time {
	if x.At.IsZero() {
		return answer
	}
	return x.At
}
