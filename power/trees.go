package power

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Bounds on [Trees], so that a foreign file cannot ask for unbounded memory or work.
const (
	MaxTrees     = 1 << 16
	MaxTreeNodes = 1 << 20 // of all trees
	MaxTreeDepth = 64
)

// A Tree is a regression tree, node 0 its root. A node with Left −1 is a leaf and Value its watts. Any other
// sends an input below Value, compared in float32, to Left, and the rest to Right.
type Tree struct {
	Left, Right []int32
	Feature     []int32   // which input a node looks at
	Value       []float32 // threshold, or watts of a leaf
	MissingLeft []bool    // where an input that is NaN goes: only Margin needs it; nil means right
}

// An Ensemble holds the parameters of [Trees]: the watts are Base plus what each tree answers, added up in
// order in float32, as XGBoost does.
type Ensemble struct {
	Inputs []Input
	Base   float32
	Trees  []Tree
}

// Trees are gradient-boosted regression trees. They answer every state, far outside what they were trained
// on too, with the watts at its edge.
type Trees struct {
	ensemble Ensemble
	nodes    []treeNode
	groups   []treeGroup
}

// treeNode is 16 bytes. Its right child follows its left one, so that a step needs no branch: a leaf is its
// own left child and compares with NaN, which is never reached.
type treeNode struct {
	threshold float32
	left      int32
	value     float32
	feature   uint8
	missing   bool // goes left
}

// A treeGroup is trees that are walked side by side, so that one's loads overlap with another's. A last
// group that is not full repeats a tree, whose answer is not counted.
type treeGroup struct {
	roots [group]int32
	count int
	depth int
}

const group = 4

// NewTrees returns the ensemble, whose slices are copied. A node outside its tree, a cycle, a node with two
// parents and a number that is not finite are errors.
func NewTrees(e Ensemble) (*Trees, error) {
	if len(e.Inputs) == 0 || len(e.Inputs) > MaxInputs {
		return nil, fmt.Errorf("trees have %d inputs: want 1 to %d", len(e.Inputs), MaxInputs)
	}
	for i, in := range e.Inputs {
		if in == "" || slices.Contains(e.Inputs[:i], in) {
			return nil, fmt.Errorf("trees, input %d: %q is empty or given twice", i, in)
		}
	}
	if len(e.Trees) > MaxTrees {
		return nil, fmt.Errorf("%d trees: at most %d are allowed", len(e.Trees), MaxTrees)
	}
	if !finite(float64(e.Base)) {
		return nil, fmt.Errorf("trees: base is %v", e.Base)
	}
	t := &Trees{ensemble: Ensemble{Inputs: slices.Clone(e.Inputs), Base: e.Base, Trees: slices.Clone(e.Trees)}}
	total := 0
	for i := range t.ensemble.Trees {
		tree := &t.ensemble.Trees[i]
		*tree = Tree{slices.Clone(tree.Left), slices.Clone(tree.Right), slices.Clone(tree.Feature),
			slices.Clone(tree.Value), slices.Clone(tree.MissingLeft)}
		if total += len(tree.Left); total > MaxTreeNodes {
			return nil, fmt.Errorf("trees have more than %d nodes", MaxTreeNodes)
		}
		root := int32(len(t.nodes))
		depth, err := t.grow(tree)
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
		if i%group == 0 {
			t.groups = append(t.groups, treeGroup{roots: [group]int32{root, root, root, root}})
		}
		g := &t.groups[len(t.groups)-1]
		g.roots[i%group], g.count, g.depth = root, i%group+1, max(g.depth, depth)
	}
	return t, nil
}

