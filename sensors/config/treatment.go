package config

import (
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// treatment is what is done with a source's reads and readings.
type treatment struct {
	Limit     time.Duration      `yaml:"limit" doc:"shortest time between two reads of a node, whoever asks"`
	Breaker   *breaker           `yaml:"breaker" doc:"leaves nodes alone that keep failing (for redfish, on with maxPause 1m)"`
	Derive    bool               `yaml:"derive" doc:"gives watts from energy, utilization from CPU time, differences from both sides (false)"`
	Plausible map[string]checked `yaml:"plausible" doc:"for single kinds, which values are believed"`
}

type breaker struct {
	Off       bool          `yaml:"off" doc:"never leaves a node alone"`
	Failures  int           `yaml:"failures" doc:"failed reads in a row (5)"`
	Pause     time.Duration `yaml:"pause" doc:"for how long, doubling (30s)"`
	MaxPause  time.Duration `yaml:"maxPause" doc:"at most (5m)"`
	AuthPause time.Duration `yaml:"authPause" doc:"after two refusals of the credentials (5m)"`
}

type checked struct {
	Min          *float64      `yaml:"min"`
	Max          *float64      `yaml:"max"`
	MaxPerSecond float64       `yaml:"maxPerSecond" doc:"largest change a second (any)"`
	Settle       int           `yaml:"settle" doc:"measurements after which a larger change is believed (3)"`
	StuckAfter   time.Duration `yaml:"stuckAfter" doc:"how long the same value is believed (for ever)"`
}

// breakerName returns a source's name for metrics, unlike those of all others: a fallback may be named as its source.
func (b *builder) breakerName(name string) string {
	for i := range b.set.breakers {
		if b.set.breakers[i].Label() == name {
			return fmt.Sprintf("%s (breaker %d)", name, len(b.set.breakers)+1)
		}
	}
	return name
}

// treat puts the decorators around a source: nearest to the device those that spare it.
func (b *builder) treat(s *single, src sensors.SensorSource) sensors.SensorSource {
	if s.Limit > 0 {
		src = sensors.Limit(src, s.Limit)
	}
	how := s.Breaker
	if how == nil && s.Type == "redfish" {
		how = &breaker{MaxPause: time.Minute} // wrong credentials, asked with again and again, lock accounts
	}
	if how != nil && !how.Off {
		c := sensors.NewBreaker(src, sensors.BreakerOptions{Name: b.breakerName(s.Name), Failures: how.Failures, Pause: how.Pause, MaxPause: how.MaxPause, AuthPause: how.AuthPause})
		b.set.breakers = append(b.set.breakers, c)
		if all, ok := c.Batch(); ok {
			src = all
		} else {
			src = c
		}
	}
	if len(s.Plausible) > 0 {
		checks := make(map[sensors.Kind]sensors.Check, len(s.Plausible))
		for k, c := range s.Plausible {
			checks[sensors.Kind(k)] = sensors.Check(c)
		}
		src = sensors.Plausible(src, checks)
	}
	if s.Derive {
		src = sensors.Derive(src, sensors.DeriveOptions{Cores: func(node string) float64 { return b.node(node).Cores }})
	}
	if len(s.Kinds) > 0 {
		src = sensors.Only(src, kinds(s.Kinds)...)
	}
	return src
}
