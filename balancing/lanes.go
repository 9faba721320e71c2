package balancing

import (
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// A lane is a word in a cache line of its own.
type lane struct {
	atomic.Uint64
	_ [56]byte
}

// maxLanes bounds what a picker takes for them: 4 KB.
const maxLanes = 64

// newLanes returns enough lanes, a power of two of them, that goroutines which run at the same time seldom meet in one.
func newLanes() []lane {
	return make([]lane, min(1<<bits.Len(uint(16*runtime.GOMAXPROCS(0)-1)), maxLanes))
}

// own returns this goroutine's lane, by where its stack lies: no other identity is free. Which it is changes nothing but
// the time: goroutines that share a lane wait for each other's cache line.
func own(lanes []lane) *lane {
	var here byte
	at := uint64(uintptr(unsafe.Pointer(&here))) >> 10 * golden >> 58
	return &lanes[at&uint64(len(lanes)-1)]
}

// golden is 2^64 divided by the golden ratio, made odd: its multiples fill the range evenly (Knuth, TAOCP 3, 6.4).
const golden = 0x9e3779b97f4a7c15

// A source makes random numbers for many goroutines, in half the time of math/rand/v2: each lane is a wyrand generator
// (Wang Yi, 2019, public domain).
type source []lane

func newSource() source {
	s := newLanes()
	for i := range s {
		s[i].Store(rand.Uint64())
	}
	return s
}

func (s source) next() uint64 {
	x := own(s).Add(0xa0761d6478bd642f)
	hi, lo := bits.Mul64(x, x^0xe7037ed1a0b428db)
	return hi ^ lo
}
