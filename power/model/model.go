// Package model keeps power models in files: one versioned JSON format for every form of package power,
// strict when read and exact when written. Its main type is [Model]. A [Library] follows a file or a folder
// of them while a program runs, and [Bindings] say which node has which model. FORMAT.md, beside this file,
// documents the format.
package model

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// Format is the version that this package writes, and the only one that it reads.
const Format = "leastwatt.model/1"

// Limits on a file, so that a foreign one cannot ask for unbounded memory.
const (
	MaxSize  = 16 << 20 // bytes
	MaxDepth = 16       // models wrapped in one another
)

// The units of the inputs that every server may have. Other inputs have the unit that the file gives.
const (
	UnitRatio   = "ratio"
	UnitCelsius = "celsius"
	UnitPascals = "pascals"
)

// A Model is a power model with what is known about it. Only Name and Form are required.
type Model struct {
	Name string

	// Prior says that the model was not fitted to the server it stands for.
	Prior bool

	// Form is any model of package power, but none that asks another process or that dispatches by
	// node. Domain and intervals belong in the fields below.
	Form power.Predictor

	// Units are those of inputs that package power does not know, by name.
	Units map[power.Input]string

	// Domain is where the model was fitted; nil leaves it to the form. Outside is what it does elsewhere.
	Domain  power.Domain
	Outside power.Outside

	// Intervals are its prediction intervals, by level.
	Intervals []power.Band

	Fitted *Fitted
	Error  *Error

	// Learner is the state of what keeps the model learning, as compact JSON. It is kept as it is: its
	// owner judges it.
	Learner []byte
}

// Fitted tells what a model was fitted on. Every field may be empty.
type Fitted struct {
	Source   string    // where the samples are from, or the publication
	Server   string    // node or product name
	Samples  int       // how many there were
	From, To time.Time // when they were measured
}

// Error tells how far a model was off on samples that it was not fitted on.
type Error struct {
	Method  string      // how they were held out: "5 time blocks"
	MAPE    float64     // mean absolute error in percent of the truth
	RMSE    power.Watts // root of the mean squared error
	Samples int         // how many were held out
}

// Predictor returns the form with the model's domain and intervals around it.
func (m *Model) Predictor() (power.Predictor, error) {
	if m.Form == nil {
		return nil, fmt.Errorf("model %q: %w", m.Name, power.ErrNoModel)
	}
	p := m.Form
	if len(m.Intervals) > 0 {
		b, err := power.NewBanded(p, m.Intervals)
		if err != nil {
			return nil, fmt.Errorf("model %q: %w", m.Name, err)
		}
		p = b
	}
	if m.Domain != nil || m.Outside != power.Clamp {
		b, err := power.NewBounded(p, m.domain(), m.Outside)
		if err != nil {
			return nil, fmt.Errorf("model %q: %w", m.Name, err)
		}
		p = b
	}
	return p, nil
}

// domain returns the model's domain, or that of its form.
func (m *Model) domain() power.Domain {
	if m.Domain != nil {
		return m.Domain
	}
	d, _ := power.DomainOf(m.Form)
	return d
}

// unit returns the unit of an input, or "" where nobody gave one.
func (m *Model) unit(in power.Input) string {
	switch in {
	case power.InputUtilization:
		return UnitRatio
	case power.InputInletTemp:
		return UnitCelsius
	case power.InputPressureDelta:
		return UnitPascals
	}
	return m.Units[in]
}

// validate checks what every model must keep, read or about to be written.
func (m *Model) validate() error {
	if m.Name == "" {
		return fmt.Errorf("the model has no name")
	}
	if _, err := m.Predictor(); err != nil {
		return err
	}
	needs, _ := power.Inputs(m.Form)
	for _, in := range needs {
		if m.unit(in) == "" {
			return fmt.Errorf("model %q: input %q has no unit: give it in Units", m.Name, in)
		}
	}
	for in := range m.Units {
		if !slices.Contains(needs, in) {
			return fmt.Errorf("model %q: a unit is given for %q, which the form does not need", m.Name, in)
		}
		if m.unit(in) != m.Units[in] {
			return fmt.Errorf("model %q: the unit of %q is %s, not %s", m.Name, in, m.unit(in), m.Units[in])
		}
	}
	if f := m.Fitted; f != nil && (f.Samples < 0 || !f.To.IsZero() && f.To.Before(f.From)) {
		return fmt.Errorf("model %q: fitted on %d samples from %v to %v", m.Name, f.Samples, f.From, f.To)
	}
	if e := m.Error; e != nil && (!notNegative(e.MAPE) || !notNegative(float64(e.RMSE)) || e.Samples < 0) {
		return fmt.Errorf("model %q: error of %v %% and %v over %d samples", m.Name, e.MAPE, e.RMSE, e.Samples)
	}
	return nil
}

func notNegative(v float64) bool { return v >= 0 && v <= math.MaxFloat64 }

// sortedInputs returns the inputs of a domain in order.
func sortedInputs(d power.Domain) []power.Input { return slices.Sorted(maps.Keys(d)) }
