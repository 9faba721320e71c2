package config

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/power/prior"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/learn"
	"github.com/leastwatt/leastwatt/sensors"
)

// live is a configuration whose models change while a site runs: model files are followed, remote
// models are asked, and priors learn.
type live struct {
	config   *Config // with model files of its own
	readings scoring.Readings
	site     *scoring.Site // set before Run
	read     atomic.Pointer[[]string]
	learners map[*Model]*learner
	asked    []asked
	hardware identities
	meters   *meters
	log      *slog.Logger
}

// newLive returns a copy of the configuration's models that changes, without readings and site.
func newLive(c *Config, o *SiteOptions) (*live, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	own := *c
	own.Models = slices.Clone(c.Models)
	l := &live{config: &own, learners: make(map[*Model]*learner), meters: newMeters(c, log), log: log}
	l.hardware = identities{nodes: l.names, log: log, known: make(map[string]sensors.Hardware), bind: func(nodes ...string) { l.site.Rebind(nodes...) }}
	for i := range own.Models {
		x := &own.Models[i]
		switch {
		case x.files != nil:
			bindings := x.files.bindings
			x.files = newFiles(x.files.path, x.files.folder, model.LibraryOptions{Logger: log, OnChange: func(*model.Set) error {
				x.files.forget()
				l.site.Rebind()
				return nil
			}})
			x.files.bindings = bindings
			if err := x.files.load(); err != nil {
				return nil, fmt.Errorf("%s: model %q: %w", c.File, x.Name, err)
			}
		case x.remote != nil:
			t, err := x.remote(log)
			if err != nil {
				return nil, fmt.Errorf("%s: model %q: %w", c.File, x.Name, err)
			}
			if d, ok := t.(*discovered); ok {
				d.machines = func() []scoring.Machine { return l.machines(x) }
			}
			x.Predictor = t
			l.asked = append(l.asked, t)
		case x.guess != nil && x.guess.learn:
			if dir := x.guess.folder; dir != "" {
				if err := os.MkdirAll(dir, 0o750); err != nil {
					return nil, fmt.Errorf("%s: model %q: folder: %w", c.File, x.Name, err)
				}
			}
			n := &learner{live: l, model: x}
			lo := learn.Options{Dir: x.guess.folder, MaxAge: c.Scoring.MaxAge, Logger: log}
			if lo.Dir == "" {
				lo.Store, lo.SaveEvery = o.Learned, o.LearnedEvery
			}
			n.learn = learn.New(n.start, lo)
			l.learners[x] = n
		}
	}
	return l, nil
}

func (l *live) bind(m scoring.Machine) (scoring.Spec, error) {
	m = l.hardware.of(m)
	x, spec, err := l.config.bind(m)
	spec.Meter = l.meters.of(m)
	if n := l.learners[x]; n != nil && err == nil {
		return n.bind(m, spec)
	}
	return spec, err
}

// SetNodes implements [scoring.Readings].
func (l *live) SetNodes(nodes []string) {
	l.read.Store(new(slices.Clone(nodes)))
	l.readings.SetNodes(nodes)
}

// ReadSoon implements [scoring.SoonReader].
func (l *live) ReadSoon(nodes ...string) { scoring.ReadSoon(l.readings, nodes...) }

// names returns the machines that are read.
func (l *live) names() []string {
	if p := l.read.Load(); p != nil {
		return *p
	}
	return nil
}

// machines returns the machines whose model x is.
func (l *live) machines(x *Model) (all []scoring.Machine) {
	for _, n := range l.names() {
		if m, ok := l.machine(n); ok && l.config.find(m) == x {
			all = append(all, m)
		}
	}
	return all
}

// machine returns what is known of a machine.
func (l *live) machine(name string) (scoring.Machine, bool) {
	m, ok := l.site.Machine(name)
	return l.hardware.of(m), ok
}

// Snapshot implements [scoring.Readings].
func (l *live) Snapshot() *sensors.Snapshot { return l.readings.Snapshot() }

