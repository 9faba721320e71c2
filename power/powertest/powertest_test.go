package powertest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/powertest"
)

// sound is a predictor that keeps the contract; each broken one below wraps it.
type sound struct{}

func (sound) Predict(_ context.Context, s power.State) (power.Watts, error) {
	t, err := s.Value(power.InputInletTemp)
	if err != nil {
		return 0, err
	}
	g, err := s.Value("gpu")
	if err != nil {
		return 0, err
	}
	if math.IsNaN(s.Utilization) {
		return 0, fmt.Errorf("utilization: %w", power.ErrMissingInput)
	}
	return power.Check(100*s.Utilization + t + g)
}

func (sound) Inputs() []power.Input {
	return []power.Input{power.InputUtilization, power.InputInletTemp, "gpu"}
}

type predictFunc func(context.Context, power.State) (power.Watts, error)

func (f predictFunc) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	return f(ctx, s)
}

type brokenBatch struct {
	sound
	spoil func(states []power.State, out []power.Estimate)
}

func (b brokenBatch) PredictBatch(ctx context.Context, states []power.State, out []power.Estimate) {
	for i := range states {
		w, err := b.Predict(ctx, states[i])
		out[i] = power.Estimate{Watts: w, Err: err}
	}
	b.spoil(states, out)
}

type brokenInterval struct {
	sound
	f func(w power.Watts, level float64) (power.Interval, error)
}

func (b brokenInterval) PredictInterval(ctx context.Context, s power.State, level float64) (power.Interval, error) {
	w, err := b.Predict(ctx, s)
	if err != nil {
		return power.Interval{}, err
	}
	return b.f(w, level)
}

type brokenCurve struct{ sound }

func (brokenCurve) Curve(context.Context, power.State, int) (*power.Piecewise, error) {
	return power.EvenPiecewise(55, 100, 155.1)
}

type forgetsAnInput struct{ sound }

func (forgetsAnInput) Inputs() []power.Input { return []power.Input{power.InputUtilization} }

type brokenDomain struct{ sound }

func (brokenDomain) Domain() power.Domain {
	return power.Domain{power.InputInletTemp: {Low: 30, High: 20}}
}

func state() power.State {
	return power.State{Node: "n", Utilization: 0.5, InletTemp: new(power.Celsius(25)), Inputs: map[string]float64{"gpu": 30}}
}

func TestSoundPasses(t *testing.T) {
	if err := powertest.TestPredictor(sound{}, state()); err != nil {
		t.Error(err)
	}
}

func TestBrokenFails(t *testing.T) {
	var last atomic.Pointer[map[string]float64]
	var calls atomic.Int64
	for name, c := range map[string]struct {
		p    power.Predictor
		want string // part of the message
	}{
		"answers NaN": {predictFunc(func(context.Context, power.State) (power.Watts, error) {
			return power.Watts(math.NaN()), nil
		}), "not a finite"},
		"negative": {predictFunc(func(context.Context, power.State) (power.Watts, error) { return -1, nil }), "not a finite"},
		"fails": {predictFunc(func(context.Context, power.State) (power.Watts, error) {
			return 0, power.ErrNoModel
		}), "can answer"},
		"not repeatable": {predictFunc(func(context.Context, power.State) (power.Watts, error) {
			return power.Watts(calls.Add(1)), nil
		}), "asked twice"},
		"infinite far out": {predictFunc(func(_ context.Context, s power.State) (power.Watts, error) {
			return power.Watts(math.Exp(max(s.Utilization, 0))), nil
		}), "and no error"},
		"zero for a missing inlet": {predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			if s.InletTemp == nil {
				return 0, errors.New("what now")
			}
			return sound{}.Predict(ctx, s)
		}), "want ErrMissingInput"},
		"changes its caller's map": {predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			w, err := sound{}.Predict(ctx, s)
			delete(s.Inputs, "gpu")
			return w, err
		}), "it changed its caller's state"},
		"keeps its caller's map": {predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			if s.Inputs["gpu"] == 30 {
				mine := s.Inputs
				if m := last.Swap(&mine); m != nil {
					s.Inputs = *m
				}
			}
			return sound{}.Predict(ctx, s)
		}), "keeps its caller's memory"},
		"ignores its context": {predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			if ctx.Err() != nil {
				return -1, nil
			}
			return sound{}.Predict(ctx, s)
		}), "ended context"},
		"batch differs": {brokenBatch{spoil: func(_ []power.State, out []power.Estimate) { out[0].Watts++ }}, "in a batch"},
		"batch fails whole": {brokenBatch{spoil: func(_ []power.State, out []power.Estimate) {
			for i := range out {
				if out[i].Err != nil {
					out[0].Err = out[i].Err
				}
			}
		}}, "in a batch"},
		"batch changes states": {brokenBatch{spoil: func(s []power.State, _ []power.Estimate) {
			for i := range s {
				s[i].Utilization = 0
			}
		}}, "it changed its caller's slice"},
		"curve differs":    {brokenCurve{}, "its curve has"},
		"forgets an input": {forgetsAnInput{}, "has all that Inputs lists"},
		"empty domain":     {brokenDomain{}, "domain"},
		"interval reversed": {brokenInterval{f: func(w power.Watts, _ float64) (power.Interval, error) {
			return power.Interval{Low: w + 1, High: w}, nil
		}}, "interval at level"},
		"interval narrows": {brokenInterval{f: func(w power.Watts, level float64) (power.Interval, error) {
			return power.Interval{Low: w - 1/power.Watts(level), High: w + 1}, nil
		}}, "does not hold"},
		"interval at level 2": {brokenInterval{f: func(w power.Watts, _ float64) (power.Interval, error) {
			return power.Interval{Low: w, High: w}, nil
		}}, "at level 2"},
	} {
		t.Run(name, func(t *testing.T) {
			err := powertest.TestPredictor(c.p, state())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want an error with %q", err, c.want)
			}
		})
	}
	if powertest.TestPredictor(sound{}) == nil {
		t.Error("passes without a state")
	}
}
