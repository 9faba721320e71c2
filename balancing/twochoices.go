package balancing

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
)

// TwoChoices picks two endpoints at random by weight and takes the one with fewer requests in flight for its
// weight, so that a slow endpoint gets less than its share for as long as it is slow (Mitzenmacher, IEEE TPDS
// 12, 2001). Every pick must be followed by Done.
type TwoChoices struct {
	columns []column // of an Alias
	slots   []slot
	random  source
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
		flights = newFlights(len(weights))
	}
	if len(flights) != len(weights) {
		return nil, fmt.Errorf("two choices: %d weights but %d counters", len(weights), len(flights))
	}
	p, err := portions(weights)
	if err != nil {
		return nil, err
	}
	t := &TwoChoices{columns: alias.columns, slots: make([]slot, len(p)), random: newSource()}
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
	x := t.random.next()
	// A column needs few bits and is decided by the highest within it, so that one number makes two draws.
	i, j := draw(t.columns, x), draw(t.columns, bits.RotateLeft64(x, 32))
	if i == j {
		j = draw(t.columns, mix(x)) // once more: two different ones are a better choice
	}
	a, b := &t.slots[i], &t.slots[j]
	// Moves by condition, not branches: which has less is a coin's throw.
	flights, other := a.flights, b.flights
	here, there := a.crowd(), b.crowd()
	if there < here {
		flights = other
	}
	if there < here {
		i = j
	}
	flights.Add(1)
	return int(i)
}

// Done implements [TrackingPicker].
func (t *TwoChoices) Done(i int) { t.slots[i].flights.Add(-1) }

// newFlights returns n counters. Those of few endpoints have a cache line each: processors that count at different
// endpoints do not wait for each other. Of many, some share one: they seldom meet there, and lines in the nearest cache are
// worth more.
func newFlights(n int) []*atomic.Int64 {
	apart := 8
	for apart > 1 && apart*n > 2048 {
		apart /= 2
	}
	words, out := make([]atomic.Int64, apart*n), make([]*atomic.Int64, n)
	for i := range out {
		out[i] = &words[apart*i]
	}
	return out
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
	for _, id := range ids {
		m[id] = f.m[id]
	}
	missing := 0
	for _, c := range m {
		if c == nil {
			missing++
		}
	}
	made, out := newFlights(missing), make([]*atomic.Int64, len(ids))
	for i, id := range ids {
		if m[id] == nil {
			m[id], made = made[0], made[1:]
		}
		out[i] = m[id]
	}
	for id, c := range f.m {
		if m[id] == nil && c.Load() != 0 {
			m[id] = c
		}
	}
	f.m = m
	return out
}
