package profiles

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/sensors"
)

// A chain is a sensor with those that it falls back to. It is immutable but for what it remembers of its last read.
type chain struct {
	probes  []*probe
	missing []string     // fallbacks that the profile lacks, which the API server would have refused
	needed  atomic.Int32 // the last that was needed, at the last read
}

// join makes one source of the probes: each with its fallbacks, merged by precedence.
func (s *source) join(spec *v1alpha1.NodeProfileSpec) {
	named := make(map[string]*probe, len(s.probes))
	fallback := make(map[string]bool)
	for i, n := range s.probes {
		named[n.name] = n
		for _, f := range spec.Sensors[i].Fallback {
			fallback[f] = true
		}
	}
	var from []sensors.SensorSource
	index := make(map[string]int)
	for i, n := range s.probes {
		if fallback[n.name] {
			continue
		}
		c := &chain{probes: []*probe{n}}
		for _, f := range spec.Sensors[i].Fallback {
			if other := named[f]; other != nil {
				other.chains = append(other.chains, c)
				c.probes = append(c.probes, other)
			} else {
				c.missing = append(c.missing, f)
			}
		}
		index[n.name] = len(from)
		from = append(from, c)
	}
	precedence := make(map[sensors.Kind][]int, len(spec.Precedence))
	for kind, names := range spec.Precedence {
		for _, n := range names {
			if i, ok := index[n]; ok {
				precedence[sensors.Kind(kind)] = append(precedence[sensors.Kind(kind)], i)
			}
		}
	}
	if len(from) > 0 {
		s.all = sensors.MergeBy(precedence, from...)
	}
}

// String names the sensor.
func (c *chain) String() string { return c.probes[0].String() }

// Read implements [sensors.SensorSource].
func (c *chain) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	answered := make([]atomic.Bool, len(c.probes))
	from := make([]sensors.SensorSource, 0, len(c.probes)+len(c.missing))
	for i, n := range c.probes {
		from = append(from, sensors.SourceFunc(func(ctx context.Context, node string) ([]sensors.Reading, error) {
			r, err := n.Read(ctx, node)
			answered[i].Store(len(r) > 0)
			return r, err
		}))
	}
	for _, f := range c.missing {
		from = append(from, failing(f, fmt.Errorf("fallback: the profile has no sensor of that name: %w", sensors.ErrUnreachable)))
	}
	r, err := sensors.First(from...).Read(ctx, node)
	needed := 0
	for needed < len(answered)-1 && !answered[needed].Load() {
		needed++
	}
	c.needed.Store(int32(needed))
	return r, err
}

// Unwrap implements [sensors.Wrapper].
func (c *chain) Unwrap() []sensors.SensorSource {
	all := make([]sensors.SensorSource, len(c.probes))
	for i, n := range c.probes {
		all[i] = n
	}
	return all
}

// Unwrap implements [sensors.Wrapper].
func (n *probe) Unwrap() []sensors.SensorSource { return []sensors.SensorSource{n.from} }

// standby tells whether a probe is a fallback that was not needed at the last read.
func (n *probe) standby() bool {
	return len(n.chains) > 0 && !slices.ContainsFunc(n.chains, func(c *chain) bool {
		return slices.Index(c.probes, n) <= int(c.needed.Load())
	})
}
