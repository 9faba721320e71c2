package sensors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// PollerOptions tune a [Poller]. The zero value works.
type PollerOptions struct {
	// Interval is how often a node is read; 0 means 10 seconds. Jitter makes it up to a tenth shorter.
	Interval time.Duration

	// Timeout is the deadline of one read; 0 means 5 seconds.
	Timeout time.Duration

	// Concurrency limits how many reads are made at once; 0 means 64.
	Concurrency int

	// Patience is after how long a read no longer counts against Concurrency, so that a device that hangs
	// holds up no other; 0 means 200 ms.
	Patience time.Duration

	// MaxInFlight limits reads at once with those that are slow, and so goroutines and connections; 0 means
	// eight times Concurrency. Nodes whose last read failed get at most half of it.
	MaxInFlight int

	// MaxBackoff limits the time between the reads of a node that fails, which doubles each time, from
	// Interval; 0 means 8 times Interval.
	MaxBackoff time.Duration

	// MaxAge is how old, by the hardware's time, a reading may be to go before a younger one of a source that is
	// lower in precedence; 0 means a minute.
	MaxAge time.Duration

	// Keep is how long a reading that is no longer given stays in the snapshot; 0 means an hour.
	Keep time.Duration

	// Logger gets a line when a node begins to fail and when it is read again; nil discards.
	Logger *slog.Logger
}

func (o PollerOptions) filled() PollerOptions {
	fill(&o.Interval, 10*time.Second)
	fill(&o.Timeout, 5*time.Second)
	fill(&o.Concurrency, 64)
	fill(&o.Patience, 200*time.Millisecond)
	fill(&o.MaxInFlight, 8*o.Concurrency)
	o.MaxInFlight = max(o.MaxInFlight, 2)
	fill(&o.MaxBackoff, 8*o.Interval)
	fill(&o.Keep, time.Hour)
	fill(&o.MaxAge, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func fill[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// A Poller reads nodes in the background and publishes what they measured as a [Snapshot]. Run does the
// work; all other methods are safe at any time, from any goroutine.
//
// Readings are kept when later reads fail: [NodeReadings.Fresh] judges them by the hardware's time. A read
// that has an error and no reading is retried later and later; one that gives anything is not a failure.
// An error with a method RetryAfter() time.Duration is obeyed. A read that does not return at its deadline
// is given up: its node is not read again until it returns, and no other node waits for it. A read that
// panics is an error of its node.
type Poller struct {
	parts   []SensorSource
	merge   *merged // how parts are joined; nil where there is one
	opts    PollerOptions
	snap    atomic.Pointer[Snapshot]
	metrics *pollMetrics
	changed chan struct{} // has room for one: wanted or soon has changed
	running atomic.Bool

	mu      sync.Mutex
	wanted  map[string]struct{} // guarded by mu
	soon    map[string]struct{} // guarded by mu: those of them to be read before they are due
	version uint64              // of wanted; guarded by mu
}

// NewPoller returns a poller of the nodes. It starts nothing.
func NewPoller(s SensorSource, nodes []string, o PollerOptions) *Poller {
	p := &Poller{parts: []SensorSource{s}, opts: o.filled(), metrics: newPollMetrics(),
		changed: make(chan struct{}, 1), wanted: make(map[string]struct{}, len(nodes)), soon: make(map[string]struct{})}
	if m, ok := s.(*merged); ok && len(m.sources) > 0 {
		p.parts, p.merge = m.sources, m
	}
	p.snap.Store(NewSnapshot(time.Time{}, nil))
	p.Add(nodes...)
	return p
}

// Snapshot returns what the nodes measured last. It costs one atomic load and is never nil.
func (p *Poller) Snapshot() *Snapshot { return p.snap.Load() }

// Add begins to read nodes, at once where Run is running. Nodes that are read already stay as they are.
func (p *Poller) Add(nodes ...string) {
	p.change(func() {
		for _, n := range nodes {
			p.wanted[n] = struct{}{}
		}
	})
}

// Remove stops reading nodes; soon they are no longer in the snapshot, and while Run runs the sources are told
// to let go of them: see [Forget].
func (p *Poller) Remove(nodes ...string) {
	p.change(func() {
		for _, n := range nodes {
			delete(p.wanted, n)
		}
	})
}

// SetNodes adds and removes nodes so that exactly these are read.
func (p *Poller) SetNodes(nodes []string) {
	p.change(func() {
		clear(p.wanted)
		for _, n := range nodes {
			p.wanted[n] = struct{}{}
		}
	})
}

// Nodes returns the names of the nodes that are read, sorted.
func (p *Poller) Nodes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.wanted))
}

func (p *Poller) change(f func()) {
	p.mu.Lock()
	f()
	p.version++
	p.mu.Unlock()
	p.wakeUp()
}

func (p *Poller) wakeUp() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Run reads the nodes until ctx is done, and returns after its reads have. It returns nil then, or an
// error that names the nodes whose read ignores its context and still had not returned a second later. A
// second Run beside the first is an error.
func (p *Poller) Run(ctx context.Context) error {
	if !p.running.CompareAndSwap(false, true) {
		return errors.New("poller: already running")
	}
	defer p.running.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newPollLoop(p, ctx)
	defer close(l.done)
	for ctx.Err() == nil {
		l.sync()
		l.hasten()
		l.depart()
		l.start()
		l.publish()
		l.wait()
	}
	cancel()
	stuck := l.drain()
	l.farewell()
	if len(stuck) > 0 {
		return fmt.Errorf("poller: reads that ignore their context still run for: %s", strings.Join(stuck, ", "))
	}
	return nil
}

// Register registers the poller's collectors: the age of every reading and the failures in a row of every
// node, as of the scrape; errors by node, source and reason; the latency of reads by source; reads in
// flight, and those given up that have not returned.
func (p *Poller) Register(r Registerer) error { return p.metrics.register(r, p) }
