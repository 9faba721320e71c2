package calibrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

// ErrNotLearning says that a model file holds nothing to go on learning from.
var ErrNotLearning = errors.New("the model does not hold the state of a learner")

// File returns what was learned as a model for a file: its curve, with the response to the inlet temperature
// where one was measured, intervals, and all that [OnlineFrom] needs to go on.
func (l *Online) File(name string) (*model.Model, error) {
	m, err := l.Model()
	if err != nil {
		return nil, err
	}
	state, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	out := &model.Model{Name: name, Prior: m.Prior(), Form: m.curve, Learner: state,
		Fitted: &model.Fitted{Source: "live readings, from " + l.start.Source, Server: name, Samples: l.readings}}
	if l.warm > 0 {
		if out.Form, err = power.NewInlet(m.curve, power.InletResponse{Reference: ReferenceInlet, PerDegree: m.perDegree, Low: coldest, High: warmest}); err != nil {
			return nil, err
		}
	}
	for _, level := range []float64{0.5, 0.8, 0.9, 0.95} {
		b := power.Band{Level: level}
		for k := range points { // the widest along the curve
			s := power.State{Utilization: float64(k) / (points - 1)}
			w := m.curve.At(s.Utilization)
			in := m.between(s.Utilization, w, level)
			b.BelowShare, b.AboveShare = max(b.BelowShare, float64(1-in.Low/w)), max(b.AboveShare, float64(in.High/w-1))
		}
		out.Intervals = append(out.Intervals, b)
	}
	return out, nil
}

// OnlineFrom returns the learner that [Online.File] put into a model. It goes on as if it had not stopped. A model
// without one is an error that wraps [ErrNotLearning].
func OnlineFrom(m *model.Model) (*Online, error) {
	if len(m.Learner) == 0 {
		return nil, fmt.Errorf("model %q: %w", m.Name, ErrNotLearning)
	}
	l, err := ReadOnline(bytes.NewReader(m.Learner))
	if err != nil {
		return nil, fmt.Errorf("model %q: %w", m.Name, err)
	}
	return l, nil
}
