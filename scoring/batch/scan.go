package batch

import (
	"math"
	"slices"
)

// A scan is what a loop over all nodes reads to tell where a job fits: flat slices of one length, so that the loop checks no bounds and
// calls nothing. A node i takes the job where
//
//	s.cpu <= s.fitCPU[i] && s.mem <= s.freeMem[i] && (!s.special || c.fitsSpecial(i, j))
type scan struct {
	cpu, mem float64
	special  bool

	fitCPU, freeCPU, freeMem []float64
	perCPU, perMem           []float64
}

func (c *Cluster) scan(j *Job) scan {
	n := len(c.fitCPU)
	return scan{cpu: j.Requests.CPU, mem: j.Requests.Memory, special: c.special(j),
		fitCPU: c.fitCPU, freeCPU: c.freeCPU[:n], freeMem: c.freeMem[:n], perCPU: c.perCPU[:n], perMem: c.perMem[:n]}
}

// fitting returns the nodes that take the job, in the list given. It adds all and counts those that fit: whether one does is hard for a processor to foresee.
func (c *Cluster) fitting(s *scan, j *Job, list []int32) []int32 {
	cpu, mem := s.cpu, s.mem
	free := s.freeMem
	fit := s.fitCPU[:len(free)]
	list = slices.Grow(list[:0], len(free))[:len(free)]
	n := 0
	for i, f := range free {
		list[n] = int32(i)
		a, b := 0, 0
		if cpu <= fit[i] {
			a = 1
		}
		if mem <= f {
			b = 1
		}
		n += a & b
	}
	list = list[:n]
	if s.special {
		list = slices.DeleteFunc(list, func(i int32) bool { return !c.fitsSpecial(int(i), j) })
	}
	return list
}

// slices returns the slices, which a loop wants in variables of its own: the compiler then checks no bounds.
func (s *scan) slices() (fitCPU, freeCPU, freeMem, perCPU, perMem []float64) {
	n := len(s.freeCPU)
	return s.fitCPU[:n], s.freeCPU[:n], s.freeMem[:n], s.perCPU[:n], s.perMem[:n]
}

// unranked tells a cost that ranks behind every number.
func unranked(v float64) bool { return v != v || v > math.MaxFloat64 }
