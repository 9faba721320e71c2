package sensors

import "time"

// A Snapshot is what all nodes measured last, at one moment. It is immutable and read without locks.
type Snapshot struct {
	at    time.Time
	nodes map[string]*NodeReadings
}

// NodeReadings is what one node measured last, and why what is missing is missing. It is immutable.
type NodeReadings struct {
	Node     string
	Readings []Reading // one a kind; not to be changed
	Err      error     // of the last read, nil when all of it succeeded
	Tried    time.Time // when the last read ended
	Good     time.Time // when a read last gave anything; zero if never
	Failures int       // reads failed in a row
}

// NewSnapshot returns a snapshot of the nodes, taken at a time. It takes over the map and all it holds.
func NewSnapshot(at time.Time, nodes map[string]*NodeReadings) *Snapshot {
	return &Snapshot{at: at, nodes: nodes}
}

// At returns when the snapshot was published.
func (s *Snapshot) At() time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.at
}

// Node returns what a node measured last, or nil if the node was never asked. It does not allocate.
func (s *Snapshot) Node(name string) *NodeReadings {
	if s == nil {
		return nil
	}
	return s.nodes[name]
}

// Len returns the number of nodes.
func (s *Snapshot) Len() int {
	if s == nil {
		return 0
	}
	return len(s.nodes)
}

// All calls yield for every node, in no order.
func (s *Snapshot) All(yield func(*NodeReadings) bool) {
	if s == nil {
		return
	}
	for _, n := range s.nodes {
		if !yield(n) {
			return
		}
	}
}

// Find returns the reading of a kind, however old. It does not allocate; a nil n has none.
func (n *NodeReadings) Find(kind Kind) (Reading, bool) {
	if n != nil {
		for i := range n.Readings {
			if n.Readings[i].Kind == kind {
				return n.Readings[i], true
			}
		}
	}
	return Reading{}, false
}

// Fresh returns the reading of a kind that the hardware measured at most maxAge before now, or an error
// that wraps [ErrUnknownNode], [ErrNoReading] (with the last read's own error, if it failed), [ErrStale], or
// [ErrImplausible] for a reading more than maxAge in the future.
func (n *NodeReadings) Fresh(kind Kind, now time.Time, maxAge time.Duration) (Reading, error) {
	if n == nil {
		return Reading{}, &Error{Source: "snapshot", Kind: kind, Err: ErrUnknownNode}
	}
	r, ok := n.Find(kind)
	if !ok {
		return r, absent(n, kind)
	}
	switch age := r.Age(now); {
	case age > maxAge:
		return r, &Error{Source: r.Source, Node: n.Node, Kind: kind, Err: staleBy(age, maxAge, n.Err)}
	case age < -maxAge:
		return r, &Error{Source: r.Source, Node: n.Node, Kind: kind, Err: ahead(-age)}
	}
	return r, nil
}
