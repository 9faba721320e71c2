package batch

import (
	"math"
	"time"
)

// repeated is a rule whose score depends on the shares of CPU and memory that would be reserved alone, for jobs that come in few sizes: for each
// size that has come before it keeps the scores of all nodes, brings those up to date that have changed since, and takes the highest. Other
// jobs, and those that ask for more than CPU and memory, go to the plain rule, which scores every node.
type repeated struct {
	plain rule
	score func(cpu, mem float64) float64

	cluster *Cluster
	sizes   map[[2]float64]*scores // nil where a size has come once
}

type scores struct {
	at   uint64 // how many changes of the cluster are in it
	node []float64
}

const maxSizes = 128 // kept at one time

func (r *repeated) choose(j *Job, now time.Duration, c *Cluster) int {
	size := [2]float64{j.Requests.CPU, j.Requests.Memory}
	if r.cluster != c || len(r.sizes) >= maxSizes {
		r.cluster, r.sizes = c, map[[2]float64]*scores{}
	}
	s, again := r.sizes[size]
	if !again || c.special(j) {
		if !again {
			r.sizes[size] = nil
		}
		return r.plain.choose(j, now, c)
	}
	n := len(c.nodes)
	if s == nil {
		s = &scores{node: make([]float64, n)}
		r.sizes[size] = s
		r.all(s, size, c)
	} else if late := c.changes - s.at; late > uint64(min(n, len(c.changed))) {
		r.all(s, size, c)
	} else {
		for ; s.at < c.changes; s.at++ {
			i := int(c.changed[s.at%uint64(len(c.changed))])
			s.node[i] = r.of(size, i, c)
		}
	}
	best, most := -1, math.Inf(-1)
	for i, v := range s.node {
		if v > most {
			best, most = i, v
		}
	}
	return best
}

func (r *repeated) all(s *scores, size [2]float64, c *Cluster) {
	for i := range s.node {
		s.node[i] = r.of(size, i, c)
	}
	s.at = c.changes
}

// of scores one node; -Inf is where the job does not fit.
func (r *repeated) of(size [2]float64, i int, c *Cluster) float64 {
	if size[0] > c.fitCPU[i] || size[1] > c.freeMem[i] {
		return math.Inf(-1)
	}
	return r.score(requested(c.freeCPU[i], size[0], c.perCPU[i]), requested(c.freeMem[i], size[1], c.perMem[i]))
}
