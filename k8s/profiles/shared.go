package profiles

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// sharing is the sources that answer for many nodes at once.
type sharing struct {
	mu  sync.Mutex
	all map[string]*shared // guarded by mu: by how they are described
}

// A shared source is asked for all its nodes at once, whichever of them is read.
type shared struct {
	from sensors.SensorSource

	mu    sync.Mutex
	users map[string]int // guarded by mu: nodes
	last  *round         // guarded by mu: that has begun
	next  *round         // guarded by mu: that begins when it may; nil is none
}

// A round is one request for all nodes.
type round struct {
	done     chan struct{}
	began    time.Time
	asked    map[string]bool
	readings map[string][]sensors.Reading // to be read after done
	errs     map[string]error             // to be read after done
}

// acquire returns the part of a shared source that is a node's. Closing it ends the use.
func (s *sharing) acquire(key, node string, open func() (sensors.SensorSource, error)) (*part, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.all[key]
	if x == nil {
		from, err := open()
		if err != nil {
			return nil, err
		}
		x = &shared{from: from, users: make(map[string]int)}
		if s.all == nil {
			s.all = make(map[string]*shared)
		}
		s.all[key] = x
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.users[node]++
	return &part{x, sync.OnceFunc(func() { s.release(key, node) })}, nil
}

func (s *sharing) release(key, node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.all[key]
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.users[node]--; x.users[node] == 0 {
		delete(x.users, node)
	}
	if len(x.users) == 0 {
		delete(s.all, key)
		var last probe
		last.closing(x.from)
		for _, c := range last.closers {
			go func() { _ = c(context.Background()) }() // closes idle connections, which does not wait
		}
	}
}

// A part is a shared source as one node uses it.
type part struct {
	*shared
	release func()
}

// Close ends the use.
func (p *part) Close() error { p.release(); return nil }

// String names the source.
func (s *shared) String() string { return sensors.Name(s.from) }

const (
	together = 5 * time.Second  // for how long the answer of one request is used
	apart    = time.Second      // between two requests, while nodes join
	patience = 15 * time.Second // of one request for all nodes
)

// Read implements [sensors.SensorSource].
func (s *shared) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	r := s.round(node)
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, &sensors.Error{Source: s.String(), Node: node, Err: fmt.Errorf("%w: %w", sensors.ErrUnreachable, ctx.Err())}
	}
	if readings, err := r.readings[node], r.errs[node]; len(readings) > 0 || err != nil {
		return slices.Clone(readings), err
	}
	return nil, &sensors.Error{Source: s.String(), Node: node, Err: sensors.ErrNoReading}
}

// round returns the request that answers for a node, and makes a new one where the last is too old or did not ask for it.
func (s *shared) round(node string) *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := time.Duration(0)
	if r := s.last; r != nil {
		age := time.Since(r.began)
		if r.asked[node] && age < together {
			return r
		}
		wait = apart - age
	}
	switch {
	case s.next != nil: // it asks for all that there are when it begins
		return s.next
	case wait > 0:
		s.next = &round{done: make(chan struct{})}
		time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.begin(s.next)
			s.next = nil
		})
		return s.next
	}
	r := &round{done: make(chan struct{})}
	s.begin(r)
	return r
}

// begin makes a request for all nodes. The caller holds mu.
func (s *shared) begin(r *round) {
	nodes := slices.Sorted(maps.Keys(s.users))
	r.began, r.asked = time.Now(), make(map[string]bool, len(nodes))
	for _, n := range nodes {
		r.asked[n] = true
	}
	s.last = r
	go func() {
		defer close(r.done)
		if len(nodes) == 0 { // all have gone while it waited
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.readings, r.errs = sensors.ReadAll(ctx, s.from, nodes)
	}()
}
