package batch

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/assign"
)

// ecsched is ECSched as its authors coded it (Hu, Zhou, de Laat, Zhao, Euro-Par 2018, doi 10.1007/978-3-319-96983-1_26, and Future
// Generation Computer Systems 102, 2020, doi 10.1016/j.future.2019.08.025): up to 100 queued requests a round and up
// to five rounds a call; in a round each request and each machine is used at most once, and the sum of the costs
// is the least among all ways to serve most requests. That is a minimum-cost maximum flow with unit capacities,
// hence a rectangular assignment. A request that no machine has room for goes to the end of the queue, so that those behind it are seen; the authors do so
// from one tick to the next, whereas here a round that serves nobody goes on with the next hundred. The cost is the negative dot product of demand and free capacity, or, with
// mostLoaded, the negative sum of demand over free capacity.
type ecsched struct {
	repeated
	mostLoaded bool
	costs      []float64
}

func newECSched(mostLoaded bool) *ecsched {
	e := &ecsched{mostLoaded: mostLoaded, repeated: repeated{cost: misaligned}}
	if mostLoaded {
		e.cost = func(c *Cluster, j *Job, i int) float64 { return max(-c.tightness(j, i), -assign.MaxCost) }
	}
	return e
}

const (
	ecRequests = 100
	ecRounds   = 5
)

func (*ecsched) forgets() bool { return true }

func (e *ecsched) Name() string {
	if e.mostLoaded {
		return "ecsched-mostloaded"
	}
	return "ecsched"
}

func (e *ecsched) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	var p Plan
	left := queue(jobs, &p)
	n := c.Len()
	for round := 0; round < ecRounds && len(left) > 0 && n > 0; round++ {
		if ctx.Err() != nil {
			return p, ctx.Err()
		}
		batch := left[:min(len(left), ecRequests)]
		if len(batch) == 1 {
			if i := e.alone(&jobs[batch[0]], c); i >= 0 {
				p.place(c, now, jobs, batch[0], i)
				left = left[1:]
				continue
			}
			break
		}
		e.costs = slices.Grow(e.costs[:0], len(batch)*n)[:len(batch)*n]
		for b, k := range batch {
			e.fill(e.costs[b*n:(b+1)*n], &jobs[k], c)
		}
		r, err := assign.Dense(len(batch), n, e.costs)
		if err != nil {
			return p, err
		}
		rest, homeless := make([]int, 0, len(left)), []int(nil)
		for b, k := range batch {
			if i := r.Row[b]; i != assign.None {
				p.place(c, now, jobs, k, i)
			} else if slices.ContainsFunc(e.costs[b*n:(b+1)*n], func(v float64) bool { return v < math.Inf(1) }) {
				rest = append(rest, k)
			} else {
				homeless = append(homeless, k)
			}
		}
		seen := len(batch) == len(left)
		left = append(append(rest, left[len(batch):]...), homeless...)
		if seen && r.Served == 0 {
			break
		}
	}
	for _, k := range left {
		p.wait(c, jobs, k)
	}
	return p, nil
}

// alone returns the machine for one request, or -1.
func (e *ecsched) alone(j *Job, c *Cluster) int {
	if t := e.ranking(j, c); t != nil {
		i, _ := t.best()
		return i
	}
	if !e.mostLoaded {
		i, _ := c.aligned(j, 0)
		return i
	}
	return least(c, j, func(i int) float64 { return e.cost(c, j, i) })
}

// fill writes what a request costs on each machine, +Inf where it does not fit.
func (e *ecsched) fill(cost []float64, j *Job, c *Cluster) {
	s := c.scan(j)
	cpu, mem := part(s.cpu, c.largest.CPU), part(s.mem, c.largest.Memory)
	n := len(cost)
	fitCPU, freeMem, partCPU, partMem := s.fitCPU[:n], s.freeMem[:n], c.partCPU[:n], c.partMem[:n]
	for i := range cost {
		switch {
		case s.cpu > fitCPU[i] || s.mem > freeMem[i] || s.special && !c.fitsSpecial(i, j):
			cost[i] = math.Inf(1)
		case e.mostLoaded:
			cost[i] = max(-c.tightness(j, i), -assign.MaxCost)
		case c.other:
			cost[i] = -c.dot(j, i)
		default:
			cost[i] = -(cpu*partCPU[i] + mem*partMem[i])
		}
	}
}
