package calibrate

import (
	"math"
	"slices"

	"github.com/leastwatt/leastwatt/power"
)

// Gradient boosting (Friedman, Annals of Statistics 29, 2001) with monotone splits. The size is one beyond which
// more or deeper trees did not help on held-out blocks of a measured server.
const (
	treeCount   = 150
	treeDepth   = 3
	treeRate    = 0.1
	treeLeaf    = 10 // samples in a leaf, at least
	treeBins    = 64 // thresholds tried of each input
	treePenalty = 1.0
)

// fitTrees boosts trees that rise in every input but the pressure.
func fitTrees(t *table, rows []int) (power.Predictor, error) {
	b := newBooster(t, rows)
	e := power.Ensemble{Inputs: slices.Clone(t.inputs), Base: float32(b.base)}
	for range treeCount {
		e.Trees = append(e.Trees, b.grow())
	}
	return power.NewTrees(e)
}

// A booster holds the samples by bins of each input.
type booster struct {
	x          [][]float64 // by input, at the rows
	bin        [][]uint8   // likewise, the bin
	edge       [][]float32 // by input, what bin k+1 starts at
	free       []bool      // by input: may fall
	y, fit     []float64
	weight     []float64
	base       float64
	gradient   []float64
	tree       power.Tree
	sum, total []float64 // scratch by bin
}

func newBooster(t *table, rows []int) *booster {
	b := &booster{y: pick(t.y, rows), gradient: make([]float64, len(rows)), sum: make([]float64, treeBins), total: make([]float64, treeBins)}
	for i, in := range t.inputs {
		x := pick(t.x[i], rows)
		sorted := slices.Sorted(slices.Values(x))
		var edges []float32
		for k := 1; k < treeBins; k++ {
			if e := float32(sorted[k*len(sorted)/treeBins]); len(edges) == 0 && e > float32(sorted[0]) || len(edges) > 0 && e > edges[len(edges)-1] {
				edges = append(edges, e)
			}
		}
		bins := make([]uint8, len(x))
		for r, v := range x {
			n, found := slices.BinarySearch(edges, float32(v))
			if found {
				n++ // a value at an edge is not below it
			}
			bins[r] = uint8(n)
		}
		b.x, b.bin, b.edge = append(b.x, x), append(b.bin, bins), append(b.edge, edges)
		b.free = append(b.free, in == power.InputPressureDelta)
	}
	weights := 0.0
	for _, y := range b.y {
		w := 1 / (y * y)
		b.weight = append(b.weight, w)
		b.base += w * y
		weights += w
	}
	b.base /= weights
	mean := weights / float64(len(b.y))
	for i := range b.weight {
		b.weight[i] /= mean
	}
	b.fit = slices.Repeat([]float64{b.base}, len(b.y))
	return b
}

// grow adds one tree and its part of the fit.
func (b *booster) grow() power.Tree {
	const clip = 0.05 // relative: a step, or a wild sample, is not followed at once
	rows := make([]int, len(b.y))
	for i, y := range b.y {
		rows[i] = i
		b.gradient[i] = min(max(y-b.fit[i], -clip*y), clip*y)
	}
	b.tree = power.Tree{}
	b.split(rows, treeDepth, math.Inf(-1), math.Inf(1))
	return b.tree
}

// leafValue returns the regularised mean of a set, within bounds, and how much of the loss it takes away.
func leafValue(sum, weight, low, high float64) (value, gain float64) {
	value = min(max(sum/(weight+treePenalty), low), high)
	return value, 2*sum*value - (weight+treePenalty)*value*value
}

// split makes a node of some rows, whose values lie within bounds, and returns its index.
func (b *booster) split(rows []int, depth int, low, high float64) int32 {
	sum, weight := 0.0, 0.0
	for _, r := range rows {
		sum += b.weight[r] * b.gradient[r]
		weight += b.weight[r]
	}
	value, gain := leafValue(sum, weight, low, high)
	t := &b.tree
	at := int32(len(t.Left))
	t.Left, t.Right, t.Feature = append(t.Left, -1), append(t.Right, -1), append(t.Feature, 0)
	t.Value, t.MissingLeft = append(t.Value, float32(treeRate*value)), append(t.MissingLeft, false)
	in, bin, middle := -1, 0, 0.0
	if depth > 0 && len(rows) >= 2*treeLeaf {
		in, bin, middle = b.best(rows, sum, weight, gain, low, high)
	}
	if in < 0 {
		for _, r := range rows {
			b.fit[r] += treeRate * value
		}
		return at
	}
	var left, right []int
	for _, r := range rows {
		if int(b.bin[in][r]) <= bin {
			left = append(left, r)
		} else {
			right = append(right, r)
		}
	}
	t.Feature[at], t.Value[at] = int32(in), b.edge[in][bin]
	lowRight, highLeft := low, high
	if !b.free[in] {
		lowRight, highLeft = middle, middle
	}
	l := b.split(left, depth-1, low, highLeft)
	r := b.split(right, depth-1, lowRight, high)
	b.tree.Left[at], b.tree.Right[at] = l, r
	return at
}

// best returns the input and the last bin of the left side that take most of the loss away, and the middle of
// both sides' values; input -1 if none takes any.
func (b *booster) best(rows []int, sum, weight, gain, low, high float64) (in, bin int, middle float64) {
	in = -1
	count := make([]int, treeBins)
	for i := range b.x {
		clear(b.sum)
		clear(b.total)
		clear(count)
		for _, r := range rows {
			k := b.bin[i][r]
			b.sum[k] += b.weight[r] * b.gradient[r]
			b.total[k] += b.weight[r]
			count[k]++
		}
		s, w, n := 0.0, 0.0, 0
		for k := range b.edge[i] {
			s, w, n = s+b.sum[k], w+b.total[k], n+count[k]
			if n < treeLeaf || len(rows)-n < treeLeaf {
				continue
			}
			left, gl := leafValue(s, w, low, high)
			right, gr := leafValue(sum-s, weight-w, low, high)
			if !b.free[i] && left > right {
				continue
			}
			if g := gl + gr; g > gain*(1+1e-12)+1e-12 {
				gain, in, bin, middle = g, i, k, (left+right)/2
			}
		}
	}
	return in, bin, middle
}
