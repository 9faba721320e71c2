package batch

import (
	"math"
	"time"
)

// A ranking holds what a job of one size costs on each node: a binary tree with the least and the most of each half, so that the change of a
// node, and the search for the first node that costs little, take logarithmic time.
type ranking struct {
	at     uint64 // how many changes of the cluster are in it
	built  bool   // otherwise a job of this size came as of at
	leaves int    // a power of two
	// The least cost, and the most of those below unknownCost, where somebody asks for it.
	low, high []float64
}

// A node that fits, and of which no cost is known, costs more than all others. WAO has two kinds of such.
const unknownCost = 1e300

// set takes over what a node costs; +Inf is where the job does not fit.
func (t *ranking) set(i int, v float64) {
	k := t.leaves + i
	t.low[k] = v
	if t.high != nil {
		t.high[k] = most(v)
	}
	for k /= 2; k > 0; k /= 2 {
		low, same := t.low[2*k], true
		if w := t.low[2*k+1]; w < low {
			low = w
		}
		if t.low[k] != low {
			t.low[k], same = low, false
		}
		if t.high != nil {
			high := t.high[2*k]
			if w := t.high[2*k+1]; w > high {
				high = w
			}
			if t.high[k] != high {
				t.high[k], same = high, false
			}
		}
		if same {
			return
		}
	}
}

func most(v float64) float64 {
	if v < unknownCost {
		return v
	}
	return math.Inf(-1)
}

// build makes the ranking of n nodes anew.
func (t *ranking) build(n int, cost func(i int) float64, high bool) {
	if t.low == nil {
		for t.leaves = 1; t.leaves < n; t.leaves *= 2 {
		}
		t.low = make([]float64, 2*t.leaves)
		if high {
			t.high = make([]float64, 2*t.leaves)
		}
	}
	for i := range t.leaves {
		v := math.Inf(1)
		if i < n {
			v = cost(i)
		}
		t.low[t.leaves+i] = v
		if high {
			t.high[t.leaves+i] = most(v)
		}
	}
	for k := t.leaves - 1; k > 0; k-- {
		t.low[k] = min(t.low[2*k], t.low[2*k+1])
		if high {
			t.high[k] = max(t.high[2*k], t.high[2*k+1])
		}
	}
	t.built = true
}

// first returns the first node whose cost is good enough, or -1. What is good enough for a cost is so for all below it.
func (t *ranking) first(good func(v float64) bool) int {
	if !good(t.low[1]) {
		return -1
	}
	k := 1
	for k < t.leaves {
		if k *= 2; !good(t.low[k]) {
			k++
		}
	}
	return k - t.leaves
}

// best returns the first node with the least cost, and that cost; -1 and +Inf where the job fits nowhere.
func (t *ranking) best() (int, float64) {
	least := t.low[1]
	if least > math.MaxFloat64 {
		return -1, least
	}
	k := 1
	for k < t.leaves {
		if k *= 2; t.low[k] != least {
			k++
		}
	}
	return k - t.leaves, least
}

// size is what a job's costs depend on beside the node.
type size struct{ cpu, mem, gpu, use, life uint64 }

// repeated keeps the rankings of jobs that come in few sizes: when a size comes again after few changes of the cluster, only the nodes that have
// changed are asked for their costs.
type repeated struct {
	// cost is what a job costs on a node where it fits. NaN is not known.
	cost func(c *Cluster, j *Job, i int) float64
	high bool // whether rankings know the most, too
	more bool // whether costs depend on more of the nodes than on what is free
	// Whether costs depend on the work that is expected of jobs, and on their lifetimes.
	use, life bool

	cluster *Cluster
	sizes   map[size]*ranking
}

const (
	maxSizes = 128 // kept at one time
	// lateShare is the part of the nodes, as 1 over it, that may have changed for the rest of a ranking to be worth keeping.
	lateShare = 8
)

func (r *repeated) size(j *Job) size {
	s := size{cpu: math.Float64bits(j.Requests.CPU), mem: math.Float64bits(j.Requests.Memory), gpu: math.Float64bits(j.Requests.GPU)}
	if r.use {
		s.use = math.Float64bits(j.Demand.CPU)
	}
	if r.life {
		s.life = uint64(j.Demand.Lifetime)
	}
	return s
}

// ranking returns the costs of a job on all nodes, or nil where they are better found anew: the size comes for the first time or comes rarely, or
// the job asks for more than CPU, memory and GPUs.
func (r *repeated) ranking(j *Job, c *Cluster) *ranking {
	if j.Node != "" || len(j.Requests.Other) > 0 {
		return nil
	}
	if r.cluster != c {
		r.cluster, r.sizes = c, map[size]*ranking{}
	}
	changes := &c.freed
	if r.more {
		changes = &c.touched
	}
	key := r.size(j)
	t := r.sizes[key]
	if t == nil {
		if len(r.sizes) >= maxSizes {
			clear(r.sizes)
		}
		r.sizes[key] = &ranking{at: changes.n}
		return nil
	}
	late := changes.n - t.at
	if late > uint64(min(len(c.nodes)/lateShare, len(changes.last))) {
		t.at, t.built = changes.n, false
		return nil
	}
	if !t.built {
		t.build(len(c.nodes), func(i int) float64 { return r.of(c, j, i) }, r.high)
	} else {
		for n := t.at; n < changes.n; n++ {
			i := int(changes.last[n%uint64(len(changes.last))])
			t.set(i, r.of(c, j, i))
		}
	}
	t.at = changes.n
	return t
}

func (r *repeated) of(c *Cluster, j *Job, i int) float64 {
	if !c.Fits(i, j) {
		return math.Inf(1)
	}
	v := r.cost(c, j, i)
	if v != v || v > math.MaxFloat64 {
		return unknownCost
	}
	return v
}

// ranked is a rule that takes the least cost: for sizes that are repeated from their ranking, otherwise by a look at all nodes.
type ranked struct {
	repeated
	plain rule
}

func (r *ranked) choose(j *Job, now time.Duration, c *Cluster) int {
	if t := r.ranking(j, c); t != nil {
		i, _ := t.best()
		return i
	}
	return r.plain.choose(j, now, c)
}

// changes has the last nodes that have changed, in a ring; n counts them all.
type changes struct {
	last [1024]int32
	n    uint64
}

func (c *changes) add(i int) {
	c.last[c.n%uint64(len(c.last))] = int32(i)
	c.n++
}
