package sensors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// BreakerOptions tune a [Breaker]. The zero value works.
type BreakerOptions struct {
	// Name is the source's in metrics; "" means what the source calls itself.
	Name string

	// Failures is after how many failed reads in a row a node is left alone; 0 means 5.
	Failures int

	// Pause is for how long, which doubles each time that a trial fails, up to MaxPause; 0 means 30 seconds
	// and 5 minutes.
	Pause, MaxPause time.Duration

	// AuthPause is for how long a node is left alone that refused the credentials twice in a row: more tries
	// would lock the account. 0 means 5 minutes, negative treats it as any failure.
	AuthPause time.Duration
}

// A Breaker is a source that leaves a node alone that keeps failing: for a while its reads fail at once, with
// the error of the last one and a RetryAfter; then one trial is made. A read that gives anything is no
// failure, and an unknown node is none. It is safe for concurrent use.
type Breaker struct {
	source SensorSource
	opts   BreakerOptions

	mu    sync.Mutex
	nodes map[string]*circuit // of nodes that failed last; guarded by mu
}

type circuit struct {
	failures int
	refused  int // of them the last, in a row, for the credentials
	pause    time.Duration
	until    time.Time // no read before; zero: closed
	trying   bool
	gone     bool      // the node is read no more
	failed   time.Time // last
	last     error
}

// NewBreaker returns a breaker around a source. [Breaker.Batch] makes it a [BatchSource] where the source is
// one.
func NewBreaker(s SensorSource, o BreakerOptions) *Breaker {
	fill(&o.Failures, 5)
	fill(&o.Pause, 30*time.Second)
	fill(&o.MaxPause, 5*time.Minute)
	if o.AuthPause == 0 {
		o.AuthPause = 5 * time.Minute
	}
	return &Breaker{source: s, opts: o, nodes: make(map[string]*circuit)}
}

// String names the source.
func (b *Breaker) String() string { return Name(b.source) }

// Label returns the name of the source in metrics.
func (b *Breaker) Label() string { return cmp.Or(b.opts.Name, b.String()) }

// Read implements [SensorSource].
func (b *Breaker) Read(ctx context.Context, node string) ([]Reading, error) {
	if err := b.open(node); err != nil {
		return nil, err
	}
	readings, err := b.source.Read(ctx, node)
	b.note(node, len(readings) > 0, err)
	return readings, err
}

// Batch returns the breaker as a [BatchSource], which leaves nodes that are left alone out of the batch; or
// false if its source is none.
func (b *Breaker) Batch() (BatchSource, bool) {
	s, ok := b.source.(BatchSource)
	return batchBreaker{b, s}, ok
}

type batchBreaker struct {
	*Breaker
	batch BatchSource
}

// ReadAll implements [BatchSource].
func (b batchBreaker) ReadAll(ctx context.Context, nodes []string) (map[string][]Reading, map[string]error) {
	var asked []string
	paused := make(map[string]error)
	for _, n := range nodes {
		if err := b.open(n); err != nil {
			paused[n] = err
		} else {
			asked = append(asked, n)
		}
	}
	if len(asked) == 0 {
		return nil, paused
	}
	readings, errs := ReadAll(ctx, b.batch, asked)
	for _, n := range asked {
		b.note(n, len(readings[n]) > 0, errs[n])
	}
	maps.Copy(errs, paused)
	return readings, errs
}

// open returns why a node is not read now. Where it returns nil, note must follow.
func (b *Breaker) open(node string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.nodes[node]
	if c == nil || c.until.IsZero() {
		return nil
	}
	wait := time.Until(c.until)
	if wait <= 0 && !c.trying {
		c.trying = true
		return nil
	}
	wait = max(wait, time.Second) // a trial is under way
	return &Error{Source: b.String(), Node: node, Err: &paused{cause(c.last), fmt.Sprintf("not asked again for %v, after %d failures", wait.Round(time.Second), c.failures), wait}}
}

// cause takes the outer source and node off an error that is to be told again.
func cause(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Err != nil {
		return e.Err
	}
	return err
}

func (b *Breaker) note(node string, good bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if good || err == nil || errors.Is(err, ErrUnknownNode) {
		delete(b.nodes, node)
		return
	}
	c := b.nodes[node]
	if c == nil {
		c = new(circuit)
		b.nodes[node] = c
	}
	if c.trying = false; errors.Is(err, context.Canceled) {
		return // the caller's doing
	}
	c.failures++
	c.last, c.failed, c.gone = err, time.Now(), false
	if c.refused++; !errors.Is(err, ErrUnauthorized) {
		c.refused = 0
	}
	switch {
	case c.refused >= 2 && b.opts.AuthPause > 0:
		c.until = time.Now().Add(b.opts.AuthPause)
	case c.failures >= b.opts.Failures:
		c.pause = min(max(2*c.pause, b.opts.Pause), b.opts.MaxPause)
		c.until = time.Now().Add(c.pause)
	}
}

// Forget implements [Forgetter]. What a node failed with is remembered for a while yet, so that one that comes and
// goes does not lock its account.
func (b *Breaker) Forget(_ context.Context, node string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.nodes[node]; c != nil {
		c.gone = true
	}
	now := time.Now()
	maps.DeleteFunc(b.nodes, func(_ string, c *circuit) bool {
		return c.gone && now.After(c.until) && now.Sub(c.failed) > max(b.opts.AuthPause, b.opts.MaxPause)
	})
	return nil
}

// Paused returns until when a node is left alone; false if it is not.
func (b *Breaker) Paused(node string) (until time.Time, paused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.nodes[node]; c != nil && !c.until.IsZero() {
		return c.until, true
	}
	return time.Time{}, false
}

// Register registers a collector of the nodes that are left alone, by source.
func (b *Breaker) Register(r Registerer) error {
	return r.Register(breakerCollector{b, prometheus.NewDesc("leastwatt_sensor_breaker_open",
		"1 for a node that is left alone after failures, by source.", []string{"node"}, prometheus.Labels{"source": b.Label()})})
}

// breakerCollector tells of the state at the time of a scrape.
type breakerCollector struct {
	*Breaker
	open *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (b breakerCollector) Describe(c chan<- *prometheus.Desc) { c <- b.open }

// Collect implements [prometheus.Collector].
func (b breakerCollector) Collect(c chan<- prometheus.Metric) {
	b.mu.Lock()
	var open []string
	for n, s := range b.nodes {
		if !s.until.IsZero() && !s.gone {
			open = append(open, n)
		}
	}
	b.mu.Unlock()
	for _, n := range open {
		c <- prometheus.MustNewConstMetric(b.open, prometheus.GaugeValue, 1, n)
	}
}
