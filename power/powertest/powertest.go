// Package powertest checks that a power.Predictor keeps its contract. Every model of this module runs it;
// so should yours:
//
//	if err := powertest.TestPredictor(p, power.State{Node: "a", Utilization: 0.4}); err != nil {
//		t.Error(err)
//	}
//
// Run it under the race detector as well: that is what finds a model that keeps its caller's map.
package powertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// patience is how long a predictor may take to notice that its context has ended.
const patience = 30 * time.Second

// TestPredictor checks the contract of [power.Predictor], and of [power.BatchPredictor],
// [power.InputLister], [power.Domained], [power.IntervalPredictor] and [power.Tabulator] where p implements
// them: results are finite and not negative, a batch answers as single calls do with an error for each state, missing inputs
// are [power.ErrMissingInput], the caller's map and pointers are neither changed nor kept, concurrent
// calls agree, and an ended context ends the call.
//
// Each state must be one that p can answer, with every input that p needs, and p's answers must not change
// during the test. It returns every breach that it found, joined.
func TestPredictor(p power.Predictor, states ...power.State) error {
	if len(states) == 0 {
		return errors.New("powertest: give at least one state that the predictor can answer")
	}
	c := &checker{p: p, states: states, ctx: context.Background()}
	c.single()
	if len(c.errs) > 0 {
		return errors.Join(c.errs...) // without answers to compare with, the rest says nothing
	}
	for _, check := range []func(){c.batch, c.missing, c.wild, c.ended, c.domain, c.interval, c.curve} {
		check()
	}
	before := len(c.errs)
	if c.ownership(); len(c.errs) == before { // else concurrent callers would corrupt each other's maps
		c.concurrent()
	}
	return errors.Join(c.errs...)
}

type checker struct {
	p      power.Predictor
	ctx    context.Context
	states []power.State
	want   []power.Watts
	errs   []error
}

func (c *checker) errorf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("powertest: "+format, args...))
}

func (c *checker) single() {
	c.want = make([]power.Watts, len(c.states))
	for i, s := range c.states {
		w, err := c.p.Predict(c.ctx, clone(s))
		switch again, err2 := c.p.Predict(c.ctx, clone(s)); {
		case err != nil:
			c.errorf("%s: %w: each state given must be one that the predictor can answer", describe(s), err)
		case !valid(w):
			c.errorf("%s: %v is not a finite, non-negative number of watts", describe(s), w)
		case err2 != nil || !near(w, again):
			c.errorf("%s: asked twice gives %v, then %v, %v", describe(s), w, again, err2)
		}
		c.want[i] = w
	}
}

// batch puts states that must fail between those that must not.
func (c *checker) batch() {
	var in []power.State
	var from []int
	for i, s := range c.states {
		bad := clone(s)
		bad.Utilization = math.NaN()
		in, from = append(in, clone(s), bad, clone(s)), append(from, i, -1, i)
	}
	out := make([]power.Estimate, len(in))
	for i := range out {
		out[i] = power.Estimate{Watts: -1, Err: errors.New("never filled")}
	}
	power.PredictAll(c.ctx, c.p, in, out)
	for k, e := range out {
		if i := from[k]; i >= 0 {
			if e.Err != nil || !near(e.Watts, c.want[i]) {
				c.errorf("%s: in a batch %v, %v; alone %v", describe(in[k]), e.Watts, e.Err, c.want[i])
			}
			continue
		}
		_, err := c.p.Predict(c.ctx, clone(in[k]))
		if (err == nil) != (e.Err == nil) {
			c.errorf("%s: in a batch error %v, alone %v", describe(in[k]), e.Err, err)
		}
		if e.Err == nil && !valid(e.Watts) {
			c.errorf("%s: in a batch %v and no error", describe(in[k]), e.Watts)
		}
	}
}

// inputs returns those that p names, or all that the states have.
func (c *checker) inputs(s power.State) (list []power.Input, known bool) {
	if list, known = power.Inputs(c.p); known {
		return list, true
	}
	list = []power.Input{power.InputUtilization, power.InputInletTemp, power.InputPressureDelta}
	for k := range s.Inputs {
		list = append(list, power.Input(k))
	}
	return list, false
}

func (c *checker) missing() {
	for _, s := range c.states {
		list, known := c.inputs(s)
		for _, in := range list {
			for what, bad := range map[string]power.State{"missing": without(s, in), "NaN": with(s, in, math.NaN())} {
				w, err := c.p.Predict(c.ctx, bad)
				switch {
				case err == nil && known:
					c.errorf("%s: input %q is %s, yet it answers %v: want ErrMissingInput", describe(bad), in, what, w)
				case err == nil && !valid(w):
					c.errorf("%s: input %q is %s: %v and no error", describe(bad), in, what, w)
				case err != nil && !errors.Is(err, power.ErrMissingInput):
					c.errorf("%s: input %q is %s: error %w: want ErrMissingInput", describe(bad), in, what, err)
				}
			}
		}
		if known { // nothing else may be missed
			bare := power.State{Node: s.Node}
			for _, in := range list {
				v, err := s.Value(in)
				if err != nil {
					c.errorf("Inputs lists %q, but it answers %s, which lacks it", in, describe(s))
					continue
				}
				bare = with(bare, in, v)
			}
			if _, err := c.p.Predict(c.ctx, bare); errors.Is(err, power.ErrMissingInput) {
				c.errorf("%s has all that Inputs lists, yet %w", describe(bare), err)
			}
		}
	}
}

