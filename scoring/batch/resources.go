package batch

import (
	"fmt"
	"maps"
	"math"
)

// Resources is what a job reserves or a node has to give. The zero value is nothing.
type Resources struct {
	CPU    float64 // cores
	Memory float64 // bytes
	GPU    float64 // devices; shares of a device are fractions
	// Other holds any further resource by name, in a unit of the caller's.
	Other map[string]float64
}

// fitSlack forgives the rounding of sums of fractions.
const fitSlack = 1e-9

// Fits reports whether r can be taken from free.
func (r *Resources) Fits(free *Resources) bool {
	if r.CPU > free.CPU+fitSlack || r.Memory > free.Memory || r.GPU > free.GPU+fitSlack {
		return false
	}
	for name, v := range r.Other {
		if v > free.Other[name]+fitSlack {
			return false
		}
	}
	return true
}

// Short names the first resource of which free has too little, or returns "".
func (r *Resources) Short(free *Resources) string {
	switch {
	case r.CPU > free.CPU+fitSlack:
		return "cpu"
	case r.Memory > free.Memory:
		return "memory"
	case r.GPU > free.GPU+fitSlack:
		return "gpu"
	}
	short := ""
	for name, v := range r.Other {
		if v > free.Other[name]+fitSlack && (short == "" || name < short) {
			short = name
		}
	}
	return short
}

// add adds sign times o. It never writes to a map that another value shares: Other must be r's own.
func (r *Resources) add(o *Resources, sign float64) {
	r.CPU += sign * o.CPU
	r.Memory += sign * o.Memory
	r.GPU += sign * o.GPU
	for name, v := range o.Other {
		if r.Other == nil {
			r.Other = make(map[string]float64, len(o.Other))
		}
		r.Other[name] += sign * v
	}
}

func (r *Resources) clone() Resources {
	c := *r
	if r.Other != nil {
		c.Other = make(map[string]float64, len(r.Other))
		maps.Copy(c.Other, r.Other)
	}
	return c
}

// Validate returns an error that names the field which is not a finite, non-negative number.
func (r *Resources) Validate() error {
	const most = math.MaxFloat64
	if r.CPU >= 0 && r.CPU <= most && r.Memory >= 0 && r.Memory <= most && r.GPU >= 0 && r.GPU <= most && len(r.Other) == 0 {
		return nil // as most often
	}
	check := func(name string, v float64) error {
		if v >= 0 && v <= math.MaxFloat64 {
			return nil
		}
		return fmt.Errorf("%s is %v: want a finite number, 0 or more", name, v)
	}
	if err := check("cpu", r.CPU); err != nil {
		return err
	}
	if err := check("memory", r.Memory); err != nil {
		return err
	}
	if err := check("gpu", r.GPU); err != nil {
		return err
	}
	for name, v := range r.Other {
		if err := check(name, v); err != nil {
			return err
		}
	}
	return nil
}
