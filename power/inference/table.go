package inference

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// ErrNotTabulated says that a curve has been asked for and is not there yet: ask again after a refresh.
var ErrNotTabulated = errors.New("the remote model's curve is not fetched yet")

// TableOptions tune a [Table]. The zero value works.
type TableOptions struct {
	Points   int           // steps between idle and full load; 0 means 20
	Interval time.Duration // between two refreshes; 0 means one minute
	MaxAge   time.Duration // how long a curve may be used when it cannot be refreshed; 0 means ten minutes
	Idle     time.Duration // how long a curve is kept that nobody asks for; 0 means one hour
	Timeout  time.Duration // of one refresh; 0 means 30 s
	Size     int           // curves kept at most; 0 means 20,000
	Steps    Steps         // how finely environments are told apart
	Shared   bool          // the model answers alike for all nodes, which then share curves
	Logger   *slog.Logger  // nil discards
}

// A Table answers for a slow or remote model from curves that it fetches in the background: one for each node
// and environment (inlet temperature, pressure and whatever else the model looks at, rounded to a grid).
// Predict never waits for the model. A node that was never asked for ends in [ErrNotTabulated] until the next
// refresh; one whose environment has just changed gets the curve of its last environment meanwhile; one
// whose curve is older than MaxAge gets an error, with the reason why it could not be refreshed.
type Table struct {
	p    power.Predictor
	grid *grid
	opts TableOptions
	wake chan struct{}

	refreshing sync.Mutex // one refresh at a time, so that none undoes another
	curves     atomic.Pointer[map[string]*tabulated]

	mu     sync.Mutex
	wanted map[string]*wish  // by key; guarded by mu
	latest map[string]string // node to the key it was last served with; guarded by mu
}

// tabulated is a curve or why there is none.
type tabulated struct {
	curve *power.Piecewise
	at    time.Time // when the model was asked
	err   error     // of the last refresh, when that failed
}

type wish struct {
	state power.State
	last  atomic.Int64 // when it was last asked for, in Unix nanoseconds
}

// NewTable returns a table of p's curves: call Run, or Refresh. p must tell its inputs (power.InputLister).
func NewTable(p power.Predictor, o TableOptions) (*Table, error) {
	if p == nil {
		return nil, fmt.Errorf("table: %w", power.ErrNoModel)
	}
	g, err := newGrid(p, o.Steps, !o.Shared, power.InputUtilization)
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	o.Points = cmp.Or(max(o.Points, 0), 20)
	if o.Points >= power.MaxKnots {
		return nil, fmt.Errorf("table: %d points: at most %d are allowed", o.Points, power.MaxKnots-1)
	}
	o.Interval = cmp.Or(max(o.Interval, 0), time.Minute)
	o.MaxAge = cmp.Or(max(o.MaxAge, 0), 10*time.Minute)
	o.Idle = cmp.Or(max(o.Idle, 0), time.Hour)
	o.Timeout = cmp.Or(max(o.Timeout, 0), 30*time.Second)
	o.Size = cmp.Or(max(o.Size, 0), 20_000)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Table{p: p, grid: g, opts: o, wake: make(chan struct{}, 1), wanted: make(map[string]*wish), latest: make(map[string]string)}
	t.curves.Store(&map[string]*tabulated{})
	return t, nil
}

// Predict implements [power.Predictor], without waiting for the model.
func (t *Table) Predict(_ context.Context, s power.State) (power.Watts, error) {
	u, err := s.Value(power.InputUtilization)
	if err != nil {
		return 0, err
	}
	c, err := t.curve(&s)
	if err != nil {
		return 0, err
	}
	return c.At(u), nil
}

// PredictBatch implements [power.BatchPredictor].
func (t *Table) PredictBatch(ctx context.Context, states []power.State, out []power.Estimate) {
	for i := range states {
		w, err := t.Predict(ctx, states[i])
		out[i] = power.Estimate{Watts: w, Err: err}
	}
}

// curve returns the curve of a state's node and environment, and asks for it where there is none.
func (t *Table) curve(s *power.State) (*power.Piecewise, error) {
	env, key, err := t.grid.round(s)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	known := *t.curves.Load()
	c := known[key]
	t.mu.Lock()
	w := t.wanted[key]
	full := w == nil && len(t.wanted) >= t.opts.Size
	if w == nil && !full {
		w = &wish{state: env}
		t.wanted[key] = w
	}
	if w != nil {
		w.last.Store(now.UnixNano())
	}
	if c != nil && c.curve != nil {
		t.latest[s.Node] = key
	} else if before := known[t.latest[s.Node]]; before != nil && before.curve != nil {
		c = before // of the last environment, until the next refresh
	}
	t.mu.Unlock()
	if known[key] == nil && !full {
		t.poke()
	}
	if c == nil || c.curve == nil {
		switch {
		case full:
			return nil, fmt.Errorf("node %q: the table is full with %d curves: %w", s.Node, t.opts.Size, ErrNotTabulated)
		case c != nil && c.err != nil:
			return nil, fmt.Errorf("node %q: %w: %w", s.Node, ErrNotTabulated, c.err)
		}
		return nil, fmt.Errorf("node %q: %w", s.Node, ErrNotTabulated)
	}
	if age := now.Sub(c.at); age > t.opts.MaxAge {
		return nil, fmt.Errorf("node %q: the remote model's curve is %v old: %w", s.Node, age.Round(time.Second), cmp.Or(c.err, ErrNotTabulated))
	}
	return c.curve, nil
}

