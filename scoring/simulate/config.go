package simulate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// A Node is a server of the simulated cluster. Its Predictor is the truth: what the strategy believes may differ,
// see [Config].
type Node struct {
	batch.Node

	// WakeWatts is what it draws while it boots or resumes; 0 means its idle power.
	WakeWatts power.Watts

	// Suspend, if not nil, is used instead of switching off for the first Config.OffAfter.
	Suspend *Sleep

	// Failures are the times when it fails, and for how long, in order.
	Failures []Outage
}

// asleep is the least that the server draws without work where servers are switched off.
func (n *Node) asleep() power.Watts {
	if n.Suspend != nil {
		return min(n.OffPower, n.Suspend.Power)
	}
	return n.OffPower
}

// Sleep describes a suspended server.
type Sleep struct {
	Power power.Watts
	Wake  time.Duration
}

// An Outage is a failure of a node, which draws nothing meanwhile: its jobs start again elsewhere. One that ends beyond the end of time lasts for ever.
type Outage struct {
	At  time.Duration
	For time.Duration
}

// Config describes a simulation. Nodes and Strategy are required; the zero value of the rest is a cluster that is always on,
// whose models are known, and a run until the last job has ended.
type Config struct {
	Nodes    []Node
	Strategy batch.Strategy

	// SwitchOff switches off (or suspends) nodes without jobs, after they were idle for IdleFor. OffAfter is how long a
	// suspended node waits before it is switched off; 0 is for ever.
	SwitchOff bool
	IdleFor   time.Duration
	OffAfter  time.Duration

	// From and To bound what is measured: jobs that arrive and energy that is drawn between them. To = 0 is the end of
	// the last job; otherwise the simulation stops there.
	From, To time.Duration

	// Every makes decisions in batches at this interval; 0 decides at each arrival.
	Every time.Duration

	// Window is how many waiting jobs are looked at in one decision; 0 is 100.
	Window int

	// Lifetimes is what the strategy is told of a job's duration.
	Lifetimes Knowledge
	// Uses is what the strategy is told of the share of its request that a job uses.
	Uses Knowledge

	// Believe, if not nil, returns the model that the strategy starts with for a node, in the place of the truth.
	Believe func(node string, truth *power.Piecewise) *power.Piecewise
	// Sensors, if not nil, samples the nodes; the strategy then sees samples.
	Sensors *Sensors

	// PUE multiplies the energy of servers; 0 means 1. Sites have their own.
	PUE float64
	// Sites, if any, are the places that nodes name in their Site, with what a kilowatt-hour costs there.
	Sites []Site
	// Inlet, if not nil, lets the room answer to the load.
	Inlet *Inlet

	// Rebalancer, if not nil, is asked for moves every RebalanceEvery (0: ten minutes). A move costs MoveEnergy and lets the job run
	// longer by MoveTime. A job that is moved to a node that is off runs where it is until that has booted.
	Rebalancer     batch.Rebalancer
	RebalanceEvery time.Duration
	MoveEnergy     power.Joules
	MoveTime       time.Duration

	// Bound asks for the lower bound beside the energy.
	Bound bool

	// Trace, if above 0, is the interval of Result.Series.
	Trace time.Duration

	// OnJob, if not nil, is called as each job ends or is given up, and in the end for those that still run, from the goroutine of Run.
	OnJob func(Record)

	// Seed feeds the noise of the sensors.
	Seed uint64
}

// Knowledge says where a strategy has a job's properties from.
type Knowledge uint8

// What is known of jobs.
const (
	Learned Knowledge = iota // predicted from the jobs that have ended so far
	Told                     // the truth
	Hidden                   // nothing
)

// Sensors describe what the strategy sees of the nodes instead of the truth.
type Sensors struct {
	Every time.Duration // between samples of a node; required
	// UseNoise and WattNoise are the standard deviations of the factors on what is read.
	UseNoise, WattNoise float64
	// Learn calibrates the believed models from the samples.
	Learn bool
}

// Inlet is the answer of a room to the power drawn in it: the temperature at the inlets is Base + PerKilowatt·kW, and each degree
// above Reference adds the share Coefficient to the servers' power (0.0035 to 0.005 between 23 and 30 °C).
type Inlet struct {
	Base, Reference power.Celsius
	PerKilowatt     float64
	Coefficient     float64
}

func (c *Config) validate() error {
	switch {
	case c.Strategy == nil:
		return fmt.Errorf("simulate: no strategy")
	case len(c.Nodes) == 0:
		return fmt.Errorf("simulate: no nodes")
	case c.From < 0 || c.To < 0 || c.To > 0 && c.To < c.From:
		return fmt.Errorf("simulate: cannot measure from %v to %v", c.From, c.To)
	case c.Every < 0 || c.IdleFor < 0 || c.OffAfter < 0 || c.RebalanceEvery < 0 || c.Trace < 0 || c.MoveTime < 0:
		return fmt.Errorf("simulate: an interval is negative")
	case len(c.Sites) > 0 && (c.PUE != 0 || c.Inlet != nil):
		return fmt.Errorf("simulate: sites have a PUE of their own, and no inlet model")
	case c.PUE != 0 && !(c.PUE >= 1 && c.PUE < 100):
		return fmt.Errorf("simulate: PUE is %v: want 1 or more", c.PUE)
	case c.Sensors != nil && c.Sensors.Every <= 0:
		return fmt.Errorf("simulate: sensors need an interval above 0, not %v", c.Sensors.Every)
	}
	for i := range c.Sites {
		if err := c.Sites[i].validate(); err != nil {
			return err
		}
	}
	for i := range c.Nodes {
		if n := &c.Nodes[i]; len(c.Sites) > 0 && !slices.ContainsFunc(c.Sites, func(s Site) bool { return s.Name == n.Site }) {
			return fmt.Errorf("simulate: node %q is at site %q, which is not among the sites", n.Name, n.Site)
		}
		last := time.Duration(-1)
		for _, o := range c.Nodes[i].Failures {
			if o.At <= last || o.For <= 0 {
				return fmt.Errorf("simulate: node %q: outages must be in order and last: at %v for %v", c.Nodes[i].Name, o.At, o.For)
			}
			if last = o.At + o.For; last < o.At {
				last = math.MaxInt64 // it stays down
			}
		}
	}
	return nil
}
