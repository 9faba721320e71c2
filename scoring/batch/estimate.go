package batch

import (
	"context"
	"fmt"

	"github.com/leastwatt/leastwatt/scoring/batch/minplus"
)

// Estimate returns the least watts that 1 … k more jobs like j add to the cluster, over all ways to divide them between the nodes: element
// i is for i+1 jobs, +Inf where so many do not fit. It is what WAO's estimator answers, exact for any curves, and so it is also the
// exact bound for identical jobs. A node without a model takes none of them, and what a node that others
// have filled cannot do any more counts with all of its power. The cluster is not changed. It returns when ctx is done; see package
// minplus for how long it takes.
func (c *Cluster) Estimate(ctx context.Context, j *Job, k int) ([]float64, error) {
	if err := j.Validate(); err != nil {
		return nil, err
	}
	if k < 0 || k > 1_000_000 {
		return nil, fmt.Errorf("estimate for %d jobs: want 0 to 1000000", k)
	}
	sum, err := minplus.NewSum(k)
	if err != nil {
		return nil, err
	}
	var curve []float64
	for i := range c.nodes {
		if c.curve[i] == nil || !c.Fits(i, j) {
			continue
		}
		base := float64(c.curve[i].At(c.use[i] / c.work[i]))
		if c.switchOff && c.jobs[i] == 0 {
			base = float64(c.nodes[i].OffPower)
		}
		curve = curve[:0]
		need := j.Requests.clone()
		for n := 1; n <= k && need.Fits(&c.free[i]); n++ {
			d := float64(n) * j.Demand.CPU
			curve = append(curve, float64(c.curve[i].At((c.use[i]+d)/c.work[i]))-base+c.beyond(i, c.use[i], c.booked(i), d))
			need.add(&j.Requests, 1)
		}
		if err := sum.Add(ctx, curve); err != nil {
			return nil, fmt.Errorf("estimate for %d jobs, after %d of %d nodes: %w", k, i, c.Len(), err)
		}
	}
	return sum.Least(), nil
}
