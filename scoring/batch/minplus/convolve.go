package minplus

import (
	"math"
	"math/bits"
)

// convolve lets one more server take some of the workloads; took, if not nil, receives how many of each number. Among equals the new
// server takes the fewest.
func (s *Sum) convolve(curve []float64, took []int32) {
	for len(curve) > 0 && math.IsInf(curve[len(curve)-1], 1) {
		curve = curve[:len(curve)-1]
	}
	s.f = append(append(s.f[:0], 0), curve...)
	s.took = took
	copy(s.next, s.total)
	clear(took)
	ends := s.pieces()
	to := min(s.k, s.reach+len(curve))
	// Steps that trying all sums takes, and that halving takes.
	all, halves := 0, 0
	from := 0
	for _, end := range ends {
		all += (end - from + 1) * to
		halves += 3 * to * bits.Len(uint(end-from+1))
		from = end
	}
	if all <= halves {
		s.try(0, len(curve), to)
	} else {
		from = 0
		for _, end := range ends {
			if end-from < 12 {
				s.try(from, end, to)
			} else {
				p := piece{sum: s, from: from, to: end}
				p.halve(from, min(to, s.reach+end), 0, s.reach)
			}
			from = end
		}
	}
	s.reach = to
	s.total, s.next = s.next, s.total
}

// pieces returns where the convex pieces of f end; each begins where the one before ends, the first at 0. A number that does not
// fit ends a piece and is in one of its own.
func (s *Sum) pieces() []int {
	var ends []int
	step, slack := math.Inf(-1), rounding(s.f)
	for i := 1; i < len(s.f); i++ {
		d := s.f[i] - s.f[i-1] // NaN after +Inf
		if !(d >= step-slack) || math.IsInf(d, 0) {
			if i > 1 {
				ends = append(ends, i-1)
			}
			step = math.Inf(-1)
			if !math.IsInf(d, 0) && d == d {
				step = d
			}
			continue
		}
		step = d
	}
	return append(ends, len(s.f)-1)
}

// offer takes over a better sum for i workloads, j of them on the new server.
func (s *Sum) offer(i, j int, sum float64) {
	if sum < s.next[i] {
		s.next[i] = sum
		if s.took != nil {
			s.took[i] = int32(j)
		}
	} else if s.took != nil && sum == s.next[i] && int32(j) < s.took[i] {
		s.took[i] = int32(j)
	}
}

// try tries all sums with from … to workloads on the new server.
func (s *Sum) try(from, to, most int) {
	for i := max(from, 1); i <= most; i++ {
		first := max(from, i-s.reach)
		last := min(to, i)
		if first > last {
			continue
		}
		best, at := math.Inf(1), first
		left := s.total[i-last : i-first+1]
		for n := range left { // from last down to first
			if c := left[n] + s.f[last-n]; c <= best {
				best, at = c, last-n
			}
		}
		s.offer(i, at, best)
	}
}

// A piece is a convex part of the new server's curve.
type piece struct {
	sum      *Sum
	from, to int
}

// halve finds the best sums for lo … hi workloads when the other servers take between least and most of them: that of the number in
// the middle bounds those below from above, and those above from below.
func (p *piece) halve(lo, hi, least, most int) {
	s := p.sum
	for lo <= hi {
		mid := (lo + hi) / 2
		first, last := max(least, mid-p.to), min(most, mid-p.from)
		best, at := math.Inf(1), -1
		if first <= last {
			f := s.f[mid-last : mid-first+1]
			for n, v := range s.total[first : last+1] {
				if c := v + f[last-first-n]; c <= best && c < math.Inf(1) {
					best, at = c, first+n
				}
			}
		}
		if at < 0 { // nothing to learn from
			p.halve(lo, mid-1, least, most)
			lo = mid + 1
			continue
		}
		s.offer(mid, mid-at, best)
		p.halve(lo, mid-1, least, at)
		lo, least = mid+1, at
	}
}
