package batch

import (
	"time"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// see has the learner count a job that is asked about for the first time. Its slack is how long it may wait; below 0 it has no deadline and does not.
func (b *overTime) see(j *Job, slack time.Duration) {
	a := arrivals.Job{Name: j.Name, Submitted: j.Submitted, Cores: j.Requests.CPU, Duration: j.Demand.Lifetime, Slack: slack}
	if a.Cores > 0 {
		a.Load = j.Demand.CPU / a.Cores
	}
	b.coming.See(a)
}

// expect states the work that is expected to come while the jobs of a problem may run, as jobs of it.
func (b *overTime) expect(c *Cluster, p *spacetime.Problem) []spacetime.Job {
	until := 0
	for i := range p.Jobs {
		until = max(until, p.Jobs[i].Latest+p.Jobs[i].Length)
	}
	slot := b.grid.Slot()
	return b.coming.Expect(arrivals.Plan{From: time.Duration(b.at) * slot, Slot: slot, Until: until, Slots: len(p.Sites[0].Capacity), Energy: b.energies(c, &Job{Demand: scoring.Demand{CPU: 1}})})
}
