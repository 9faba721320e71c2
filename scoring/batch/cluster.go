package batch

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// A Node is a server as a strategy knows it: a [scoring.Node] and what it has to give.
type Node struct {
	scoring.Node

	// Allocatable is what jobs may reserve in all.
	Allocatable Resources

	// Site names the place whose grid the node is on; see [Grid].
	Site string

	// Wake is how long the node needs from off to ready, if it is off.
	Wake time.Duration

	// Down says that the node takes no jobs: failed, drained or cordoned.
	Down bool
}

// Cluster holds the nodes, what is free on them and how busy they are believed to be. Nodes are
// ordered by name, so that the lower index is the earlier name. It is not safe for concurrent use.
type Cluster struct {
	nodes []Node
	order []int // the caller's number of each node
	free  []Resources
	jobs  []int32 // running jobs per node
	until []time.Duration
	// SwitchOff says that nodes without jobs are switched off or suspended.
	switchOff bool

	// Flat copies for the loops over all nodes.
	freeCPU, freeMem []float64
	fitCPU           []float64 // what a job may ask for: nothing on a node that is down
	work             []float64 // cores of speed 1
	speed            []float64 // of a core
	partCPU, partMem []float64 // what is free, as a share of the largest node
	perWork          []float64 // 1 over work
	rises            []bool    // more load never draws less
	use              []float64 // cores of speed 1 in use, as believed
	curve            []*power.Piecewise
	env              []*power.Piecewise // through off power where nodes are switched off
	envAt, curveAt   []slopeAt
	// floor is a slope that the next cores cannot cost less than: where the node stands on its envelope, and on servers that stay on no more than the flattest of the
	// curve that is left. -Inf is not known.
	floor    []float64
	flattest [][]float64 // least slope of the curve from each knot on
	// least is the least slope of the curve from where the node stands to full use, where that is worth knowing: bounded says so of curves that rise
	// up to there, with slopes at which rounding comes nowhere near boundSlack. -Inf is not known.
	least                []float64
	bounded              []bool
	envKnots, curveKnots [][]power.Knot
	// The slope before each knot, in watts a core.
	envSlopes, curveSlopes [][]float64
	perCPU, perMem         []float64 // 1 over what is allocatable, 0 where nothing is
	largest                Resources
	tree                   *fitTree
	// freed has the changes of what is free, touched these and the changes of all else that costs depend on.
	freed, touched changes
	models         uint64        // counts changes of models, and of which nodes take jobs
	other          bool          // some node or job has GPUs or other resources
	journal        *[]nodeBefore // what Reserve has changed, where someone may want to undo it
}

// ClusterOptions tune a [Cluster]. The zero value is a cluster whose nodes are always on.
type ClusterOptions struct {
	// SwitchOff says that nodes without jobs are switched off or suspended.
	SwitchOff bool
}

// NewCluster returns a cluster of the nodes, which are copied. Names must differ. A node whose model is not a
// [*power.Piecewise] is tabulated once, at its present state. A node without a model, with a model that fails, or
// with [scoring.Node.Err] set, is kept and is the last choice of every strategy that looks at power.
func NewCluster(ctx context.Context, nodes []Node, o ClusterOptions) (*Cluster, error) {
	n := len(nodes)
	c := &Cluster{nodes: slices.Clone(nodes), order: make([]int, n), free: make([]Resources, n), jobs: make([]int32, n),
		until: make([]time.Duration, n), switchOff: o.SwitchOff,
		freeCPU: make([]float64, n), freeMem: make([]float64, n), fitCPU: make([]float64, n), work: make([]float64, n), perWork: make([]float64, n), rises: make([]bool, n), envAt: make([]slopeAt, n), curveAt: make([]slopeAt, n), use: make([]float64, n),
		floor: make([]float64, n), least: make([]float64, n), bounded: make([]bool, n), flattest: make([][]float64, n), envKnots: make([][]power.Knot, n), curveKnots: make([][]power.Knot, n),
		envSlopes: make([][]float64, n), curveSlopes: make([][]float64, n), perCPU: make([]float64, n), perMem: make([]float64, n),
		curve: make([]*power.Piecewise, n), env: make([]*power.Piecewise, n),
		speed: make([]float64, n), partCPU: make([]float64, n), partMem: make([]float64, n)}
	for i := range c.order {
		c.order[i] = i
	}
	slices.SortStableFunc(c.order, func(a, b int) int { return cmp.Compare(nodes[a].Name, nodes[b].Name) })
	for i, from := range c.order {
		d := &c.nodes[i]
		*d = nodes[from]
		if i > 0 && d.Name == c.nodes[i-1].Name {
			return nil, fmt.Errorf("two nodes are named %q", d.Name)
		}
		if err := d.Allocatable.Validate(); err != nil {
			return nil, fmt.Errorf("node %q: %w", d.Name, err)
		}
		work := d.Capacity.Work()
		if !(work >= 0 && work <= math.MaxFloat64) {
			return nil, fmt.Errorf("node %q: capacity is %v cores", d.Name, work)
		}
		c.free[i] = d.Allocatable.clone()
		c.work[i] = work
		if c.speed[i] = 1; d.Capacity.Speed > 0 {
			c.speed[i] = d.Capacity.Speed
		}
		if a := d.Allocatable.CPU; a > 0 {
			c.perCPU[i] = 1 / a
		}
		if a := d.Allocatable.Memory; a > 0 {
			c.perMem[i] = 1 / a
		}
		if u := d.State.Utilization; u > 0 {
			c.use[i] = u * work
		}
		if d.Allocatable.GPU > 0 || len(d.Allocatable.Other) > 0 {
			c.other = true
		}
		c.largest.CPU = max(c.largest.CPU, d.Allocatable.CPU)
		c.largest.Memory = max(c.largest.Memory, d.Allocatable.Memory)
		c.largest.GPU = max(c.largest.GPU, d.Allocatable.GPU)
		for name, v := range d.Allocatable.Other {
			if c.largest.Other == nil {
				c.largest.Other = map[string]float64{}
			}
			c.largest.Other[name] = max(c.largest.Other[name], v)
		}
		if err := c.learn(ctx, i); err != nil {
			return nil, err
		}
	}
	for i := range c.nodes {
		c.refresh(i) // the largest is known now
	}
	return c, nil
}

