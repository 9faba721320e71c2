package scheduler

import (
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// prepared is the servers of a view, ready to be scored: with the pods added that no sample shows yet.
// A server is prepared anew only when the pods on it or its sample have changed.
type prepared struct {
	view  *scoring.View
	nodes []scoring.Node // in the order of the view
	seats []seat         // beside nodes
	costs []scoring.Cost // beside nodes: memory for the scorer
	round uint32
	last  int // the server that was looked up last
}

// A seat is what was last found out about one server.
type seat struct {
	generation int64 // of the NodeInfo that pending was counted on; -1 is none
	sampled    int64 // when the utilization was measured, in Unix nanoseconds
	newest     int64 // from when on a sample shows all that is pending; never is for some that it cannot tell
	pending    float64
	reason     reason // why the server is unknown
	round      uint32 // the last round in which it was a candidate
	candidate  int32  // its place among the candidates of that round
	next       int32  // the server that was looked up after it; rounds have much the same order
}

// look brings the servers to a view, and keeps what is still true.
func (w *prepared) look(v *scoring.View) {
	if w.view == v {
		return
	}
	from := v.Nodes()
	nodes, seats := make([]scoring.Node, len(from)), make([]seat, len(from))
	copy(nodes, from)
	old := w.view
	for i := range nodes {
		n, s := &nodes[i], &seats[i]
		s.generation, s.reason = -1, reasonOf(n.Err)
		if r, ok := n.Readings.Find(sensors.CPUUtilization); ok {
			s.sampled = r.At.UnixNano()
		}
		if old == nil {
			continue
		}
		k := i
		if k >= len(w.nodes) || w.nodes[k].Name != n.Name {
			if k = old.Index(n.Name); k < 0 {
				continue
			}
		}
		switch was := &w.seats[k]; {
		case s.sampled == was.sampled:
			s.generation, s.newest, s.pending = was.generation, was.newest, was.pending
		case was.generation >= 0 && was.newest <= s.sampled:
			s.generation, s.newest = was.generation, was.newest // the new sample shows every pod
		}
		n.State.Utilization += s.load(n)
	}
	w.last = 0
	w.view, w.nodes, w.seats, w.costs = v, nodes, seats, make([]scoring.Cost, len(nodes))
}

// load returns pending as a share of the server's capacity.
func (s *seat) load(n *scoring.Node) float64 {
	if s.pending == 0 {
		return 0
	}
	return s.pending / n.Capacity.Work()
}

// seat marks the server as the k-th candidate of this round, and tells whether the view has it.
func (w *prepared) seat(info fwk.NodeInfo, k int, a *Args) bool {
	i := w.find(info.Node().Name)
	if i < 0 {
		return false
	}
	s := &w.seats[i]
	s.round, s.candidate = w.round, int32(k)
	if g := info.GetGeneration(); g != s.generation {
		s.generation = g
		s.count(info, a)
		n := &w.nodes[i]
		n.State.Utilization = w.view.Nodes()[i].State.Utilization + s.load(n)
	}
	return true
}

// find returns the place of a server, or -1 if the view lacks it. It guesses before it searches.
func (w *prepared) find(name string) int {
	if len(w.seats) == 0 {
		return -1
	}
	before := &w.seats[w.last]
	i := int(before.next)
	if w.nodes[i].Name != name {
		if i = w.view.Index(name); i < 0 {
			return i
		}
		before.next = int32(i)
	}
	w.last = i
	return i
}

// count adds up the CPU of the pods that the sample does not show.
func (s *seat) count(info fwk.NodeInfo, a *Args) {
	s.pending, s.newest = 0, 0
	for _, pi := range info.GetPods() {
		pod := pi.GetPod()
		from := seenFrom(pod)
		s.newest = max(s.newest, from)
		if from > s.sampled {
			s.pending += a.cpu(milliCPU(pod))
		}
	}
}

// node returns the server as it is prepared, or nil.
func (w *prepared) node(name string) *scoring.Node {
	if w.view == nil {
		return nil
	}
	if i := w.view.Index(name); i >= 0 {
		return &w.nodes[i]
	}
	return nil
}
