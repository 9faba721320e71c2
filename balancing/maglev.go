package balancing

import (
	"container/heap"
	"fmt"
	"math/bits"
)

// Maglev picks by key: equal keys meet the same endpoint, and a change of endpoints or weights moves few keys
// to another one. The table is filled in turns, as in Maglev (Eisenbud et al., NSDI 2016, section 3.4), each
// endpoint taking turns by its weight. Two processes with the same endpoints and weights have the same table.
type Maglev struct {
	slots []int32
}

// Primes, about doubling: a table of a prime size lets every stride reach every slot.
var maglevSizes = [...]int{1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071, 262139, 524287, 1048573}

// NewMaglev returns a picker by weights for the endpoints that ids name; ids that are equal share their slots.
// The table has at least 100 slots an endpoint, up to a million in all.
func NewMaglev(ids []string, weights []float64) (*Maglev, error) {
	if len(ids) != len(weights) {
		return nil, fmt.Errorf("maglev: %d endpoints but %d weights", len(ids), len(weights))
	}
	p, err := portions(weights)
	if err != nil {
		return nil, fmt.Errorf("maglev: %w", err)
	}
	if len(ids) == 0 {
		return &Maglev{}, nil
	}
	size := maglevSizes[len(maglevSizes)-1]
	for _, s := range maglevSizes {
		if s >= 100*len(ids) {
			size = s
			break
		}
	}
	type place struct{ at, skip uint64 }
	places := make([]place, len(ids))
	var turns strides
	for i, id := range ids {
		a, b := fnv(id, 0xcbf29ce484222325), fnv(id, 0x9ae16a3b2f90404f)
		places[i] = place{a % uint64(size), 1 + b%uint64(size-1)}
		if p[i] > 0 {
			turns = append(turns, stride{at: 1 / p[i], step: 1 / p[i], index: int32(i)})
		}
	}
	heap.Init(&turns)
	m := &Maglev{slots: make([]int32, size)}
	for i := range m.slots {
		m.slots[i] = -1
	}
	for range size {
		t := &turns[0]
		q := &places[t.index]
		for m.slots[q.at] >= 0 {
			q.at = (q.at + q.skip) % uint64(size)
		}
		m.slots[q.at] = t.index
		t.at += t.step
		heap.Fix(&turns, 0)
	}
	return m, nil
}

// Pick implements [Picker].
func (m *Maglev) Pick(key uint64) int {
	if len(m.slots) == 0 {
		return -1
	}
	at, _ := bits.Mul64(mix(key), uint64(len(m.slots)))
	return int(m.slots[at])
}

// mix spreads near keys over the whole range (the finalizer of SplitMix64: Steele, Lea & Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// fnv is FNV-1a from a basis, finished by mix: the same in every process, unlike hash/maphash.
func fnv(s string, basis uint64) uint64 {
	h := basis
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(h)
}

// Key returns a key for text, such as a client's address. It is the same in every process.
func Key(text string) uint64 { return fnv(text, 0xcbf29ce484222325) }