// learn takes over a node's model.
func (c *Cluster) learn(ctx context.Context, i int) error {
	d := &c.nodes[i]
	c.models++
	c.curve[i], c.env[i], c.floor[i], c.least[i] = nil, nil, math.Inf(-1), math.Inf(-1)
	c.curveAt[i], c.envAt[i] = slopeAt{room: -1, reach: -1}, slopeAt{room: -1, reach: -1}
	if d.Err != nil || d.Predictor == nil || !(c.work[i] > 0) {
		return nil
	}
	c.perWork[i] = 1 / c.work[i]
	p, err := power.Tabulate(ctx, d.Predictor, d.State, 20)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		d.Err = err
		return nil
	}
	c.curve[i] = p
	c.env[i] = p.Envelope()
	knots := p.Knots()
	c.rises[i] = slices.IsSortedFunc(knots, func(a, b power.Knot) int { return cmp.Compare(a.Watts, b.Watts) }) && p.Idle() >= d.OffPower
	if c.switchOff {
		c.env[i] = p.EnvelopeFromOff(d.OffPower)
	}
	c.envKnots[i], c.curveKnots[i] = c.env[i].Knots(), knots
	c.envSlopes[i], c.curveSlopes[i] = slopes(c.envKnots[i], c.perWork[i]), slopes(knots, c.perWork[i])
	c.flattest[i] = flattestFrom(c.curveSlopes[i])
	const steep = 1e6 // watts, for all of a server
	c.bounded[i] = c.rises[i] && knots[len(knots)-1].Utilization == 1 && p.Peak() <= steep && slices.Max(c.curveSlopes[i])*c.work[i] <= steep
	c.locate(i)
	return nil
}

// SetModel replaces what is believed of a node's power; with nil nothing is known of it any more.
func (c *Cluster) SetModel(i int, p *power.Piecewise) {
	c.nodes[i].Predictor, c.nodes[i].Err = nil, nil
	if p != nil {
		c.nodes[i].Predictor = p
	}
	c.touched.add(i)
	_ = c.learn(context.Background(), i) // a Piecewise is neither slow nor able to fail
}

// Len returns the number of nodes.
func (c *Cluster) Len() int { return len(c.nodes) }

// Node returns a node, with its present utilization and state. Changes to it have no effect.
func (c *Cluster) Node(i int) Node {
	d := c.nodes[i]
	d.State.Node = d.Name
	d.State.Utilization = 0
	if c.work[i] > 0 {
		d.State.Utilization = c.use[i] / c.work[i]
	}
	return d
}

// Find returns the index of the node with a name, or -1.
func (c *Cluster) Find(name string) int {
	i, ok := slices.BinarySearchFunc(c.nodes, name, func(n Node, s string) int { return cmp.Compare(n.Name, s) })
	if !ok {
		return -1
	}
	return i
}

// Original returns which of the nodes given to NewCluster has index i here.
func (c *Cluster) Original(i int) int { return c.order[i] }

// Free returns what is not reserved on a node.
func (c *Cluster) Free(i int) Resources { return c.free[i].clone() }

// Jobs returns how many jobs run on a node.
func (c *Cluster) Jobs(i int) int { return int(c.jobs[i]) }

// SwitchOff reports whether nodes without jobs are switched off.
func (c *Cluster) SwitchOff() bool { return c.switchOff }

