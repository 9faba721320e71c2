package balancing

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// TwoChoices picks two endpoints at random by weight and takes the one with fewer requests in flight for its
// weight, so that a slow endpoint gets less than its share for as long as it is slow (Mitzenmacher, IEEE TPDS
// 12, 2001). Every pick must be followed by Done.
type TwoChoices struct {
	columns []column // of an Alias
	slots   []slot
}

type slot struct {
	flights *atomic.Int64
	inverse uint64 // 1 / weight in units of 1/256, at most 2^32
}

// crowd is the requests in flight for the weight, with one more.
func (s *slot) crowd() uint64 { return uint64(s.flights.Load()+1) * s.inverse }

// NewTwoChoices returns a picker by weights, with one counter of requests in flight an endpoint: those of
// [Flights.Of] outlive the picker. Nil means new counters.
func NewTwoChoices(weights []float64, flights []*atomic.Int64) (*TwoChoices, error) {
	alias, err := NewAlias(weights)
	if err != nil {
		return nil, err
	}
	if flights == nil {
		for range weights {
			flights = append(flights, newFlight())
		}
	}
	if len(flights) != len(weights) {
		return nil, fmt.Errorf("two choices: %d weights but %d counters", len(weights), len(flights))
	}
	p, err := portions(weights)
	if err != nil {
		return nil, err
	}
	t := &TwoChoices{columns: alias.columns, slots: make([]slot, len(p))}
	for i := range p {
		t.slots[i] = slot{flights: flights[i], inverse: uint64(min(256/p[i], 1<<32))}
	}
	return t, nil
}

// Pick implements [Picker]; the key does not matter.
func (t *TwoChoices) Pick(uint64) int {
	if len(t.slots) == 0 {
		return -1
	}
	x := rand.Uint64()
	a, b := pick(t.columns, x), pick(t.columns, x*0x9e3779b97f4a7c15)
	if a == b {
		b = pick(t.columns, mix(x)) // once more: two different ones are a better choice
	}
	// A borrow chooses, as in pick.
	_, less := bits.Sub64(t.slots[b].crowd(), t.slots[a].crowd(), 0)
	a ^= (a ^ b) & -int(less)
	t.slots[a].flights.Add(1)
	return a
}

// Done implements [TrackingPicker].
func (t *TwoChoices) Done(i int) { t.slots[i].flights.Add(-1) }

// newFlight returns a counter in a cache line of its own: processors that count at different endpoints do not wait for
// each other.
func newFlight() *atomic.Int64 {
	c := new(struct {
		atomic.Int64
		_ [56]byte
	})
	return &c.Int64
}

// Flights keeps the requests in flight of endpoints over changes of their weights. The zero value is ready to
// use, concurrently.
type Flights struct {
	mu sync.Mutex
	m  map[string]*atomic.Int64 // guarded by mu
}

// Of returns the counters of the endpoints that ids name. Endpoints that are not named and have nothing in
// flight are forgotten.
func (f *Flights) Of(ids []string) []*atomic.Int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := make(map[string]*atomic.Int64, len(ids))
	out := make([]*atomic.Int64, len(ids))
	for i, id := range ids {
		c := m[id]
		if c == nil {
			if c = f.m[id]; c == nil {
				c = newFlight()
			}
			m[id] = c
		}
		out[i] = c
	}
	for id, c := range f.m {
		if m[id] == nil && c.Load() != 0 {
			m[id] = c
		}
	}
	f.m = m
	return out
}
