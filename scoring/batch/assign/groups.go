package assign

import (
	"math"
	"math/bits"
	"slices"
)

// A group is columns that cost every row the same: a heap by price.
type group struct{ cols []int32 }

// collect finds the groups. A few rows tell most columns apart; all are asked where these leave some alike that are not.
func (a *auction) collect() {
	s := a.s
	first := a.group(min(sampled, s.rows))
	if len(first) < s.cols && !a.alike(first) {
		first = a.group(s.rows)
		if len(first) < s.cols && !a.alike(first) { // two columns with one hash
			first = first[:0]
			a.groups = make([]group, s.cols)
			for j := range a.groups {
				a.groups[j].cols, a.groupOf[j] = []int32{int32(j)}, int32(j)
				first = append(first, int32(j))
			}
		}
	}
	a.low = make([]float64, len(a.groups))
	a.cost = s.cost
	if len(a.groups) < s.cols {
		a.cost = make([]float64, 0, s.rows*len(a.groups))
		for i := range s.rows {
			line := s.line(i)
			for _, j := range first {
				a.cost = append(a.cost, line[j])
			}
		}
	}
}

// group puts columns together that have one hash over some of the rows, and returns the first of each group.
func (a *auction) group(rows int) []int32 {
	s := a.s
	hash := make([]uint64, s.cols)
	for i := range rows {
		line := s.line(i * s.rows / rows)
		for j, h := range hash[:len(line)] {
			// The product carries differences upwards only, and round numbers differ in their high bits alone: turn them down.
			hash[j] = bits.RotateLeft64((h^math.Float64bits(line[j]))*0x9e3779b97f4a7c15, 29)
		}
	}
	a.groups, a.groupOf = nil, make([]int32, s.cols)
	known := make(map[uint64]int32, s.cols)
	var first []int32
	for j, h := range hash {
		g, ok := known[h]
		if !ok {
			g = int32(len(a.groups))
			known[h] = g
			a.groups = append(a.groups, group{})
			first = append(first, int32(j))
		}
		a.groupOf[j] = g
		a.groups[g].cols = append(a.groups[g].cols, int32(j))
	}
	return first
}

// alike tells whether all columns of each group are as its first is.
func (a *auction) alike(first []int32) bool {
	for i := range a.s.rows {
		line := a.s.line(i)
		for j, c := range line {
			if c != line[first[a.groupOf[j]]] {
				return false
			}
		}
	}
	return true
}

// sink restores the heap of a group whose first column has become dearer.
func (a *auction) sink(g int32) {
	c := a.groups[g].cols
	for k := 0; ; {
		least := k
		for _, n := range [2]int{2*k + 1, 2*k + 2} {
			if n < len(c) && a.price[c[n]] < a.price[c[least]] {
				least = n
			}
		}
		if least == k {
			break
		}
		c[k], c[least] = c[least], c[k]
		k = least
	}
	a.low[g] = a.price[c[0]]
}

// sort restores all heaps: a sorted list is one.
func (a *auction) sort() {
	for g := range a.groups {
		c := a.groups[g].cols
		if len(c) > 1 {
			slices.SortFunc(c, func(j, k int32) int {
				if p, q := a.price[j], a.price[k]; p != q {
					if p < q {
						return -1
					}
					return 1
				}
				return int(j - k)
			})
		}
		a.low[g] = a.price[c[0]]
	}
}
