package scoring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/sensors"
)

// A Candidate is one node's part in a decision, for people to read.
type Candidate struct {
	Node string
	Rank int  // 1 is best
	Cost Cost // what the scorer said

	// Before and After are the predicted watts of the whole server without and with the demand. They
	// mean nothing when PowerErr is not nil.
	Before, After power.Watts
	PowerErr      error

	// Utilization without and with the demand, 0 to 1; both 0 when unknown.
	UtilizationBefore, UtilizationAfter float64

	// Tariff is what electricity costs there; nil where the node has no meter.
	Tariff *Tariff

	InletTemp *power.Celsius
	Model     string
	Prior     bool

	// Source and Age tell where the utilization is from and how old it is; Source is empty if there is
	// none, and what it was taken from if it was not measured: "requests".
	Source string
	Age    time.Duration

	// Reason says in a sentence why the node is where it is.
	Reason string
}

// Explain scores the nodes and tells, best first, what was known of each and why it lost.
func Explain(ctx context.Context, s Scorer, d Demand, nodes []Node, now time.Time) ([]Candidate, error) {
	costs, err := s.Score(ctx, d, nodes)
	if err != nil {
		return nil, err
	}
	order := Rank(costs)
	out := make([]Candidate, len(order))
	for rank, i := range order {
		out[rank] = candidate(ctx, &d, &nodes[i], costs[i], now)
		out[rank].Rank = rank + 1
		out[rank].Reason = reason(costs[order[0]], costs[i], rank, &out[rank])
	}
	return out, nil
}

func candidate(ctx context.Context, d *Demand, n *Node, cost Cost, now time.Time) Candidate {
	c := Candidate{Node: n.Name, Cost: cost, InletTemp: n.State.InletTemp, Model: n.Model, Prior: n.Prior}
	if n.Meter != nil {
		c.Tariff = new(n.Meter.Tariff())
	}
	if n.Assumed != "" {
		c.Source = n.Assumed
	} else if r, ok := n.Readings.Find(sensors.CPUUtilization); ok {
		c.Source, c.Age = r.Source, r.Age(now)
	}
	after, err := n.after(d)
	if err != nil {
		c.PowerErr = err
		if errors.Is(err, ErrOverCapacity) {
			c.UtilizationBefore, c.UtilizationAfter = n.State.Utilization, after
		}
		return c
	}
	c.UtilizationBefore, c.UtilizationAfter = n.State.Utilization, after
	c.Before, c.After, c.PowerErr = n.Power(ctx, d)
	return c
}

func reason(best, cost Cost, rank int, c *Candidate) string {
	prior := ""
	if c.Prior {
		prior = " (by a prior, not fitted to this server)"
	}
	switch {
	case !cost.Known() && cost.Err != nil:
		return cost.Err.Error()
	case !cost.Known():
		return "the cost is not a finite number"
	case rank == 0:
		return fmt.Sprintf("least cost: %.3f %v%s", cost.Value, cost.Unit, prior)
	case cost.Value == best.Value:
		return fmt.Sprintf("as cheap as the best, %.3f %v, but less full%s", cost.Value, cost.Unit, prior)
	}
	return fmt.Sprintf("costs %.3f %v more than the best%s", cost.Value-best.Value, cost.Unit, prior)
}
