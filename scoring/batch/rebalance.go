package batch

import (
	"context"
	"time"
)

// A Rebalancer proposes moves of running jobs. Plan reserves nothing: c is as it was when Plan returns. It
// is not safe for concurrent use.
type Rebalancer interface {
	Plan(ctx context.Context, now time.Duration, running []Running, c *Cluster) ([]Move, error)
}

// Running is a job on a node. Job.Demand.Lifetime is how much longer it is expected to run.
type Running struct {
	Job  Job
	Node int
}

// A Move takes a running job to another node. Running is an index into the jobs given.
type Move struct {
	Running int
	To      int
	Saves   float64 // watts, at present
}
