package learn

import (
	"errors"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// Bind returns a function for [scoring.NewSite] that gives every machine the learner's model of it, which is the
// prior until readings come. The function bind tells the rest, such as the capacity; a machine for which it has
// no model still gets one. A machine that fails for another reason stays unknown.
func (l *Learner) Bind(bind func(scoring.Machine) (scoring.Spec, error)) func(scoring.Machine) (scoring.Spec, error) {
	return func(m scoring.Machine) (scoring.Spec, error) {
		spec, err := bind(m)
		if err != nil && !errors.Is(err, power.ErrNoModel) {
			return spec, err
		}
		if err := l.Add(m.Name); err != nil {
			return spec, err
		}
		spec.Predictor, spec.Err = l, nil
		spec.Model, spec.Prior = l.Describe(m.Name)
		return spec, nil
	}
}

// Label is what Describe calls a model that is learned, and no prior any more.
const Label = "learned from live readings"

// Describe implements [scoring.Describer]: what the model of a node rests on, and whether it is still the prior.
func (l *Learner) Describe(name string) (string, bool) {
	e, ok := l.models.Load(name)
	if !ok {
		return "none", false
	}
	if s := e.(*entry).status.Load(); !s.Prior {
		return Label, false
	}
	return "prior: " + e.(*entry).source, true
}
