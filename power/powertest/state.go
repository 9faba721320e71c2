package powertest

import (
	"fmt"
	"maps"
	"math"

	"github.com/leastwatt/leastwatt/power"
)

// describe returns a state as text with its pointers followed.
func describe(s power.State) string {
	d := fmt.Sprintf("node %q, utilization %v", s.Node, s.Utilization)
	if s.InletTemp != nil {
		d += fmt.Sprintf(", inlet %v", *s.InletTemp)
	}
	if s.PressureDelta != nil {
		d += fmt.Sprintf(", pressure %v", *s.PressureDelta)
	}
	if s.Inputs != nil {
		d += fmt.Sprintf(", inputs %v", s.Inputs)
	}
	return d
}

// clone returns a state that shares nothing with s.
func clone(s power.State) power.State {
	if s.InletTemp != nil {
		s.InletTemp = new(*s.InletTemp)
	}
	if s.PressureDelta != nil {
		s.PressureDelta = new(*s.PressureDelta)
	}
	s.Inputs = maps.Clone(s.Inputs)
	return s
}

func valid(w power.Watts) bool { return w >= 0 && w <= math.MaxFloat64 }

func near(a, b power.Watts) bool {
	return math.Abs(float64(a-b)) <= 1e-9*max(1, math.Abs(float64(a)))
}

// without returns s with an input taken away.
func without(s power.State, in power.Input) power.State {
	s = clone(s)
	switch in {
	case power.InputUtilization:
		s.Utilization = math.NaN()
	case power.InputInletTemp:
		s.InletTemp = nil
	case power.InputPressureDelta:
		s.PressureDelta = nil
	default:
		delete(s.Inputs, string(in))
	}
	return s
}

// with returns s with an input set.
func with(s power.State, in power.Input, v float64) power.State {
	s = clone(s)
	switch in {
	case power.InputUtilization:
		s.Utilization = v
	case power.InputInletTemp:
		s.InletTemp = new(power.Celsius(v))
	case power.InputPressureDelta:
		s.PressureDelta = new(power.Pascals(v))
	default:
		if s.Inputs == nil {
			s.Inputs = make(map[string]float64)
		}
		s.Inputs[string(in)] = v
	}
	return s
}
