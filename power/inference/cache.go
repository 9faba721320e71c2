package inference

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// CacheOptions tune a [Cache]. The zero value works.
type CacheOptions struct {
	Size    int           // answers kept, the least recently used given up first; 0 means 65,536
	TTL     time.Duration // how long an answer is kept; 0 means 30 minutes, as in WAO
	Timeout time.Duration // of one call of the model, whoever waits for it; 0 means 10 s
	Steps   Steps         // how finely states are told apart
	ByNode  bool          // the model answers differently for different nodes
}

// A Cache remembers a predictor's answers at states rounded to a grid: it answers as the predictor does at the
// nearest point of the grid. Callers that want the same point at the same time share one call; when that
// fails, it fails for every one of them, and nothing is remembered. It is safe for concurrent use.
type Cache struct {
	p    power.Predictor
	grid *grid
	opts CacheOptions

	mu      sync.Mutex
	entries map[string]*list.Element // of *entry; guarded by mu
	recent  *list.List               // most recently used first; guarded by mu
	flights map[string]*flight       // guarded by mu
	stats   CacheStats               // guarded by mu
}

type entry struct {
	key   string
	watts power.Watts
	until time.Time
}

// A flight is a point that is being asked for.
type flight struct {
	key   string
	state power.State
	done  chan struct{}
	watts power.Watts // after done
	err   error       // after done
}

// CacheStats counts what a [Cache] did.
type CacheStats struct {
	Hits     uint64 // answered from memory
	Shared   uint64 // waited for another caller's call
	Misses   uint64 // points asked of the model
	Failures uint64 // points for which the model failed
	Entries  int    // answers in memory
}

// NewCache returns a cache of p's answers. p must tell its inputs (power.InputLister).
func NewCache(p power.Predictor, o CacheOptions) (*Cache, error) {
	if p == nil {
		return nil, fmt.Errorf("cache: %w", power.ErrNoModel)
	}
	g, err := newGrid(p, o.Steps, o.ByNode)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	o.Size = cmp.Or(max(o.Size, 0), 1<<16)
	o.TTL = cmp.Or(max(o.TTL, 0), 30*time.Minute)
	o.Timeout = cmp.Or(max(o.Timeout, 0), defaultTimeout)
	return &Cache{p: p, grid: g, opts: o, entries: make(map[string]*list.Element), recent: list.New(), flights: make(map[string]*flight)}, nil
}

// Predict implements [power.Predictor].
func (c *Cache) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	var out [1]power.Estimate
	c.PredictBatch(ctx, []power.State{s}, out[:])
	return out[0].Watts, out[0].Err
}

// PredictBatch implements [power.BatchPredictor]: the points that are not known are asked for in one call.
func (c *Cache) PredictBatch(ctx context.Context, states []power.State, out []power.Estimate) {
	waits := make([]*flight, len(states))
	var mine []*flight
	now := time.Now()
	for i := range states {
		s, key, err := c.grid.round(&states[i])
		if err != nil {
			out[i] = power.Estimate{Err: err}
			continue
		}
		c.mu.Lock()
		if w, ok := c.lookup(key, now); ok {
			c.stats.Hits++
			out[i] = power.Estimate{Watts: w}
		} else if f := c.flights[key]; f != nil {
			c.stats.Shared++
			waits[i] = f
		} else {
			c.stats.Misses++
			f = &flight{key: key, state: s, done: make(chan struct{})}
			c.flights[key], waits[i] = f, f
			mine = append(mine, f)
		}
		c.mu.Unlock()
	}
	if len(mine) > 0 {
		// The call outlives this caller's context, since others may wait for it too.
		go c.fly(context.WithoutCancel(ctx), mine)
	}
	for i, f := range waits {
		if f == nil {
			continue
		}
		select {
		case <-f.done:
			out[i] = power.Estimate{Watts: f.watts, Err: f.err}
		case <-ctx.Done():
			out[i] = power.Estimate{Err: fmt.Errorf("node %q: %w", states[i].Node, ctx.Err())}
		}
	}
}

// lookup returns a remembered answer; c.mu is held.
func (c *Cache) lookup(key string, now time.Time) (power.Watts, bool) {
	e := c.entries[key]
	if e == nil {
		return 0, false
	}
	v := e.Value.(*entry)
	if !now.Before(v.until) {
		c.recent.Remove(e)
		delete(c.entries, key)
		return 0, false
	}
	c.recent.MoveToFront(e)
	return v.watts, true
}

// fly asks for the points and tells everyone who waits.
func (c *Cache) fly(ctx context.Context, flights []*flight) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	states, out := make([]power.State, len(flights)), make([]power.Estimate, len(flights))
	for i, f := range flights {
		states[i] = f.state
		out[i].Err = fmt.Errorf("node %q: the model did not answer", f.state.Node) // should it panic
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		until := time.Now().Add(c.opts.TTL)
		for i, f := range flights {
			if f.watts, f.err = out[i].Watts, out[i].Err; f.err != nil {
				f.watts = 0
				c.stats.Failures++
			} else {
				c.entries[f.key] = c.recent.PushFront(&entry{f.key, f.watts, until})
			}
			delete(c.flights, f.key)
			close(f.done)
		}
		for len(c.entries) > c.opts.Size {
			old := c.recent.Back()
			delete(c.entries, c.recent.Remove(old).(*entry).key)
		}
	}()
	power.PredictAll(ctx, c.p, states, out)
}

// Stats returns what the cache has done so far.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Entries = len(c.entries)
	return s
}

// Inputs implements [power.InputLister].
func (c *Cache) Inputs() []power.Input { in, _ := power.Inputs(c.p); return in }

// Domain implements [power.Domained].
func (c *Cache) Domain() power.Domain { d, _ := power.DomainOf(c.p); return d }
