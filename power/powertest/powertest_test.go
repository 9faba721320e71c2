package powertest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

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

// blindBatch answers without a utilization; in a batch it then answers NaN.
type blindBatch struct{}

func (blindBatch) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	if math.IsNaN(s.Utilization) {
		s.Utilization = 0
	}
	return sound{}.Predict(ctx, s)
}

func (b blindBatch) PredictBatch(ctx context.Context, states []power.State, out []power.Estimate) {
	for i, s := range states {
		w, err := b.Predict(ctx, s)
		if math.IsNaN(s.Utilization) {
			w = power.Watts(math.NaN())
		}
		out[i] = power.Estimate{Watts: w, Err: err}
	}
}

type brokenInterval struct {
	sound
	f   func(w power.Watts, level float64) (power.Interval, error)
	any bool // answers any level
}

func (b brokenInterval) PredictInterval(ctx context.Context, s power.State, level float64) (power.Interval, error) {
	w, err := b.Predict(ctx, s)
	if err == nil && !b.any && !(level > 0 && level < 1) {
		err = errors.New("level out of range")
	}
	if err != nil {
		return power.Interval{}, err
	}
	return b.f(w, level)
}

type brokenCurve struct {
	sound
	f func() (*power.Piecewise, error)
}

func (b brokenCurve) Curve(context.Context, power.State, int) (*power.Piecewise, error) { return b.f() }

type forgetsAnInput struct{ sound }

func (forgetsAnInput) Inputs() []power.Input { return []power.Input{power.InputUtilization} }

// listsMore names an input that it does not need.
type listsMore struct{ sound }

func (l listsMore) Inputs() []power.Input { return append(l.sound.Inputs(), "fan") }

// guesses answers without an input that it names.
type guesses struct{ sound }

