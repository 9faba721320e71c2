package balancing

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"sync/atomic"
)

// RoundRobin picks in a smooth order: within every stretch of picks, each endpoint has about its share, never
// its whole share in a row. The order is made once, by stride scheduling (Waldspurger & Weihl, MIT/LCS/TM-528,
// 1995), so that a pick is one atomic step.
//
// Picks one after the other, by whatever goroutines, follow the order exactly. Goroutines that pick at the same instant
// would wait for each other's cache line: one that meets another takes the next 16 places for itself and picks them in
// order. No place is picked twice in a turn, and what waits or is left of batches is at most 15 places of each of up to 64
// goroutines.
type RoundRobin struct {
	order   []int32
	next    atomic.Uint64
	batches atomic.Pointer[[]lane] // nil until two goroutines met; place << 4 | places left
}

// batch is how many places a goroutine takes at once; what is left after the first of them fits into four bits.
const batch = 16

// NewRoundRobin returns a picker by weights, which need not sum to 1, that repeats after slots picks; 0 means
// 1,000, or 20 an endpoint if that is more, so that the share of a [DefaultFloor] is one of them. Weights are
// quantised to slots by largest remainder.
func NewRoundRobin(weights []float64, slots int) (*RoundRobin, error) {
	if slots <= 0 {
		slots = max(1000, 20*len(weights))
	}
	quota, err := Quantize(weights, slots)
	if err != nil {
		return nil, err
	}
	r := &RoundRobin{order: make([]int32, 0, slots)}
	var h strides
	for i, q := range quota {
		if q > 0 {
			s := float64(slots) / float64(q)
			_, phase := math.Modf(float64(i+1) * math.Phi) // equal weights do not come side by side
			h = append(h, stride{at: s * phase, step: s, index: int32(i)})
		}
	}
	heap.Init(&h)
	for range slots {
		if len(h) == 0 {
			break
		}
		r.order = append(r.order, h[0].index)
		h[0].at += h[0].step
		heap.Fix(&h, 0)
	}
	r.next.Store(rand.Uint64() >> 1) // many clients do not start in step
	return r, nil
}

// Pick implements [Picker]; the key does not matter.
func (r *RoundRobin) Pick(uint64) int {
	n := uint64(len(r.order))
	if n == 0 {
		return -1
	}
	if b := r.batches.Load(); b != nil {
		l := own(*b)
		if v := l.Load(); v%batch > 0 && l.CompareAndSwap(v, v+batch-1) {
			return int(r.order[v/batch%n])
		}
	}
	at := r.next.Load()
	i := r.order[at%n]
	if !r.next.CompareAndSwap(at, at+1) {
		i = r.order[r.take()%n]
	}
	return int(i)
}

// take takes a batch for this goroutine and returns its first place.
func (r *RoundRobin) take() uint64 {
	b := r.batches.Load()
	if b == nil {
		made := newLanes()
		r.batches.CompareAndSwap(nil, &made)
		b = r.batches.Load()
	}
	l := own(*b)
	v := l.Load()
	if v%batch > 0 { // another goroutine of this lane has just taken one
		return r.next.Add(1) - 1
	}
	at := r.next.Add(batch) - batch
	l.CompareAndSwap(v, (at+1)*batch+batch-1) // if it fails, the rest of these places is left out, as the order has them
	return at
}

type stride struct {
	at, step float64
	index    int32
}

type strides []stride

func (s strides) Len() int { return len(s) }
func (s strides) Less(i, j int) bool {
	return s[i].at < s[j].at || s[i].at == s[j].at && s[i].index < s[j].index
}
func (s strides) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *strides) Push(x any)   { *s = append(*s, x.(stride)) }
func (s *strides) Pop() any {
	old := *s
	x := old[len(old)-1]
	*s = old[:len(old)-1]
	return x
}
