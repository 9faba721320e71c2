package batch

import (
	"cmp"
	"math"
	"slices"

	"github.com/leastwatt/leastwatt/power"
)

// boundTree finds the nodes where a job may cost little: a binary tree over the nodes, the most efficient first, with the lowest floor and the
// most CPU that is free of each half. Efficient servers are mostly full and the others mostly too dear, so that a search leaves out most halves at
// once. Of servers of one kind in one state it shows the first one alone: no job could tell the others from it. The zero value has no cluster.
type boundTree struct {
	cluster *Cluster
	at      uint64 // how many changes of the cluster are in it
	models  uint64 // and how many of its models
	quiet   int    // questions in a row between which little has changed, before it is built
	built   bool
	leaves  int // a power of two
	node    []int32
	leaf    []int32 // of each node
	floor   []float64
	fit     []float64

	kind  []int32 // of each node; -1 is one like no other
	group []*group
	alike map[state]*group
}

// A kind is what nodes must have in common to be alike when they do the same.
type kind struct {
	curve             *power.Piecewise
	off               power.Watts
	work, cpu, memory float64
}

// A state is all of a node that costs and ties depend on, but for until when it is in use.
type state struct {
	kind             int32
	busy             bool
	use, cpu, memory float64
}

// A group is the nodes in one state, in order.
type group struct {
	state state
	nodes []int32
}

const (
	// boundNodes is how many nodes a cluster must have for a tree to be worth keeping.
	boundNodes = 256
	// buildQuiet is how many questions must come, with little that changes between them, for a tree to be worth building.
	buildQuiet = 32
)

// follow brings the tree up to date, and reports false where that costs more than a look at all nodes.
func (t *boundTree) follow(c *Cluster) bool {
	n := c.Len()
	if n < boundNodes {
		return false
	}
	if t.cluster != c {
		*t = boundTree{cluster: c, at: c.touched.n, models: c.models}
		return false
	}
	late := c.touched.n - t.at
	if c.models != t.models || late > uint64(min(n/lateShare, len(c.touched.last))) {
		t.at, t.models, t.built, t.quiet = c.touched.n, c.models, false, 0
		return false
	}
	if t.built {
		for ; t.at < c.touched.n; t.at++ {
			t.set(c.touched.last[t.at%uint64(len(c.touched.last))])
		}
		return true
	}
	t.at = c.touched.n
	if t.quiet++; t.quiet < buildQuiet {
		return false
	}
	t.build()
	return true
}

func (t *boundTree) build() {
	c := t.cluster
	n := c.Len()
	if t.node == nil {
		for t.leaves = 1; t.leaves < n; t.leaves *= 2 {
		}
		t.node, t.leaf, t.kind, t.group = make([]int32, n), make([]int32, n), make([]int32, n), make([]*group, n)
		t.floor, t.fit = make([]float64, 2*t.leaves), make([]float64, 2*t.leaves)
		for i := range t.node {
			t.node[i] = int32(i)
		}
	}
	slope := make([]float64, n)
	first := map[kind]int32{} // node of each kind
	for i, e := range c.env {
		slope[i], t.kind[i], t.group[i] = math.Inf(1), -1, nil
		if e == nil {
			continue
		}
		slope[i] = float64(e.Peak()-e.Idle()) * c.perWork[i]
		if c.other {
			continue // what else they have to give may differ
		}
		d := &c.nodes[i]
		of := kind{c.curve[i], d.OffPower, c.work[i], d.Allocatable.CPU, d.Allocatable.Memory}
		if k, ok := first[of]; ok {
			t.kind[i], t.kind[k] = k, k
		} else {
			first[of] = int32(i)
		}
	}
	t.alike = map[state]*group{}
	for i := range c.nodes {
		t.enter(int32(i))
	}
	slices.SortFunc(t.node, func(a, b int32) int { return cmp.Or(cmp.Compare(slope[a], slope[b]), cmp.Compare(a, b)) })
	for k := range t.leaves {
		t.floor[t.leaves+k], t.fit[t.leaves+k] = math.Inf(1), math.Inf(-1)
		if k < n {
			t.leaf[t.node[k]] = int32(k)
			t.floor[t.leaves+k], t.fit[t.leaves+k] = t.of(t.node[k])
		}
	}
	for k := t.leaves - 1; k > 0; k-- {
		t.floor[k], t.fit[k] = t.join(k)
	}
	t.built = true
}

