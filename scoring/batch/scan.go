package batch

import "math"

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

// unranked tells a cost that ranks behind every number.
func unranked(v float64) bool { return v != v || v > math.MaxFloat64 }
