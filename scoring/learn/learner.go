package learn

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
	"github.com/leastwatt/leastwatt/power/prior"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// Options tune a [Learner]. The zero value works.
type Options struct {
	// Online tunes the learner of each node.
	Online calibrate.OnlineOptions

	// Skew is how far apart utilization and power may have been measured to make a pair; 0 means 30 seconds.
	Skew time.Duration

	// MaxAge is how old a reading may be to be learned from; 0 means five minutes.
	MaxAge time.Duration

	// Every is how often Run looks for new readings; 0 means five seconds.
	Every time.Duration

	// Dir is the folder of model files, one a node; empty keeps nothing over a restart, unless Store does.
	Dir string

	// Store has what was learned, in the place of Dir; nil means Dir. What is learned is kept if it is a [Keeper].
	Store Store

	// SaveEvery is how often Run saves what nodes learned; 0 means five minutes.
	SaveEvery time.Duration

	// Forget is after how long without a reading a node is dropped from memory; its file stays. 0 means a day.
	Forget time.Duration

	// Logger is told of drifts, stuck sensors and files that fail; nil discards it.
	Logger *slog.Logger
}

func (o Options) filled() Options {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&o.Skew, 30 * time.Second}, {&o.MaxAge, 5 * time.Minute}, {&o.Every, 5 * time.Second}, {&o.SaveEvery, 5 * time.Minute}, {&o.Forget, 24 * time.Hour}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Store == nil && o.Dir != "" {
		o.Store = folder(o.Dir)
	}
	return o
}

// A Learner learns the curves of nodes from snapshots of their readings. It implements [power.Predictor] by
// the model of the state's node as it is now; a node that it does not know ends in [power.ErrNoModel].
//
// Take and Save are meant for one goroutine, which Run is; everything else is safe for concurrent use.
type Learner struct {
	opts  Options
	start func(node string) (prior.Belief, error)

	mu    sync.Mutex
	nodes map[string]*node // guarded by mu; what it points to belongs to whoever takes

	models sync.Map // of node name to *entry
}

// Status tells how far a node has been learned.
type Status struct {
	Node     string
	Readings int       // taken in
	Refused  int       // pairs that were not readings
	Outliers int       // that counted for less
	Stuck    bool      // the power sensor repeats itself, as of the last reading
	Drifts   int       // changes for good
	Drifted  time.Time // when the last was seen, by the hardware's time
	Shift    float64   // relative change of level that it was found by
	Noise    float64   // relative standard deviation of readings around the curve
	Prior    bool      // the prior is still the model
	At       time.Time // of the last reading, by the hardware's time
}

// New returns a learner that knows no node. The function start tells what is thought of a node that appears:
// see [FromHardware].
func New(start func(node string) (prior.Belief, error), o Options) *Learner {
	return &Learner{opts: o.filled(), start: start, nodes: make(map[string]*node)}
}

// FromHardware returns a start for [New] that matches each node's hardware to published servers, and to the
// statistics of p where it has no kin.
func FromHardware(p *prior.Prior, published []power.Server, hardware func(node string) prior.Hardware) func(string) (prior.Belief, error) {
	return func(node string) (prior.Belief, error) {
		m, err := p.Match(hardware(node), published)
		if err != nil {
			return prior.Belief{}, fmt.Errorf("node %q: %w", node, err)
		}
		return m.Belief, nil
	}
}

// Add makes sure that a node has a model: that of its file, else the prior.
func (l *Learner) Add(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.node(name, time.Time{})
	return err
}

// Take learns from every node of a snapshot that has a new pair of utilization and power, and returns how many
// pairs were new. What fails for one node is logged and does not keep others from learning.
func (l *Learner) Take(snap *sensors.Snapshot, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := 0
	for r := range snap.All {
		ok, err := l.take(r, now)
		if err != nil {
			l.opts.Logger.Warn("not learned from", "node", r.Node, "err", err)
		}
		if ok {
			taken++
		}
	}
	for name, n := range l.nodes {
		if n.seen.IsZero() {
			n.seen = now // added before its first snapshot
		}
		if now.Sub(n.seen) > l.opts.Forget {
			l.retire(name, n)
			delete(l.nodes, name)
			l.models.Delete(name)
		}
	}
	return taken
}

