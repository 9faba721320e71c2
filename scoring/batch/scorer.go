package batch

import (
	"context"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
)

// FromScorer makes a strategy of any scorer: the jobs one by one, each to the node with the best cost.
func FromScorer(name string, s scoring.Scorer) Strategy {
	return &scored{name: name, scorer: s}
}

type scored struct {
	name   string
	scorer scoring.Scorer
	nodes  []scoring.Node
	at     []int
	costs  []scoring.Cost
}

func (s *scored) Name() string { return s.name }

func (s *scored) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	var p Plan
	for _, k := range queue(jobs, &p) {
		j := &jobs[k]
		s.nodes, s.at = s.nodes[:0], s.at[:0]
		for i := range c.nodes {
			if !c.Fits(i, j) {
				continue
			}
			n := c.nodes[i].Node
			if c.work[i] > 0 {
				n.State.Utilization = c.use[i] / c.work[i]
			}
			if c.curve[i] != nil {
				n.Predictor = c.curve[i]
			}
			n.Off = c.switchOff && c.jobs[i] == 0
			s.nodes, s.at = append(s.nodes, n), append(s.at, i)
		}
		if len(s.nodes) == 0 {
			p.wait(c, jobs, k)
			continue
		}
		var err error
		s.costs, err = scoring.AppendScore(ctx, s.scorer, s.costs[:0], j.Demand, s.nodes)
		if err != nil {
			return p, err
		}
		best := 0 // nothing known: any node that fits
		if b := scoring.Best(s.costs); b >= 0 {
			best = b
		}
		p.place(c, now, jobs, k, s.at[best])
	}
	return p, nil
}
