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

// requested is the share of a resource that would be reserved on a node with the job: per is 1 over what the node has of it.
func requested(free, need, per float64) float64 {
	if per > 0 {
		return 1 - (free-need)*per
	}
	return 0
}

// shares makes a cost of a score of the shares of CPU and memory that would be reserved.
func shares(score func(cpu, mem float64) float64) func(c *Cluster, j *Job, i int) float64 {
	return func(c *Cluster, j *Job, i int) float64 {
		return -score(requested(c.freeCPU[i], j.Requests.CPU, c.perCPU[i]), requested(c.freeMem[i], j.Requests.Memory, c.perMem[i]))
	}
}

// The integer scores below follow kube-scheduler's NodeResourcesFit and NodeResourcesBalancedAllocation with equal
// weights for CPU and memory (Kubernetes documentation, "Resource bin packing" and "Scheduler configuration"). The scheduler breaks ties at
// random; here the earlier name wins.
//
// Cutting digits never makes a positive number larger, so the same formula without cuts bounds a score from above. Most nodes are
// passed over by that bound, which is a few additions, once a good one has been seen; cutSlack is more than its rounding. Whether a job fits is asked
// afterwards, because processors foresee it badly.
const cutSlack = 1e-6

// brims tells whether a job may fill a node to more than its brim.
func brims(free, need float64) bool { return math.Abs(free-need) <= 2*fitSlack }

// whole cuts the digits after the point; a share that is free or reserved is not negative.
func whole(x float64) float64 { return float64(int64(x)) }

// fullness follows what is reserved on each node: half the percent of its CPU and half that of its memory, together, and by how much a core and a byte
// raise that.
type fullness struct {
	cluster                  *Cluster
	at                       uint64 // how many of its changes are in it
	reserved, perCPU, perMem []float64
	last                     int // node that was chosen: mostly it is still a good one
}

func (f *fullness) follow(c *Cluster) {
	if f.cluster != c || c.freed.n-f.at > uint64(len(c.freed.last)) {
		n := c.Len()
		*f = fullness{cluster: c, at: c.freed.n, reserved: make([]float64, n), perCPU: make([]float64, n), perMem: make([]float64, n)}
		for i := range n {
			f.look(i)
		}
		return
	}
	for ; f.at < c.freed.n; f.at++ {
		f.look(int(c.freed.last[f.at%uint64(len(c.freed.last))]))
	}
}

func (f *fullness) look(i int) {
	c := f.cluster
	f.perCPU[i], f.perMem[i] = 50*c.perCPU[i], 50*c.perMem[i]
	f.reserved[i] = 50 * (requested(c.freeCPU[i], 0, c.perCPU[i]) + requested(c.freeMem[i], 0, c.perMem[i]))
}

// highest returns the first node that a job fits on with the highest score, where sign times the percent reserved, and base, is no lower than the score.
func (f *fullness) highest(j *Job, c *Cluster, base, sign float64, score func(cpu, mem float64) float64) int {
	if c.Len() == 0 {
		return -1
	}
	f.follow(c)
	best, most := -1, math.Inf(-1)
	s := c.scan(j)
	of := func(i int) float64 {
		return score(requested(c.freeCPU[i], s.cpu, c.perCPU[i]), requested(c.freeMem[i], s.mem, c.perMem[i]))
	}
	if c.Fits(f.last, j) {
		most = of(f.last) - 1 // an earlier node may have as much
	}
	reserved := f.reserved
	perCPU, perMem, fitCPU, freeMem := f.perCPU[:len(reserved)], f.perMem[:len(reserved)], s.fitCPU[:len(reserved)], s.freeMem[:len(reserved)]
	cpu, mem := sign*s.cpu, sign*s.mem
	for i, r := range reserved {
		if sign*r+cpu*perCPU[i]+mem*perMem[i] < most+1-base-cutSlack {
			continue
		}
		if s.cpu > fitCPU[i] || s.mem > freeMem[i] || s.special && !c.fitsSpecial(i, j) {
			continue
		}
		if v := of(i); v > most {
			best, most = i, v
		}
	}
	f.last = max(best, 0)
	return best
}

// leastAllocated is NodeResourcesFit with LeastAllocated: the mean free share.
type leastAllocated struct{ fullness }

func (l *leastAllocated) choose(j *Job, _ time.Duration, c *Cluster) int {
	return l.highest(j, c, 100, -1, freeScore)
}

func freeScore(cpu, mem float64) float64 {
	return whole((whole(100*(1-cpu)+1e-9) + whole(100*(1-mem)+1e-9)) / 2)
}

// mostAllocated is NodeResourcesFit with MostAllocated: the mean reserved share.
type mostAllocated struct{ fullness }

func (m *mostAllocated) choose(j *Job, _ time.Duration, c *Cluster) int {
	return m.highest(j, c, 0, 1, reservedScore)
}

func reservedScore(cpu, mem float64) float64 {
	return whole((whole(100*cpu+1e-9) + whole(100*mem+1e-9)) / 2)
}

// kubernetes is the default profile's resource scores: LeastAllocated plus BalancedAllocation, weight 1 each.
type kubernetes struct{}

func (kubernetes) choose(j *Job, _ time.Duration, c *Cluster) int {
	best, most := -1, math.Inf(-1)
	s := c.scan(j)
	fitCPU, freeCPU, freeMem, perCPU, perMem := s.slices()
	for i, free := range freeCPU {
		cpu, mem := requested(free, s.cpu, perCPU[i]), requested(freeMem[i], s.mem, perMem[i])
		// Without cuts the score is 50·(1−cpu) + 50·(1−mem) + 100 − 50·|cpu−mem|. The bounds hold for shares of at most 1: a node that the job fills
		// but for what fitSlack forgives is never passed over.
		if (200-100*cpu+cutSlack < most+1 || 200-100*mem+cutSlack < most+1) && !brims(free, s.cpu) {
			continue
		}
		if s.cpu > fitCPU[i] || s.mem > freeMem[i] || s.special && !c.fitsSpecial(i, j) {
			continue
		}
		if v := kubernetesScore(cpu, mem); v > most {
			best, most = i, v
		}
	}
	return best
}

func kubernetesScore(cpu, mem float64) float64 {
	// The standard deviation of two values is half their distance.
	return freeScore(cpu, mem) + whole(100*(1-math.Abs(min(cpu, 1)-min(mem, 1))/2)+1e-9)
}