// retire writes the file of a node that is about to be forgotten.
func (l *Learner) retire(name string, n *node) {
	if l.keeper() == nil {
		return
	}
	m, err := n.file(name)
	if err == nil && m != nil {
		err = l.keep(name, m)
	}
	if err != nil {
		l.opts.Logger.Error("model not saved", "node", name, "err", err)
	}
}

func (l *Learner) take(r *sensors.NodeReadings, now time.Time) (bool, error) {
	o := scoring.Observe(r, now, l.opts.MaxAge)
	if o.Utilization != nil {
		return false, nil // what keeps a node from being read is the poller's to tell
	}
	w, err := r.Fresh(sensors.Power, now, l.opts.MaxAge)
	if err != nil || w.At.Sub(o.At).Abs() > l.opts.Skew {
		return false, nil
	}
	n, err := l.node(r.Node, now)
	if err != nil || !w.At.After(n.last) {
		return false, err
	}
	n.last, n.seen, n.dirty, n.status.At = w.At, now, true, w.At
	ev, err := n.online.Observe(o.State, power.Watts(w.Value))
	if err != nil {
		n.status.Refused++
		return false, err
	}
	n.taken++
	if n.online.Readings() <= maxFirst && len(n.first) < maxFirst {
		n.first = append(n.first, pair{o.State, power.Watts(w.Value)})
	} else {
		n.first = nil
	}
	if ev&calibrate.Outlier != 0 {
		n.status.Outliers++
	}
	if stuck := ev&calibrate.Stuck != 0; stuck != n.status.Stuck {
		n.status.Stuck = stuck
		l.opts.Logger.Warn("power sensor", "node", r.Node, "stuck", stuck, "watts", w.Value, "source", w.Source)
	}
	if ev&calibrate.Drift != 0 {
		n.status.Drifted = w.At
		l.opts.Logger.Warn("the server draws differently than it did", "node", r.Node, "shift", n.online.Shift(), "at", w.At)
	}
	return true, n.publish()
}

// Run takes the readings that snapshot returns until ctx ends, and saves the models now and then and at the
// end. A failure to save at the end is its error.
func (l *Learner) Run(ctx context.Context, snapshot func() *sensors.Snapshot) error {
	look, save := time.NewTicker(l.opts.Every), time.NewTicker(l.opts.SaveEvery)
	defer look.Stop()
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return l.Save()
		case now := <-look.C:
			l.Take(snapshot(), now)
		case <-save.C:
			if err := l.Save(); err != nil {
				l.opts.Logger.ErrorContext(ctx, "models not saved", "err", err)
			}
		}
	}
}

// Model returns the present model of a node, or nil. It does not block.
func (l *Learner) Model(name string) *calibrate.Learned {
	if e, ok := l.models.Load(name); ok {
		return e.(*entry).model.Load()
	}
	return nil
}

// Status returns how far a node has been learned, and whether it is known.
func (l *Learner) Status(name string) (Status, bool) {
	if e, ok := l.models.Load(name); ok {
		return *e.(*entry).status.Load(), true
	}
	return Status{Node: name}, false
}

// Predict implements [power.Predictor].
func (l *Learner) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	if m := l.Model(s.Node); m != nil {
		return m.Predict(ctx, s)
	}
	return 0, fmt.Errorf("node %q: %w", s.Node, power.ErrNoModel)
}

// PredictInterval implements [power.IntervalPredictor]: the watts between which the node's next reading lies.
func (l *Learner) PredictInterval(ctx context.Context, s power.State, level float64) (power.Interval, error) {
	if m := l.Model(s.Node); m != nil {
		return m.PredictInterval(ctx, s, level)
	}
	return power.Interval{}, fmt.Errorf("node %q: %w", s.Node, power.ErrNoModel)
}
