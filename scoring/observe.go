package scoring

import (
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/sensors"
)

// An Observation is a node's readings as a [power.State], and why what is missing is missing.
type Observation struct {
	State power.State

	// Utilization is nil when State.Utilization was measured, fresh and within 0 and 1.
	Utilization error

	// Inlet and Pressure are nil when the field of State is set; otherwise they say why it is not.
	Inlet, Pressure error

	// At is when the utilization was measured.
	At time.Time
}

// Observe turns what a node measured into a state. Readings older than maxAge at now, by the hardware's
// time, are not used. A utilization of up to 5 % above 1 is taken as 1, because exporters divide counters
// by clocks that differ; beyond it is implausible. Readings of other kinds become inputs under their
// kind's name. A nil n has measured nothing.
func Observe(n *sensors.NodeReadings, now time.Time, maxAge time.Duration) Observation {
	var o Observation
	if n != nil {
		o.State.Node = n.Node
	}
	if r, err := n.Fresh(sensors.CPUUtilization, now, maxAge); err != nil {
		o.Utilization = err
	} else if !(r.Value >= 0 && r.Value <= 1.05) {
		o.Utilization = &sensors.Error{Source: r.Source, Node: n.Node, Kind: r.Kind,
			Err: fmt.Errorf("%w: %v is not within 0 and 1", sensors.ErrImplausible, r.Value)}
	} else {
		o.State.Utilization, o.At = min(r.Value, 1), r.At
	}
	if r, err := n.Fresh(sensors.InletTemp, now, maxAge); err != nil {
		o.Inlet = err
	} else {
		o.State.InletTemp = new(power.Celsius(r.Value))
	}
	if r, err := n.Fresh(sensors.PressureDelta, now, maxAge); err != nil {
		o.Pressure = err
	} else {
		o.State.PressureDelta = new(power.Pascals(r.Value))
	}
	if n == nil {
		return o
	}
	for _, r := range n.Readings {
		switch r.Kind {
		case sensors.CPUUtilization, sensors.InletTemp, sensors.PressureDelta:
			continue
		}
		if _, err := n.Fresh(r.Kind, now, maxAge); err == nil {
			if o.State.Inputs == nil {
				o.State.Inputs = make(map[string]float64)
			}
			o.State.Inputs[string(r.Kind)] = r.Value
		}
	}
	return o
}