// grow adds a tree's nodes in breadth-first order, each pair of children side by side.
func (t *Trees) grow(tree *Tree) (depth int, err error) {
	n := len(tree.Left)
	if n == 0 || len(tree.Right) != n || len(tree.Feature) != n || len(tree.Value) != n ||
		tree.MissingLeft != nil && len(tree.MissingLeft) != n {
		return 0, fmt.Errorf("%d left, %d right, %d features, %d values: want as many of each, and at least 1",
			n, len(tree.Right), len(tree.Feature), len(tree.Value))
	}
	type place struct{ from, to, depth int32 }
	seen := make([]bool, n)
	seen[0] = true
	queue := []place{{0, int32(len(t.nodes)), 0}}
	t.nodes = append(t.nodes, treeNode{})
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		depth = max(depth, int(p.depth))
		v := tree.Value[p.from]
		if !finite(float64(v)) {
			return 0, fmt.Errorf("node %d: value %v is not finite", p.from, v)
		}
		left, right := tree.Left[p.from], tree.Right[p.from]
		if left == -1 {
			t.nodes[p.to] = treeNode{threshold: float32(math.NaN()), left: p.to, value: v}
			continue
		}
		if p.depth == MaxTreeDepth {
			return 0, fmt.Errorf("more than %d deep", MaxTreeDepth)
		}
		f := tree.Feature[p.from]
		if f < 0 || int(f) >= len(t.ensemble.Inputs) {
			return 0, fmt.Errorf("node %d: feature %d of %d", p.from, f, len(t.ensemble.Inputs))
		}
		at := int32(len(t.nodes))
		for k, child := range [2]int32{left, right} {
			if child < 0 || int(child) >= n {
				return 0, fmt.Errorf("node %d: child %d of %d nodes", p.from, child, n)
			}
			if seen[child] {
				return 0, fmt.Errorf("node %d: child %d has a parent already: the nodes are not a tree", p.from, child)
			}
			seen[child] = true
			queue = append(queue, place{child, at + int32(k), p.depth + 1})
		}
		t.nodes = append(t.nodes, treeNode{}, treeNode{})
		t.nodes[p.to] = treeNode{threshold: v, left: at, feature: uint8(f), missing: tree.MissingLeft != nil && tree.MissingLeft[p.from]}
	}
	return depth, nil
}

// Predict implements [Predictor].
func (t *Trees) Predict(_ context.Context, s State) (Watts, error) {
	var x [MaxInputs]float32
	for i, in := range t.ensemble.Inputs {
		v, err := s.Value(in)
		if err != nil {
			return 0, err
		}
		x[i] = float32(v)
	}
	return check(&s, float64(t.sum(&x)))
}

// sum adds the trees' answers for inputs of which none is NaN.
func (t *Trees) sum(x *[MaxInputs]float32) float32 {
	nodes, sum := t.nodes, t.ensemble.Base
	for k := range t.groups {
		g := &t.groups[k]
		a, b, c, d := g.roots[0], g.roots[1], g.roots[2], g.roots[3]
		for range g.depth {
			a, b, c, d = step(nodes, a, x), step(nodes, b, x), step(nodes, c, x), step(nodes, d, x)
		}
		if g.count == group {
			sum += nodes[a].value
			sum += nodes[b].value
			sum += nodes[c].value
			sum += nodes[d].value
			continue
		}
		for i, n := range [group]int32{a, b, c, d} {
			if i < g.count {
				sum += nodes[n].value
			}
		}
	}
	return sum
}

// step returns the child of a node for the inputs x, without a branch.
func step(nodes []treeNode, i int32, x *[MaxInputs]float32) int32 {
	n := &nodes[i]
	var right int32
	if x[n.feature] >= n.threshold {
		right = 1
	}
	return n.left + right
}

// Margin returns what XGBoost itself calls the prediction for a row of float32 features, where NaN stands for
// a missing one. Use it to check an imported model; [Trees.Predict] takes no missing input.
func (t *Trees) Margin(features []float32) (float32, error) {
	if len(features) != len(t.ensemble.Inputs) {
		return 0, fmt.Errorf("%d features: the trees have %d inputs", len(features), len(t.ensemble.Inputs))
	}
	sum := t.ensemble.Base
	for k := range t.groups {
		g := &t.groups[k]
		for _, i := range g.roots[:g.count] {
			n := &t.nodes[i]
			for n.left != i {
				v := features[n.feature]
				i = n.left
				if v >= n.threshold || v != v && !n.missing {
					i++
				}
				n = &t.nodes[i]
			}
			sum += n.value
		}
	}
	return sum, nil
}

// Ensemble returns the parameters. Its slices must not be changed.
func (t *Trees) Ensemble() Ensemble { return t.ensemble }

// Inputs implements [InputLister].
func (t *Trees) Inputs() []Input { return slices.Clone(t.ensemble.Inputs) }