// Fits reports whether a job can be placed on a node now.
func (c *Cluster) Fits(i int, j *Job) bool {
	return j.Requests.CPU <= c.fitCPU[i] && j.Requests.Memory <= c.freeMem[i] && (!c.special(j) || c.fitsSpecial(i, j))
}

// special tells whether a job needs more than a look at CPU and memory.
func (c *Cluster) special(j *Job) bool {
	return c.other || j.Node != "" || j.Requests.GPU > 0 || j.Requests.Other != nil
}

func (c *Cluster) fitsSpecial(i int, j *Job) bool {
	if c.other && !j.Requests.Fits(&c.free[i]) || !c.other && (j.Requests.GPU > 0 || len(j.Requests.Other) > 0) {
		return false
	}
	return j.Node == "" || j.Node == c.nodes[i].Name
}

// Reserve places a job on a node as of now: its requests are taken and its expected work counts as use. The
// job need not fit.
func (c *Cluster) Reserve(i int, j *Job, now time.Duration) {
	if c.journal != nil {
		*c.journal = append(*c.journal, nodeBefore{c.use[i], c.until[i], c.nodes[i].Off})
	}
	c.take(i, j, 1)
	c.jobs[i]++
	if j.Demand.Lifetime > 0 {
		c.until[i] = max(c.until[i], now+j.Demand.Lifetime)
	}
	c.nodes[i].Off = false
}

// Release is the end of a job that was reserved with the same values.
func (c *Cluster) Release(i int, j *Job) {
	if c.jobs[i]--; c.jobs[i] != 0 {
		c.take(i, j, -1)
		return
	}
	// Nothing runs: forget what rounding has left.
	c.until[i] = 0
	c.free[i] = c.nodes[i].Allocatable.clone()
	c.use[i] = 0
	c.refresh(i)
}

// nodeBefore is what of a node releasing a job does not give back.
type nodeBefore struct {
	use   float64
	until time.Duration
	off   bool
}

// undo takes back a plan that was reserved with a journal, and nothing else has been reserved since.
func (c *Cluster) undo(p *Plan, jobs []Job) {
	for n, a := range slices.Backward(p.Assigned) {
		i, b := a.Node, &(*c.journal)[n]
		c.Release(i, &jobs[a.Job])
		c.use[i], c.until[i], c.nodes[i].Off = b.use, b.until, b.off
		c.locate(i)
	}
	*c.journal = (*c.journal)[:0]
}

func (c *Cluster) take(i int, j *Job, sign float64) {
	if c.other {
		c.free[i].add(&j.Requests, -sign)
	} else {
		c.free[i].CPU -= sign * j.Requests.CPU
		c.free[i].Memory -= sign * j.Requests.Memory
	}
	c.use[i] = max(0, c.use[i]+sign*j.Demand.CPU)
	c.refresh(i)
}

// refresh brings the flat copies of what is free on a node up to date.
func (c *Cluster) refresh(i int) {
	c.freeCPU[i], c.freeMem[i] = c.free[i].CPU, c.free[i].Memory
	c.fitCPU[i] = c.freeCPU[i] + fitSlack
	if c.nodes[i].Down {
		c.fitCPU[i] = -1
	}
	c.partCPU[i], c.partMem[i] = part(c.freeCPU[i], c.largest.CPU), part(c.freeMem[i], c.largest.Memory)
	c.freed.add(i)
	c.touched.add(i)
	c.locate(i)
	c.tree.set(i, c)
}

func part(v, of float64) float64 {
	if of <= 0 {
		return 0
	}
	return v / of
}

// SetUse says how busy a node was measured to be, in cores of speed 1. A value that is not a finite number says nothing, and leaves what was believed.
func (c *Cluster) SetUse(i int, cores float64) {
	if math.IsNaN(cores) || math.IsInf(cores, 0) {
		return
	}
	c.use[i] = max(0, cores)
	c.touched.add(i)
	c.locate(i)
}

// Use returns how busy a node is believed to be, in cores of speed 1.
func (c *Cluster) Use(i int) float64 { return c.use[i] }

// SetUntil says until when the jobs on a node are expected to keep it in use.
func (c *Cluster) SetUntil(i int, t time.Duration) { c.until[i] = t }

// SetOff says whether a node is switched off.
func (c *Cluster) SetOff(i int, off bool) {
	c.nodes[i].Off = off
	c.touched.add(i)
}

// SetDown says whether a node takes jobs.
func (c *Cluster) SetDown(i int, down bool) {
	c.nodes[i].Down = down
	c.models++
	c.refresh(i)
}

// Largest returns the most that any one node has of each resource, not all of it on one node.
func (c *Cluster) Largest() Resources { return c.largest.clone() }

// CanEver reports whether an empty cluster has a node for the job.
func (c *Cluster) CanEver(j *Job) bool {
	for i := range c.nodes {
		if (j.Node == "" || j.Node == c.nodes[i].Name) && j.Requests.Fits(&c.nodes[i].Allocatable) {
			return true
		}
	}
	return false
}
