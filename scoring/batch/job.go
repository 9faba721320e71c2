package batch

import (
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
)

// A Job is work that waits for a node or runs on one.
type Job struct {
	Name string

	// Requests is what the job reserves on its node.
	Requests Resources

	// Demand is what it is expected to do: CPU in cores of speed 1, and how long from now. A
	// lifetime of 0 is unknown.
	Demand scoring.Demand

	// Priority orders jobs: higher first. Jobs of one priority are taken in the order given.
	Priority int

	// Submitted is when the job arrived; Deadline, if not zero, when it should have ended. Both count from
	// the same origin as the now that Plan is given.
	Submitted time.Duration
	Deadline  time.Duration

	// Pinned says that the job must not be moved once it runs.
	Pinned bool

	// Suspend says that the job may be stopped and go on later, without losing what it has done.
	Suspend bool

	// Node restricts the job to one node by name; "" is any.
	Node string
}

// Validate returns an error that names the job and the field that is not valid.
func (j *Job) Validate() error {
	if err := j.Requests.Validate(); err != nil {
		return fmt.Errorf("job %q: %w", j.Name, err)
	}
	if err := j.Demand.Validate(); err != nil {
		return fmt.Errorf("job %q: %w", j.Name, err)
	}
	return nil
}
