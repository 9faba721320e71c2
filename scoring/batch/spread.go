package batch

import (
	"math"
	"math/rand/v2"
	"time"
)

// firstFit takes the first node by name (FCFS with backfilling: a job that does not fit waits, the next is tried).
type firstFit struct{}

func (firstFit) choose(j *Job, _ time.Duration, c *Cluster) int { return c.FirstFit(j, 0) }

// roundRobin goes on from the node after the last one used.
type roundRobin struct{ next int }

func (r *roundRobin) choose(j *Job, _ time.Duration, c *Cluster) int {
	i := c.FirstFit(j, r.next)
	if i < 0 {
		i = c.FirstFit(j, 0)
	}
	if i >= 0 {
		r.next = (i + 1) % c.Len()
	}
	return i
}

// random takes any node that fits, each equally likely.
type random struct{ rnd *rand.Rand }

func (r *random) choose(j *Job, _ time.Duration, c *Cluster) int {
	best, seen := -1, 0
	for range 16 { // most often a few draws find one
		if c.Len() == 0 {
			return -1
		}
		if i := r.rnd.IntN(c.Len()); c.Fits(i, j) {
			return i
		}
	}
	for i := range c.nodes {
		if c.Fits(i, j) {
			if seen++; r.rnd.IntN(seen) == 0 {
				best = i
			}
		}
	}
	return best
}

// requested returns the shares of CPU and memory that would be reserved on node i with the job.
func (c *Cluster) requested(i int, j *Job) (cpu, mem float64) {
	if p := c.perCPU[i]; p > 0 {
		cpu = 1 - (c.freeCPU[i]-j.Requests.CPU)*p
	}
	if p := c.perMem[i]; p > 0 {
		mem = 1 - (c.freeMem[i]-j.Requests.Memory)*p
	}
	return cpu, mem
}

// The integer scores below follow kube-scheduler's NodeResourcesFit and NodeResourcesBalancedAllocation with equal
// weights for CPU and memory (Kubernetes documentation, "Resource bin packing" and "Scheduler configuration"). The scheduler breaks ties at
// random; here the earlier name wins.

// leastAllocated is NodeResourcesFit with LeastAllocated: the mean free share.
type leastAllocated struct{}

func (leastAllocated) choose(j *Job, _ time.Duration, c *Cluster) int {
	return least(c, j, func(i int) float64 { return -leastScore(c, i, j) })
}

// whole cuts the digits after the point; a share that is free or reserved is not negative.
func whole(x float64) float64 { return float64(int64(x)) }

func leastScore(c *Cluster, i int, j *Job) float64 { return freeScore(c.requested(i, j)) }

func freeScore(cpu, mem float64) float64 {
	return whole((whole(100*(1-cpu)+1e-9) + whole(100*(1-mem)+1e-9)) / 2)
}

// mostAllocated is NodeResourcesFit with MostAllocated: the mean reserved share.
type mostAllocated struct{}

func (mostAllocated) choose(j *Job, _ time.Duration, c *Cluster) int {
	return least(c, j, func(i int) float64 {
		cpu, mem := c.requested(i, j)
		return -whole((whole(100*cpu+1e-9) + whole(100*mem+1e-9)) / 2)
	})
}

// kubernetes is the default profile's resource scores: LeastAllocated plus BalancedAllocation, weight 1 each.
type kubernetes struct{}

func (r kubernetes) choose(j *Job, _ time.Duration, c *Cluster) int {
	return least(c, j, func(i int) float64 { return r.cost(i, j, c) })
}

func (kubernetes) cost(i int, j *Job, c *Cluster) float64 {
	cpu, mem := c.requested(i, j)
	// The standard deviation of two values is half their distance.
	balanced := whole(100*(1-math.Abs(min(cpu, 1)-min(mem, 1))/2) + 1e-9)
	return -(freeScore(cpu, mem) + balanced)
}