// poke wakes Run, once for however many ask.
func (t *Table) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Run refreshes the curves at every interval, and soon after a new one is asked for, until ctx ends; it
// returns ctx's error. What a model server does wrong is in the answers to Predict and in the log.
func (t *Table) Run(ctx context.Context) error {
	tick := time.NewTicker(t.opts.Interval)
	defer tick.Stop()
	for {
		all := true
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-t.wake:
			all = false
			// A cycle over many nodes asks for all of them at once: fetch them in one batch.
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(min(t.opts.Interval/10, 100*time.Millisecond)):
			}
		}
		if err := t.refresh(ctx, all); err != nil && ctx.Err() == nil {
			t.opts.Logger.Warn("remote power model", "err", err)
		}
	}
}

// Refresh asks the model once for every curve that is wanted. Curves that cannot be had keep their old
// values; the error joins why, once for each reason.
func (t *Table) Refresh(ctx context.Context) error { return t.refresh(ctx, true) }

// refresh fetches all wanted curves, or only those that were never fetched.
func (t *Table) refresh(ctx context.Context, all bool) error {
	t.refreshing.Lock()
	defer t.refreshing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	now := time.Now()
	known := *t.curves.Load()
	keys, wishes := t.wishes(now, known, all)
	n := t.opts.Points + 1
	states, out := make([]power.State, n*len(keys)), make([]power.Estimate, n*len(keys))
	for i, w := range wishes {
		for k := range n {
			states[i*n+k] = w.state.With(float64(k) / float64(t.opts.Points))
		}
	}
	power.PredictAll(ctx, t.p, states, out)
	next := maps.Clone(known)
	reasons := make(map[string]error)
	for i, key := range keys {
		c, err := curveOf(states[i*n:(i+1)*n], out[i*n:(i+1)*n])
		if err == nil {
			next[key] = &tabulated{curve: c, at: now}
			continue
		}
		reasons[err.Error()] = err
		failed := &tabulated{err: err}
		if old := known[key]; old != nil {
			failed.curve, failed.at = old.curve, old.at
		}
		next[key] = failed
	}
	t.mu.Lock()
	maps.DeleteFunc(next, func(key string, _ *tabulated) bool { return t.wanted[key] == nil })
	maps.DeleteFunc(t.latest, func(_, key string) bool { return t.wanted[key] == nil })
	t.curves.Store(&next)
	t.mu.Unlock()
	var errs []error
	for _, text := range slices.Sorted(maps.Keys(reasons)) {
		if len(errs) == 10 {
			errs = append(errs, fmt.Errorf("and %d more", len(reasons)-10))
			break
		}
		errs = append(errs, reasons[text])
	}
	return errors.Join(errs...)
}

// wishes drops what nobody has asked for in a while and returns what to fetch, in order.
func (t *Table) wishes(now time.Time, known map[string]*tabulated, all bool) ([]string, []*wish) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.wanted, func(_ string, w *wish) bool { return now.Sub(time.Unix(0, w.last.Load())) > t.opts.Idle })
	var keys []string
	for key := range t.wanted {
		if all || known[key] == nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	wishes := make([]*wish, len(keys))
	for i, key := range keys {
		wishes[i] = t.wanted[key]
	}
	return keys, wishes
}

func curveOf(states []power.State, out []power.Estimate) (*power.Piecewise, error) {
	knots := make([]power.Knot, len(states))
	for i, e := range out {
		if e.Err != nil {
			return nil, e.Err
		}
		knots[i] = power.Knot{Utilization: states[i].Utilization, Watts: e.Watts}
	}
	return power.NewPiecewise(knots)
}

// Curve implements [power.Tabulator]: the curve that was fetched, whatever points says.
func (t *Table) Curve(_ context.Context, s power.State, _ int) (*power.Piecewise, error) {
	return t.curve(&s)
}

// Inputs implements [power.InputLister]: utilization and what the model needs.
func (t *Table) Inputs() []power.Input {
	in := []power.Input{power.InputUtilization}
	return append(in, t.grid.inputs...)
}

// Curves returns how many curves there are, and how many of them are wanted but failed or not fetched.
func (t *Table) Curves() (ready, missing int) {
	for _, c := range *t.curves.Load() {
		if c.curve != nil {
			ready++
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return ready, max(len(t.wanted)-ready, 0)
}
