package balancing

import (
	"fmt"
	"math"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// A Service is a stream of requests that any of its endpoints can answer.
type Service struct {
	// Name identifies the Service: "namespace/name:port" in Kubernetes.
	Name string

	// Rate is how many requests a second arrive; 0 means unknown and counts as 1.
	Rate float64

	// CPU is the work of one request, in core-seconds at speed 1 (see [power.Capacity]); 0 means unknown
	// and counts as [DefaultCPU].
	CPU float64

	// Endpoints are those that are ready, in any order.
	Endpoints []Endpoint
}

// DefaultCPU is the work of a request of which nothing is known, in core-seconds: the 100m of WAO's
// load balancer.
const DefaultCPU = 0.1

// An Endpoint answers requests of one Service on one server.
type Endpoint struct {
	// ID identifies the endpoint within its Service: "10.0.0.7:8080".
	ID string

	// Node is the server it runs on, as measured. Endpoints of nodes with one name share a server. A nil
	// Node, or one with an error, without a model or switched off, is unknown.
	Node *scoring.Node

	// Load is how much of the node's measured use serves this Service's requests on this endpoint, in cores
	// of speed 1, and so moves with its share. What remains is background that stays where it is.
	Load float64
}

// Demand returns the work that the Service's requests need, in cores of speed 1.
func (s *Service) Demand() float64 {
	rate, cpu := s.Rate, s.CPU
	if rate == 0 {
		rate = 1
	}
	if cpu == 0 {
		cpu = DefaultCPU
	}
	return rate * cpu
}

// Validate returns an error that names the field which is not a finite number of 0 or more.
func (s *Service) Validate() error {
	if !amount(s.Rate) {
		return fmt.Errorf("service %q: rate is %v requests/s: want a finite number, 0 (unknown) or more", s.Name, s.Rate)
	}
	if !amount(s.CPU) {
		return fmt.Errorf("service %q: CPU of a request is %v core-seconds: want a finite number, 0 (unknown) or more", s.Name, s.CPU)
	}
	if d := s.Demand(); !amount(d) {
		return fmt.Errorf("service %q: %v requests/s of %v core-seconds are too much work to compute with", s.Name, s.Rate, s.CPU)
	}
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; !amount(e.Load) {
			return fmt.Errorf("service %q: endpoint %q: load is %v cores: want a finite number, 0 or more", s.Name, e.ID, e.Load)
		}
	}
	return nil
}

// validate checks all Services of a call.
func validate(services []Service) error {
	for i := range services {
		if err := services[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}

// maxAmount bounds rates and loads, so that sums and products of them stay finite.
const maxAmount = 1e15

func amount(v float64) bool { return v >= 0 && v <= maxAmount }

// known returns why an endpoint's server cannot be weighed, nil if it can.
func known(e *Endpoint) error {
	n := e.Node
	switch {
	case n == nil:
		return noNode(e.ID)
	case n.Err != nil:
		return n.Err
	case n.Predictor == nil:
		return fmt.Errorf("endpoint %q: node %q: %w", e.ID, n.Name, power.ErrNoModel)
	case n.Off:
		return fmt.Errorf("endpoint %q: node %q is switched off: %w", e.ID, n.Name, power.ErrMissingInput)
	case !(n.Capacity.Work() > 0) || math.IsInf(n.Capacity.Work(), 0):
		return fmt.Errorf("endpoint %q: node %q: capacity is %v cores: want more than 0", e.ID, n.Name, n.Capacity.Work())
	case !(n.State.Utilization >= 0 && n.State.Utilization <= 1):
		return fmt.Errorf("endpoint %q: node %q: utilization is %v: %w", e.ID, n.Name, n.State.Utilization, power.ErrMissingInput)
	}
	return nil
}

// noNode is the error of an endpoint by its ID. Without a configuration all of a cluster's have it, at every round.
type noNode string

// Error implements error.
func (id noNode) Error() string {
	return fmt.Sprintf("endpoint %q: its node is not known: %v", string(id), power.ErrNoModel)
}

// Unwrap returns why.
func (noNode) Unwrap() error { return power.ErrNoModel }