// Run implements [scoring.Readings]: beside reading, it follows model files, asks remote models and learns.
func (l *live) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i := range l.config.Models {
		x := &l.config.Models[i]
		if x.files != nil {
			wg.Go(func() { _ = x.files.library.Run(ctx) }) // ends with ctx only, and logs what is wrong
		}
		if n := l.learners[x]; n != nil {
			wg.Go(func() {
				if err := n.learn.Run(ctx, n.snapshot); err != nil {
					l.log.ErrorContext(ctx, "learned models not saved", "model", x.Name, "err", err)
				}
			})
		}
	}
	wg.Go(func() { l.meters.run(ctx) })
	for _, t := range l.asked {
		wg.Go(func() { _ = t.Run(ctx) }) // as above
	}
	if l.hardware.ask != nil && l.config.wantsHardware() {
		wg.Go(func() { _ = l.hardware.run(ctx) }) // as above
	}
	err := l.readings.Run(ctx)
	cancel()
	wg.Wait()
	return err
}

// A learner learns the machines of one model of kind prior.
type learner struct {
	live  *live
	model *Model
	learn *learn.Learner

	joining sync.Map // of machine name to [prior.Belief], while the machine is being bound
}

// start tells what is thought of a machine that is new to the learner, or that it had forgotten.
func (n *learner) start(name string) (prior.Belief, error) {
	if b, ok := n.joining.Load(name); ok {
		return b.(prior.Belief), nil
	}
	m, ok := n.live.machine(name)
	if !ok {
		return prior.Belief{}, fmt.Errorf("node %q: %w", name, power.ErrNoModel)
	}
	match, err := prior.Default().Match(n.model.guess.of(m, n.model.HardwareLabel), published())
	return match.Belief, err
}

func (n *learner) bind(m scoring.Machine, spec scoring.Spec) (scoring.Spec, error) {
	g, ok := spec.Predictor.(*prior.Guess)
	if !ok {
		return spec, nil
	}
	n.joining.Store(m.Name, g.Belief())
	defer n.joining.Delete(m.Name)
	if err := n.learn.Add(m.Name); err != nil {
		return spec, err
	}
	if err := n.learn.Restart(m.Name); err != nil { // for when more is known of the machine than at first
		return spec, err
	}
	p := &learned{learner: n.learn, prior: g, source: spec.Model}
	spec.Predictor = p
	spec.Model, spec.Prior = p.Describe(m.Name)
	return spec, nil
}

// snapshot returns the readings of the machines whose model this is.
func (n *learner) snapshot() *sensors.Snapshot {
	all := n.live.readings.Snapshot()
	mine := make(map[string]*sensors.NodeReadings)
	for r := range all.All {
		if m, ok := n.live.machine(r.Node); ok && n.live.config.find(m) == n.model {
			mine[r.Node] = r
		}
	}
	at := all.At()
	if at.IsZero() {
		at = time.Now()
	}
	return sensors.NewSnapshot(at, mine)
}

// learned is what the learner knows of a machine, and the prior where it knows nothing: it forgets machines
// that are not read for long.
type learned struct {
	learner *learn.Learner
	prior   *prior.Guess
	source  string
}

// Predict implements [power.Predictor].
func (l *learned) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	if m := l.learner.Model(s.Node); m != nil {
		return m.Predict(ctx, s)
	}
	return l.prior.Predict(ctx, s)
}

// PredictInterval implements [power.IntervalPredictor].
func (l *learned) PredictInterval(ctx context.Context, s power.State, level float64) (power.Interval, error) {
	if m := l.learner.Model(s.Node); m != nil {
		return m.PredictInterval(ctx, s, level)
	}
	return l.prior.PredictInterval(ctx, s, level)
}

// Describe implements [scoring.Describer].
func (l *learned) Describe(node string) (string, bool) {
	if l.learner.Model(node) == nil {
		return l.source, true
	}
	return l.learner.Describe(node)
}
