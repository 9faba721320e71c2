package config

import (
	"math"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/sensors"
)

// readGPU reads what the GPUs of a server draw on top of its model.
func (m *Model) readGPU(parent *section) {
	n := parent.take("gpu")
	if n == nil {
		return
	}
	s := parent.doc.section(n, parent.name("gpu"))
	count := s.required("count", 1, 1024)
	if count != math.Trunc(count) {
		s.fail("count", "is %v: want a whole number", count)
	}
	m.GPU = &power.GPU{Input: power.Input(s.text("input", string(sensors.GPUUtilization))), Count: int(count),
		Idle: power.Watts(s.required("idleWatts", 0, 1e5)), Active: power.Watts(s.required("activeWatts", 0, 1e5)),
		Limit: power.Watts(s.number("limitWatts", 0, 1e5, 0))}
	s.done()
	if m.remote != nil {
		parent.fail("gpu", "is not for a remote model: give it a feature of the GPUs' activity")
	}
}

// readWake reads what it takes to start a server.
func (m *Model) readWake(parent *section) {
	m.Standby = power.Watts(parent.number("standbyWatts", 0, 1e6, float64(m.Off)))
	n := parent.take("wake")
	if n == nil {
		return
	}
	s := parent.doc.section(n, parent.name("wake"))
	m.Wake = power.Joules(s.required("watts", 0, 1e6) * s.required("seconds", 0, 1e5))
	s.done()
}