// stateOf returns the state of a node, and false if it has to be seen by itself.
func (t *boundTree) stateOf(i int32) (state, bool) {
	c := t.cluster
	if t.kind[i] < 0 || c.switchOff && c.jobs[i] > 0 { // until when it is in use counts
		return state{}, false
	}
	return state{kind: t.kind[i], busy: c.jobs[i] > 0, use: c.use[i], cpu: c.fitCPU[i], memory: c.freeMem[i]}, true
}

// enter puts a node into the group of its state, and returns another node that is not the first any more, or -1.
func (t *boundTree) enter(i int32) int32 {
	s, ok := t.stateOf(i)
	if !ok {
		t.group[i] = nil
		return -1
	}
	g := t.alike[s]
	if g == nil {
		g = &group{state: s}
		t.alike[s] = g
	}
	t.group[i] = g
	at, _ := slices.BinarySearch(g.nodes, i)
	g.nodes = slices.Insert(g.nodes, at, i)
	if at == 0 && len(g.nodes) > 1 {
		return g.nodes[1]
	}
	return -1
}

// leave takes a node out of its group, and returns another node that is the first now, or -1.
func (t *boundTree) leave(i int32) int32 {
	g := t.group[i]
	if g == nil {
		return -1
	}
	at, _ := slices.BinarySearch(g.nodes, i)
	g.nodes = slices.Delete(g.nodes, at, at+1)
	switch {
	case len(g.nodes) == 0:
		delete(t.alike, g.state)
	case at == 0:
		return g.nodes[0]
	}
	return -1
}

// of returns what a node's leaf shows.
func (t *boundTree) of(i int32) (floor, fit float64) {
	if g := t.group[i]; g != nil && g.nodes[0] != i {
		return math.Inf(1), math.Inf(-1)
	}
	return t.cluster.floor[i], t.cluster.fitCPU[i]
}

func (t *boundTree) join(k int) (floor, fit float64) {
	floor, fit = t.floor[2*k], t.fit[2*k]
	if v := t.floor[2*k+1]; v < floor { // min and max take several times as long
		floor = v
	}
	if v := t.fit[2*k+1]; v > fit {
		fit = v
	}
	return floor, fit
}

// set takes over what has changed on node i.
func (t *boundTree) set(i int32) {
	if s, ok := t.stateOf(i); ok != (t.group[i] != nil) || ok && t.group[i].state != s {
		for _, k := range [...]int32{t.leave(i), t.enter(i)} {
			if k >= 0 {
				t.show(k)
			}
		}
	}
	t.show(i)
}

// show brings the leaf of a node up to date, and the halves that it is in.
func (t *boundTree) show(i int32) {
	k := t.leaves + int(t.leaf[i])
	floor, fit := t.of(i)
	for t.floor[k] != floor || t.fit[k] != fit {
		t.floor[k], t.fit[k] = floor, fit
		if k /= 2; k == 0 {
			return
		}
		floor, fit = t.join(k)
	}
}

// next returns the first place in the order of the tree, from k on, where so much CPU is free and d cores may cost no more than the limit, or -1.
func (t *boundTree) next(k int, cpu, d, limit float64) int {
	if k >= t.leaves {
		return -1
	}
	k += t.leaves
	for {
		if !(cpu > t.fit[k] || t.floor[k]*d > limit) {
			if k >= t.leaves {
				return k - t.leaves
			}
			k *= 2
			continue
		}
		for k&1 == 1 { // last of its pair: up to the next half on the right
			if k /= 2; k == 0 {
				return -1
			}
		}
		k++
	}
}
