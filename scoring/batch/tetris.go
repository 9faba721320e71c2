package batch

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"
)

// tetris packs by alignment (Grandl et al., "Multi-resource packing for cluster schedulers", SIGCOMM 2014): it repeatedly takes the pair
// of job and node with the largest dot product of what the job needs and what the node has free, both as shares of the
// largest node, plus a small bonus for jobs with little work left. The bonus weighs as their paper proposes: the mean
// alignment over the mean remaining work.
type tetris struct{ repeated }

func newTetris() *tetris { return &tetris{repeated{cost: misaligned}} }

func (*tetris) forgets() bool { return true }

func (*tetris) Name() string { return "tetris" }

// misaligned is the cost of one job alone: minus its alignment.
func misaligned(c *Cluster, j *Job, i int) float64 { return -c.dot(j, i) }

func (p *tetris) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	if len(jobs) == 1 {
		return rounds(ctx, now, jobs, c, func(j *Job, c *Cluster) (int, float64) {
			if t := p.ranking(j, c); t != nil {
				return t.best()
			}
			return c.aligned(j, 0)
		}, false)
	}
	var sumA, sumP float64
	remaining := func(j *Job) float64 {
		return j.Demand.Lifetime.Seconds() * (j.Requests.CPU/max(c.largest.CPU, 1e-9) + j.Requests.Memory/max(c.largest.Memory, 1))
	}
	for k := range jobs {
		j := &jobs[k]
		if i, cost := c.aligned(j, 0); i >= 0 {
			sumA += max(0, -cost)
		}
		sumP += remaining(j)
	}
	eps := 0.0
	if sumP > 0 {
		eps = sumA / sumP
	}
	return rounds(ctx, now, jobs, c, func(j *Job, c *Cluster) (int, float64) { return c.aligned(j, eps*remaining(j)) }, false)
}

// aligned returns the node where base less the alignment of a job is least, and that cost.
func (c *Cluster) aligned(j *Job, base float64) (int, float64) {
	at, best := -1, math.Inf(1)
	s := c.scan(j)
	cpu, mem := part(s.cpu, c.largest.CPU), part(s.mem, c.largest.Memory)
	partCPU, partMem := c.partCPU[:len(s.fitCPU)], c.partMem[:len(s.fitCPU)]
	for i, fit := range s.fitCPU {
		v := cpu*partCPU[i] + mem*partMem[i]
		if c.other {
			v = c.dotOther(v, j, i)
		}
		if v = base - v; !(v < best) { // the fewest come further, whereas whether a job fits is hard to foresee
			continue
		}
		if s.cpu > fit || s.mem > s.freeMem[i] || s.special && !c.fitsSpecial(i, j) {
			continue
		}
		at, best = i, v
	}
	return at, best
}

// dot is the alignment of a job's requests with what a node has free, both as shares of the largest node.
func (c *Cluster) dot(j *Job, i int) float64 {
	v := part(j.Requests.CPU, c.largest.CPU)*c.partCPU[i] + part(j.Requests.Memory, c.largest.Memory)*c.partMem[i]
	if c.other {
		v = c.dotOther(v, j, i)
	}
	return v
}

// dotOther adds GPUs and other resources to an alignment, in the order of their names: sums of floats depend on it.
func (c *Cluster) dotOther(v float64, j *Job, i int) float64 {
	v += part(j.Requests.GPU, c.largest.GPU) * part(c.free[i].GPU, c.largest.GPU)
	for _, name := range slices.Sorted(maps.Keys(j.Requests.Other)) {
		v += part(j.Requests.Other[name], c.largest.Other[name]) * part(c.free[i].Other[name], c.largest.Other[name])
	}
	return v
}

// tightness is ECSched's cost for packing tightly: the sum over resources of what the job needs over what is free.
func (c *Cluster) tightness(j *Job, i int) float64 {
	share := func(need, free float64) float64 {
		if need <= 0 {
			return 0
		}
		if free <= 0 {
			return math.Inf(1)
		}
		return need / free
	}
	v := share(j.Requests.CPU, c.freeCPU[i]) + share(j.Requests.Memory, c.freeMem[i])
	if c.other {
		v += share(j.Requests.GPU, c.free[i].GPU)
		for _, name := range slices.Sorted(maps.Keys(j.Requests.Other)) {
			v += share(j.Requests.Other[name], c.free[i].Other[name])
		}
	}
	return v
}