func (g guesses) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	if _, err := s.Value("gpu"); err != nil {
		s.Inputs = map[string]float64{"gpu": 30}
	}
	return g.sound.Predict(ctx, s)
}

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
	var busy atomic.Int64
	for name, c := range map[string]struct {
		p    power.Predictor
		want string   // part of the message
		also []string // of other breaches that follow from this one
	}{
		"answers NaN": {predictFunc(func(context.Context, power.State) (power.Watts, error) {
			return power.Watts(math.NaN()), nil
		}), "not a finite", nil},
		"negative": {predictFunc(func(context.Context, power.State) (power.Watts, error) { return -1, nil }), "not a finite", nil},
		"fails": {predictFunc(func(context.Context, power.State) (power.Watts, error) {
			return 0, power.ErrNoModel
		}), "can answer", nil},
		"not repeatable": {predictFunc(func(context.Context, power.State) (power.Watts, error) {
			return power.Watts(calls.Add(1)), nil
		}), "asked twice", nil},
		"infinite far out": {predictFunc(func(_ context.Context, s power.State) (power.Watts, error) {
			if math.IsNaN(s.Utilization) {
				return 0, power.ErrMissingInput
			}
			return power.Watts(math.Exp(max(s.Utilization, 0))), nil
		}), "and no error", nil},
		"NaN for a missing inlet": {predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			if s.InletTemp == nil {
				return power.Watts(math.NaN()), nil
			}
			return sound{}.Predict(ctx, s)
		}), "is missing: NaN W and no error", nil},
		"batch guesses": {brokenBatch{spoil: func(_ []power.State, out []power.Estimate) {
			for i := range out {
				if out[i].Err != nil {
					out[i] = power.Estimate{Watts: 1}
				}
			}
		}}, "in a batch error <nil>", nil},
		"NaN in a batch": {blindBatch{}, "in a batch NaN W and no error", nil},
		"concurrency shows in a batch": {brokenBatch{spoil: func(_ []power.State, out []power.Estimate) {
			defer busy.Add(-1)
			alone := busy.Add(1) == 1
			runtime.Gosched()
			if !alone {
				out[0].Watts++
			}
		}}, "in a concurrent batch", nil},
		"zero for a missing inlet": {predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			if s.InletTemp == nil {
				return 0, errors.New("what now")
			}
			return sound{}.Predict(ctx, s)
		}), "want ErrMissingInput", nil},
		"changes its caller's map": {predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			w, err := sound{}.Predict(ctx, s)
			delete(s.Inputs, "gpu")
			return w, err
		}), "it changed its caller's state", []string{"it changed its caller's slice"}},
		"keeps its caller's map": {predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			if s.Inputs["gpu"] == 30 {
				mine := s.Inputs
				if m := last.Swap(&mine); m != nil {
					s.Inputs = *m
				}
			}
			return sound{}.Predict(ctx, s)
		}), "keeps its caller's memory", nil},
		"ignores its context": {predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			if ctx.Err() != nil {
				return -1, nil
			}
			return sound{}.Predict(ctx, s)
		}), "ended context", nil},
		"batch differs": {brokenBatch{spoil: func(_ []power.State, out []power.Estimate) { out[0].Watts++ }}, "in a batch", []string{"in a concurrent batch"}},
		"batch fails whole": {brokenBatch{spoil: func(_ []power.State, out []power.Estimate) {
			for i := range out {
				if out[i].Err != nil {
					out[0].Err = out[i].Err
				}
			}
		}}, "in a batch", nil},
		"batch changes states": {brokenBatch{spoil: func(s []power.State, _ []power.Estimate) {
			for i := range s {
				s[i].Utilization = 0
			}
		}}, "it changed its caller's slice", []string{"in a batch error"}},
		"concurrency shows": {predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			defer busy.Add(-1)
			alone := busy.Add(1) == 1
			runtime.Gosched()
			w, err := sound{}.Predict(ctx, s)
			if !alone {
				w++
			}
			return w, err
		}), "asked concurrently", []string{"in a concurrent batch"}},
		"curve differs":      {brokenCurve{f: func() (*power.Piecewise, error) { return power.EvenPiecewise(55, 100, 155.1) }}, "its curve has", nil},
		"curve fails":        {brokenCurve{f: func() (*power.Piecewise, error) { return nil, power.ErrNoModel }}, "no curve", nil},
		"forgets an input":   {forgetsAnInput{}, "has all that Inputs lists", nil},
		"lists one too many": {listsMore{}, "which lacks it", []string{"yet it answers"}},
		"guesses":            {guesses{}, "yet it answers", nil},
		"empty domain":       {brokenDomain{}, "domain", nil},
		"interval fails": {brokenInterval{f: func(power.Watts, float64) (power.Interval, error) {
			return power.Interval{}, power.ErrNoModel
		}}, "want one or ErrNoInterval", nil},
		"interval reversed": {brokenInterval{f: func(w power.Watts, _ float64) (power.Interval, error) {
			return power.Interval{Low: w + 1, High: w}, nil
		}}, "interval at level", nil},
		"interval narrows": {brokenInterval{f: func(w power.Watts, level float64) (power.Interval, error) {
			return power.Interval{Low: w - 1/power.Watts(level), High: w + 1}, nil
		}}, "does not hold", nil},
		"interval at level 2": {brokenInterval{any: true, f: func(w power.Watts, _ float64) (power.Interval, error) {
			return power.Interval{Low: w, High: w}, nil
		}}, "it gives an interval", nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := powertest.TestPredictor(c.p, state())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v; want an error with %q", err, c.want)
			}
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				if !slices.ContainsFunc(append(c.also, c.want), func(says string) bool { return strings.Contains(e.Error(), says) }) {
					t.Errorf("it is said to break %v, too: want %q alone", e, c.want)
				}
			}
		})
	}
	if powertest.TestPredictor(sound{}) == nil {
		t.Error("passes without a state")
	}
}

// A predictor that never returns is found out, too.
func TestHangingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		err := powertest.TestPredictor(predictFunc(func(ctx context.Context, s power.State) (power.Watts, error) {
			if ctx.Err() != nil {
				<-end
			}
			return sound{}.Predict(ctx, s)
		}), state())
		if err == nil || !strings.Contains(err.Error(), "does not return") {
			t.Errorf("got %v; want an error that it does not return", err)
		}
		close(end)
	})
}
