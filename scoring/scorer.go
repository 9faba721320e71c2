package scoring

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// A Scorer predicts what placing a demand on each node would cost: one Cost a node, in order.
//
// Score is safe for concurrent use, does no input or output of its own, and returns when ctx is done. A
// node of which too little is known gets a Cost with an error, never a value in its place. The error that
// Score itself returns concerns the call: an invalid demand, an ended ctx.
type Scorer interface {
	Score(ctx context.Context, d Demand, nodes []Node) ([]Cost, error)
}

// An AppendScorer can score into memory that the caller already has.
type AppendScorer interface {
	Scorer
	// AppendScore appends one Cost a node, in order, to costs.
	AppendScore(ctx context.Context, costs []Cost, d Demand, nodes []Node) ([]Cost, error)
}

// A SeparateScorer can tell that the cost of a node depends on the demand and that node alone, whatever other nodes
// it is asked about, and hardly on time: for as long as the node stays as it is, a caller may use the cost again
// for some hundred milliseconds.
type SeparateScorer interface {
	Scorer
	ScoresSeparately() bool
}

// An AmongScorer is one whose cost of a node may depend on which others it is asked about at the same time.
type AmongScorer interface {
	Scorer
	// Among returns the scorer for those who ask about some of these nodes at a time: the costs of all of them can be compared.
	Among(nodes []Node) Scorer
}

// Among returns a scorer whose costs of some of these nodes can be compared with those that it gives of the others.
func Among(s Scorer, nodes []Node) Scorer {
	if a, ok := s.(AmongScorer); ok {
		return a.Among(nodes)
	}
	return s
}

// AppendScore appends the scorer's costs to costs, without allocation where the scorer can.
func AppendScore(ctx context.Context, s Scorer, costs []Cost, d Demand, nodes []Node) ([]Cost, error) {
	if a, ok := s.(AppendScorer); ok {
		return a.AppendScore(ctx, costs, d, nodes)
	}
	c, err := s.Score(ctx, d, nodes)
	return append(costs, c...), err
}

// A Demand is one more unit of work: a pod, a job, a stream of requests.
type Demand struct {
	// CPU is the work it is expected to do, in cores of speed 1 (see [power.Capacity]).
	CPU float64

	// GPUs is how many GPUs it keeps busy; a part of one is possible.
	GPUs float64

	// Inputs is what it adds to the inputs of a state, by name: GPU activity, for example.
	Inputs map[string]float64

	// Lifetime is how long it is expected to run; 0 means unknown.
	Lifetime time.Duration
}

// Validate returns an error that names the field which is not a finite, non-negative number.
func (d Demand) Validate() error {
	if !finite(d.CPU) {
		return fmt.Errorf("demand: CPU is %v: want a finite number of cores, 0 or more", d.CPU)
	}
	if !finite(d.GPUs) {
		return fmt.Errorf("demand: GPUs is %v: want a finite number, 0 or more", d.GPUs)
	}
	if d.Inputs == nil && d.Lifetime >= 0 {
		return nil // as most often: an iterator over nothing takes longer than the rest
	}
	for name, v := range d.Inputs {
		if !finite(v) {
			return fmt.Errorf("demand: input %q is %v: want a finite number, 0 or more", name, v)
		}
	}
	if d.Lifetime < 0 {
		return fmt.Errorf("demand: lifetime is %v: want 0 (unknown) or more", d.Lifetime)
	}
	return nil
}

func finite(v float64) bool { return v >= 0 && v <= math.MaxFloat64 }

// ErrOverCapacity says that a node cannot do the demand's work beside what it does already.
var ErrOverCapacity = errors.New("over capacity")

// A Cost is what placing a demand on a node adds, for as long as the demand runs. Value means nothing when
// Err is not nil.
type Cost struct {
	Node  string
	Value float64 // in Unit; may be negative where more load draws less
	Err   error   // why the cost is unknown, or ErrOverCapacity
	Unit  Unit

	// Tie orders costs of equal value, lower first: a server already open before one that must be
	// opened, and of those the fullest, because that leaves others free to be switched off.
	Tie float32
}

// A Unit is what a cost is measured in. Costs of different units are never compared.
type Unit uint8

// The units of cost.
const (
	Watts        Unit = iota // added electrical power
	GramsPerHour             // added emissions, gCO2eq per hour
	MoneyPerHour             // added cost, in the configured currency per hour
)

// String returns the unit's symbol.
func (u Unit) String() string {
	switch u {
	case Watts:
		return "W"
	case GramsPerHour:
		return "gCO2eq/h"
	case MoneyPerHour:
		return "money/h"
	}
	return fmt.Sprintf("Unit(%d)", uint8(u))
}

// tie returns Cost.Tie for a node.
func tie(n *Node) float32 {
	if n.Off {
		return 1
	}
	return -float32(n.State.Utilization)
}
