package prior

import (
	"fmt"
	"math"

	"github.com/leastwatt/leastwatt/power"
)

// Hardware is what is known of a server without measuring it. A zero field is unknown.
type Hardware struct {
	System   string      // vendor and model, as Redfish or a data sheet gives it
	CPU      string      // as Redfish, /proc/cpuinfo or a data sheet gives it
	Year     int         // hardware availability
	Chips    int         // CPU packages
	Cores    int         // cores of all chips
	Threads  int         // hardware threads of all chips: the CPUs that an operating system counts
	TDP      power.Watts // thermal design power of one chip
	MemoryGB float64
}

// Validate returns an error that names the field which is negative or not a number.
func (h Hardware) Validate() error {
	for _, f := range []struct {
		name  string
		value float64
	}{{"year", float64(h.Year)}, {"chips", float64(h.Chips)}, {"cores", float64(h.Cores)}, {"threads", float64(h.Threads)},
		{"TDP", float64(h.TDP)}, {"memory", h.MemoryGB}} {
		if !(f.value >= 0 && f.value <= 1e9) {
			return fmt.Errorf("hardware: %s is %v: want a number from 0 (unknown) to 1e9", f.name, f.value)
		}
	}
	return nil
}

// The dimensions of the joint Gaussian: the curve's points, then the attributes.
const (
	// Points is the number of points of a curve: active idle and 10, 20 … 100 % load.
	Points = 11

	attributes = 5
	dims       = Points + attributes
)

// attribute returns the logarithms of what is known, NaN where unknown: chips, cores, threads, TDP of a chip,
// memory.
func (h *Hardware) attributes() [attributes]float64 {
	a := [attributes]float64{float64(h.Chips), float64(h.Cores), float64(h.Threads), float64(h.TDP), h.MemoryGB}
	for i, v := range a {
		if v > 0 {
			a[i] = math.Log(v)
		} else {
			a[i] = math.NaN()
		}
	}
	return a
}

// mask has bit i set where attribute i is known.
func (h *Hardware) mask() int {
	m := 0
	for i, v := range h.attributes() {
		if v == v {
			m |= 1 << i
		}
	}
	return m
}
