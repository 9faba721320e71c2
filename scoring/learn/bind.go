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
		spec.Predictor, spec.Model, spec.Err = l, "learned from live readings", nil
		s, _ := l.Status(m.Name)
		if spec.Prior = s.Prior; s.Prior {
			spec.Model = "prior: " + l.source(m.Name)
		}
		return spec, nil
	}
}

func (l *Learner) source(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.nodes[name]; n != nil {
		return n.online.Start().Source
	}
	return ""
}