// wild asks for states that no server is in.
func (c *checker) wild() {
	for _, s := range c.states {
		list, _ := c.inputs(s)
		for _, in := range list {
			for _, v := range []float64{-1, 0, 2, 1e9, -1e300, 1e300, math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64} {
				bad := with(s, in, v)
				if w, err := c.p.Predict(c.ctx, bad); err == nil && !valid(w) {
					c.errorf("%s: %v and no error", describe(bad), w)
				}
			}
		}
	}
}

func (c *checker) ownership() {
	for i, s := range c.states {
		mine := clone(s)
		if _, err := c.p.Predict(c.ctx, mine); err != nil {
			c.errorf("%s: %w", describe(s), err)
		}
		out := make([]power.Estimate, 1)
		batch := []power.State{mine}
		power.PredictAll(c.ctx, c.p, batch, out)
		if before, after := describe(s), describe(mine); before != after {
			c.errorf("it changed its caller's state from %s to %s", before, after)
		}
		if before, after := describe(s), describe(batch[0]); before != after {
			c.errorf("it changed its caller's slice from %s to %s", before, after)
		}
		// Spoil what it was given: a model that kept it would answer with it.
		if mine.InletTemp != nil {
			*mine.InletTemp = power.Celsius(math.NaN())
		}
		if mine.PressureDelta != nil {
			*mine.PressureDelta = power.Pascals(math.NaN())
		}
		for k := range mine.Inputs {
			mine.Inputs[k] = math.NaN()
		}
		if w, err := c.p.Predict(c.ctx, clone(s)); err != nil || !near(w, c.want[i]) {
			c.errorf("%s: %v, %v after its caller changed what it had passed; before %v: it keeps its caller's memory",
				describe(s), w, err, c.want[i])
		}
	}
}

func (c *checker) concurrent() {
	const workers, rounds = 8, 20
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			in, out := make([]power.State, len(c.states)), make([]power.Estimate, len(c.states))
			for range rounds {
				for i, s := range c.states {
					in[i] = clone(s)
					if w, err := c.p.Predict(c.ctx, s); err != nil || !near(w, c.want[i]) {
						mu.Lock()
						c.errorf("%s: %v, %v when asked concurrently; alone %v", describe(s), w, err, c.want[i])
						mu.Unlock()
						return
					}
				}
				power.PredictAll(c.ctx, c.p, in, out)
				for i, e := range out {
					if e.Err != nil || !near(e.Watts, c.want[i]) {
						mu.Lock()
						c.errorf("%s: %v, %v in a concurrent batch; alone %v", describe(in[i]), e.Watts, e.Err, c.want[i])
						mu.Unlock()
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// ended asks under a context that has ended.
func (c *checker) ended() {
	ctx, cancel := context.WithCancel(c.ctx)
	cancel()
	done := make(chan struct{})
	var w power.Watts
	var err error
	out := make([]power.Estimate, 1)
	go func() {
		defer close(done)
		w, err = c.p.Predict(ctx, clone(c.states[0]))
		power.PredictAll(ctx, c.p, []power.State{clone(c.states[0])}, out)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		c.errorf("it does not return although its context has ended")
		return
	}
	if err == nil && !valid(w) || out[0].Err == nil && !valid(out[0].Watts) {
		c.errorf("with an ended context it answers %v and %v without an error", w, out[0].Watts)
	}
}

func (c *checker) domain() {
	if d, ok := power.DomainOf(c.p); ok {
		if err := d.Validate(); err != nil {
			c.errorf("%w", err)
		}
	}
}

func (c *checker) interval() {
	ip, ok := c.p.(power.IntervalPredictor)
	if !ok {
		return
	}
	for _, s := range c.states {
		last, lastLevel := power.Interval{}, 0.0
		for _, level := range []float64{0.1, 0.5, 0.8, 0.9, 0.95, 0.99} {
			in, err := ip.PredictInterval(c.ctx, clone(s), level)
			if err != nil {
				if !errors.Is(err, power.ErrNoInterval) {
					c.errorf("%s: interval at level %v: %w: want one or ErrNoInterval", describe(s), level, err)
				}
				continue
			}
			if !valid(in.Low) || !valid(in.High) || in.Low > in.High {
				c.errorf("%s: interval at level %v is %v to %v", describe(s), level, in.Low, in.High)
			}
			if lastLevel > 0 && (in.Low > last.Low || in.High < last.High) {
				c.errorf("%s: the interval at level %v, %v to %v, does not hold that at %v, %v to %v",
					describe(s), level, in.Low, in.High, lastLevel, last.Low, last.High)
			}
			last, lastLevel = in, level
		}
		for _, level := range []float64{math.NaN(), -0.5, 0, 1, 2} {
			if in, err := ip.PredictInterval(c.ctx, clone(s), level); err == nil {
				c.errorf("%s: it gives an interval %v to %v at level %v", describe(s), in.Low, in.High, level)
			}
		}
	}
}

func (c *checker) curve() {
	p, ok := c.p.(power.Tabulator)
	if !ok {
		return
	}
	for _, s := range c.states {
		blind := clone(s)
		blind.Utilization = math.NaN() // must not matter
		curve, err := p.Curve(c.ctx, blind, 20)
		if errors.Is(err, power.ErrDomain) {
			continue // it answers some loads alone
		}
		if err != nil {
			c.errorf("%s: no curve: %w", describe(s), err)
			continue
		}
		for _, k := range curve.Knots() {
			w, err := c.p.Predict(c.ctx, clone(s).With(k.Utilization))
			if err != nil || !near(w, k.Watts) {
				c.errorf("%s: its curve has %v at utilization %v, where it answers %v, %v", describe(s), k.Watts, k.Utilization, w, err)
				break
			}
		}
	}
}
