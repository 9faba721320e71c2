package balancing

import (
	"fmt"
	"math"
	"sync/atomic"
)

// A Picker chooses the endpoint of one request by shares it was made with. It returns an index into them, or
// -1 where there are none. It never chooses a share of 0, and does not allocate. Affinity pickers choose by
// key, so that equal keys meet the same endpoint; others ignore it. A Picker is safe for concurrent use and its
// shares do not change: make a new one and swap it in a [Selector].
type Picker interface {
	Pick(key uint64) int
}

// A TrackingPicker wants to know when a request that it picked for is over.
type TrackingPicker interface {
	Picker
	// Done ends a request that Pick returned i for.
	Done(i int)
}

// A Selector holds the endpoints of one Service and the picker between them; both are swapped at once, while
// others pick. The zero value has no endpoints.
type Selector[E any] struct {
	table atomic.Pointer[table[E]]
}

type table[E any] struct {
	endpoints []E
	picker    Picker
	tracking  TrackingPicker // picker, if it is one
}

// Swap makes Pick choose between endpoints by p from now on. The endpoints must be those that p was made for,
// in order, and are not to be changed afterwards.
func (s *Selector[E]) Swap(endpoints []E, p Picker) {
	t := &table[E]{endpoints: endpoints, picker: p}
	t.tracking, _ = p.(TrackingPicker)
	s.table.Store(t)
}

// A Choice is the endpoint of one request. Call Done once when the request is over.
type Choice[E any] struct {
	Endpoint E
	table    *table[E] // nil where nobody wants to know the end
	index    int
}

// Done tells the picker, if it wants to know, that the request is over.
func (c Choice[E]) Done() {
	if c.table != nil {
		c.table.tracking.Done(c.index)
	}
}

// Pick chooses an endpoint; false where there is none.
func (s *Selector[E]) Pick(key uint64) (Choice[E], bool) {
	t := s.table.Load()
	if t == nil {
		return Choice[E]{}, false
	}
	i := t.picker.Pick(key)
	if uint(i) >= uint(len(t.endpoints)) {
		return Choice[E]{}, false
	}
	c := Choice[E]{Endpoint: t.endpoints[i], index: i}
	if t.tracking != nil {
		c.table = t
	}
	return c, true
}

// Values returns the values of shares, as pickers take them.
func Values(shares []Share) []float64 {
	v := make([]float64, len(shares))
	for i := range shares {
		v[i] = shares[i].Value
	}
	return v
}

// portions returns weights scaled to the sum 1, all the same where all are 0.
func portions(weights []float64) ([]float64, error) {
	out, most := make([]float64, len(weights)), 0.0
	for i, w := range weights {
		if !(w >= 0) || math.IsInf(w, 0) {
			return nil, fmt.Errorf("weight %d is %v: want a finite number, 0 or more", i, w)
		}
		most = max(most, w)
	}
	sum := 0.0
	for i, w := range weights {
		if most > 0 {
			out[i] = w / most // no overflow
		} else {
			out[i] = 1
		}
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out, nil
}

// Quantize divides n slots by weights, largest remainders first, ties to the lower index. The slots sum to n;
// where n allows, a weight above 0 has a slot. All get the same where all weights are 0. It is an error to ask
// with a weight that is negative or not finite.
func Quantize(weights []float64, n int) ([]int, error) {
	p, err := portions(weights)
	if err != nil {
		return nil, err
	}
	slots := make([]int, len(p))
	if len(p) == 0 || n <= 0 {
		return slots, nil
	}
	quantize(p, n, slots)
	return slots, nil
}
