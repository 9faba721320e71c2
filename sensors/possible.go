package sensors

import (
	"fmt"
)

// Possible returns an error that wraps [ErrImplausible] for a value that no server measures: one that is
// not finite, negative watts, an inlet of 300 °C. Its limits are wide, and fixed for the kinds of this
// package; other kinds need only be finite.
func Possible(kind Kind, value float64) error {
	if !finite(value) {
		return fmt.Errorf("%w: %v", ErrImplausible, value)
	}
	if l, ok := limits[kind]; ok && (value < l.min || value > l.max) {
		return fmt.Errorf("%w: %v is outside of %v to %v", ErrImplausible, value, l.min, l.max)
	}
	return nil
}

// The limits are chosen to be beyond anything that works: temperatures beyond what electronics survive,
// watts beyond a rack's, pressures beyond what fans make.
var limits = map[Kind]struct{ min, max float64 }{
	InletTemp: {-40, 80}, ExhaustTemp: {-40, 120}, DeltaT: {-60, 100}, CPUTemp: {-40, 150}, GPUTemp: {-40, 150},
	Power: {0, 1e6}, CPUPower: {0, 1e5}, GPUPower: {0, 1e6},
	CPUUtilization: {0, 1.01}, GPUUtilization: {0, 1.01}, // a ratio of two clocks may be a little above 1
	CPUUsed: {0, 1e5}, MemoryUsed: {0, 1e16}, FanSpeed: {0, 1e6},
	Energy: {0, 1e18}, CPUEnergy: {0, 1e18}, CPUTime: {0, 1e15},
	PressureDelta: {-1e4, 1e4}, PressureInlet: {-2e5, 2e5}, PressureExhaust: {-2e5, 2e5},
}
