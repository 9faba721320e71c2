package balancing

import (
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

// Every bit of the numbers is as often 1 as 0, and follows neither itself nor the next number's.
func TestSourceIsRandom(t *testing.T) {
	const n = 100_000
	s := newSource()
	var ones, changes [64]int
	last := s.next()
	for range n {
		x := s.next()
		for b := range 64 {
			ones[b] += int(x >> b & 1)
			changes[b] += int((x ^ last) >> b & 1)
		}
		last = x
	}
	const five = 791 // standard deviations of n throws of a coin
	for b := range 64 {
		if d := ones[b] - n/2; d > five || d < -five {
			t.Errorf("bit %d is 1 in %d of %d numbers", b, ones[b], n)
		}
		if d := changes[b] - n/2; d > five || d < -five {
			t.Errorf("bit %d changes %d times in %d numbers", b, changes[b], n)
		}
	}
}

// Goroutines that use a source at once get different numbers, whether they share a lane or not.
func TestSourceNeverRepeats(t *testing.T) {
	s := newSource()
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	const each, goroutines = 2000, 100
	for range goroutines {
		wg.Go(func() {
			var mine [each]uint64
			for i := range mine {
				mine[i] = s.next()
			}
			mu.Lock()
			defer mu.Unlock()
			for _, x := range mine {
				seen[x] = true
			}
		})
	}
	wg.Wait()
	if len(seen) != each*goroutines {
		t.Errorf("%d different numbers of %d", len(seen), each*goroutines)
	}
}

// Of few endpoints each counter has a cache line of its own, and so has each lane.
func TestLinesAreNotShared(t *testing.T) {
	lines := map[uintptr]bool{}
	line := func(p unsafe.Pointer) { lines[uintptr(p)/64] = true }
	f := newFlights(100)
	for _, c := range f {
		line(unsafe.Pointer(c))
	}
	l := newLanes()
	for i := range l {
		line(unsafe.Pointer(&l[i]))
	}
	if want := len(f) + len(l); len(lines) != want {
		t.Errorf("%d cache lines for %d words", len(lines), want)
	}
	for _, n := range []int{0, 1, 300, 5000} {
		different := map[*atomic.Int64]bool{}
		for _, c := range newFlights(n) {
			different[c] = true
		}
		if len(different) != n {
			t.Errorf("%d counters for %d endpoints", len(different), n)
		}
	}
}
