package batch

import (
	"context"
	"math"
	"time"
)

// tetris packs by alignment (Grandl et al., "Multi-resource packing for cluster schedulers", SIGCOMM 2014): it repeatedly takes the pair
// of job and node with the largest dot product of what the job needs and what the node has free, both as shares of the
// largest node, plus a small bonus for jobs with little work left. The bonus weighs as their paper proposes: the mean
// alignment over the mean remaining work.
type tetris struct{}

func (tetris) Name() string { return "tetris" }

func (tetris) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	align := func(j *Job, i int) float64 { return c.dot(j, i) }
	var sumA, sumP float64
	remaining := func(j *Job) float64 {
		return j.Demand.Lifetime.Seconds() * (j.Requests.CPU/max(c.largest.CPU, 1e-9) + j.Requests.Memory/max(c.largest.Memory, 1))
	}
	if len(jobs) > 1 {
		for k := range jobs {
			j := &jobs[k]
			best := 0.0
			for i := range c.nodes {
				if c.Fits(i, j) {
					best = max(best, align(j, i))
				}
			}
			sumA += best
			sumP += remaining(j)
		}
	}
	eps := 0.0
	if sumP > 0 {
		eps = sumA / sumP
	}
	return rounds(ctx, now, jobs, c, func(j *Job, i int) float64 { return eps*remaining(j) - align(j, i) }, false)
}

// dot is the alignment of a job's requests with what a node has free.
func (c *Cluster) dot(j *Job, i int) float64 {
	share := func(need, free, largest float64) float64 {
		if largest <= 0 {
			return 0
		}
		return need / largest * (free / largest)
	}
	v := share(j.Requests.CPU, c.freeCPU[i], c.largest.CPU) + share(j.Requests.Memory, c.freeMem[i], c.largest.Memory)
	if c.other {
		v += share(j.Requests.GPU, c.free[i].GPU, c.largest.GPU)
		for name, need := range j.Requests.Other {
			v += share(need, c.free[i].Other[name], c.largest.Other[name])
		}
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
		for name, need := range j.Requests.Other {
			v += share(need, c.free[i].Other[name])
		}
	}
	return v
}
