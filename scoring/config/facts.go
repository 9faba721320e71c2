package config

import (
	"cmp"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/sensors"
)

// facts takes in what a server draws beside its model: its GPUs, while it is off, and to be started.
func (m *Model) facts(p *place, w *which) {
	m.Off, m.Standby = power.Watts(w.OffWatts), power.Watts(w.OffWatts)
	if w.StandbyWatts != nil {
		m.Standby = power.Watts(*w.StandbyWatts)
	}
	if w.Wake != nil {
		m.Wake = power.Joules(w.Wake.Watts * w.Wake.Seconds)
	}
	g := w.GPU
	if g == nil {
		return
	}
	m.GPU = &power.GPU{Input: cmp.Or(power.Input(g.Input), power.Input(sensors.GPUUtilization)), Count: g.Count,
		Idle: power.Watts(g.IdleWatts), Active: power.Watts(g.ActiveWatts), Limit: power.Watts(g.LimitWatts)}
	switch {
	case m.remote != nil:
		p.fail("gpu", "is not for a remote model: give it a feature of the GPUs' activity")
	case m.guess != nil && m.guess.learn:
		p.fail("gpu", "is for models that do not learn: one that learns has no part of its own for GPUs")
	}
}
