package scheduler

import (
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// prepared is the servers of a view, ready to be scored: with the pods added that no sample shows yet.
// A server is prepared anew only when the pods on it or its sample have changed, and scored anew only then
// where the scorer allows it: beside the scheduler's other plugins, which use the caches too, what costs is
// memory that is touched.
type prepared struct {
	view   *scoring.View
	nodes  []scoring.Node // in the order of the view
	marks  []mark         // beside nodes
	seats  []seat         // beside nodes
	pods   [][]podUse     // beside nodes: what the pods on each were found to use when they were counted last
	found  []*v1.Node     // beside nodes: the object that each was found by
	places *places
	prices [demands]prices
	costs  []scoring.Cost  // memory for the scorer
	round  uint32          // counts the cycles, from 1
	asked  []atomic.Uint32 // beside nodes: the last round in which Score was asked about it

	usage *Usage
	ended *ended    // nil where nobody follows pods
	heard uint64    // of ended: how many changes are accounted for
	gpus  []float64 // beside nodes: GPUs in use that no sample shows; nil where no model has a GPU term
	wakes bool      // some server is off or takes energy to wake, so it matters which are empty
}

// A mark tells what has changed on a server.
type mark struct {
	generation int64  // of the NodeInfo when its pods were counted, or uncounted
	version    uint32 // counts the changes of the node in this view, from 1
}

// A seat is what was last found out about one server.
type seat struct {
	claimed int64 // when the utilization was measured, in Unix nanoseconds, as the device says
	sampled int64 // the same, as far as that can be true; 0 where the sample does not count
	newest  int64 // from when on a sample shows all that is pending; never is for some that it cannot tell
	pending float64
	reason  reason // why the server is unknown
	empty   bool   // of work that could be elsewhere; kept up where waking counts
}

// look brings the servers to a view, and keeps what is still true.
func (w *prepared) look(v *scoring.View) {
	if w.view == v {
		return
	}
	if w.view != nil && v.Len() > 0 && v.SameNodes(w.view) {
		w.view = v
		return
	}
	from := v.Nodes()
	nodes, marks, seats, pods := make([]scoring.Node, len(from)), make([]mark, len(from)), make([]seat, len(from)), make([][]podUse, len(from))
	found := make([]*v1.Node, len(from))
	copy(nodes, from)
	old, gpus := w.view, w.gpus
	w.gpus, w.wakes = nil, false
	moved := old == nil || old.Len() != len(from)
	for i := range nodes {
		n, m, s := &nodes[i], &marks[i], &seats[i]
		m.generation, m.version, s.reason = uncounted, 1, reasonOf(n.Err)
		k, was := i, (*seat)(nil)
		if old != nil {
			if k >= len(w.nodes) || w.nodes[k].Name != n.Name {
				k, moved = old.Index(n.Name), true
			}
			if k >= 0 {
				was, pods[i], found[i] = &w.seats[k], w.pods[k], w.found[k]
			}
		}
		s.sample(n.Readings, v.At(), was)
		if w.usage.sources != fromSensors && w.usage.assume(n) {
			s.sampled = 0 // so that every pod on it counts
		}
		if n.GPU != nil && w.gpus == nil {
			w.gpus = make([]float64, len(from))
		}
		w.wakes = w.wakes || sleeps(n)
		if was == nil {
			continue
		}
		switch {
		case s.sampled == was.sampled:
			m.generation, s.newest, s.pending, s.empty = w.marks[k].generation, was.newest, was.pending, was.empty
			if w.gpus != nil && gpus != nil {
				w.gpus[i] = gpus[k]
			}
		case w.marks[k].generation != uncounted && was.newest <= s.sampled:
			m.generation, s.newest, s.empty = w.marks[k].generation, was.newest, was.empty // the new sample shows every pod
		}
		if sleeps(n) && m.generation != uncounted && !sleeps(&old.Nodes()[k]) {
			m.generation = uncounted // nobody has looked whether it is empty
		}
		w.add(n, s, i)
		if m.generation != uncounted {
			wake(n)
		}
	}
	if moved {
		w.places = newPlaces(v)
	}
	w.view, w.nodes, w.marks, w.seats, w.pods, w.found, w.prices = v, nodes, marks, seats, pods, found, [demands]prices{}
	w.asked = make([]atomic.Uint32, len(nodes))
}

// sample notes when the utilization was measured. A device whose clock runs ahead says later than it can
// have been: then it is when it was read, as far as is known, and the same for as long as the reading is the
// same. Or its sample would be taken to show pods that came after it. A mean is of its middle: it shows half of what a pod used that
// came then.
func (s *seat) sample(n *sensors.NodeReadings, viewed time.Time, was *seat) {
	r, ok := n.Find(sensors.CPUUtilization)
	if !ok {
		return
	}
	s.claimed = r.At.UnixNano()
	if was != nil && was.claimed == s.claimed && was.sampled != 0 {
		s.sampled = was.sampled
		return
	}
	s.sampled = min(s.claimed, viewed.UnixNano())
	if !n.Tried.IsZero() {
		s.sampled = min(s.sampled, n.Tried.UnixNano())
	}
	s.sampled -= int64(max(r.Mean, 0) / 2)
}

// add puts what the sample does not show into a server that is as it was measured.
func (w *prepared) add(n *scoring.Node, s *seat, i int) {
	if s.pending != 0 {
		n.State.Utilization = max(n.State.Utilization+s.pending/n.Capacity.Work(), 0)
	}
	if w.gpus != nil && n.GPU != nil {
		n.GPUActivity = min(max(n.GPUActivity+w.gpus[i]/float64(n.GPU.Count), 0), 1)
	}
	n.Empty = s.empty
}

// sleeps tells whether it matters of a server that no work is on it.
func sleeps(n *scoring.Node) bool { return n.Off || n.Wake > 0 }

// wake takes a server that is off and was given work, for one that is on: it starts for that work, and
// the next pod has no part in it.
func wake(n *scoring.Node) {
	if n.Off && !n.Empty {
		n.Off = false
	}
}

// measured returns a server without what the sample does not show.
func (w *prepared) measured(i int) scoring.Node {
	n := w.view.Nodes()[i]
	if w.usage.sources != fromSensors {
		w.usage.assume(&n)
	}
	return n
}

// hear has the pods counted anew on servers where some have ended since.
func (w *prepared) hear() {
	if w.ended == nil || w.ended.changes.Load() == w.heard {
		return
	}
	all := false
	if w.heard, all = w.ended.since(w.heard, func(node string) {
		if i := w.view.Index(node); i >= 0 {
			w.recount(i)
		}
	}); !all {
		for i := range w.marks {
			w.recount(i)
		}
	}
}

// recount has the pods on the i-th server counted anew when it is next asked about.
func (w *prepared) recount(i int) {
	w.marks[i].generation = uncounted
	for k := range w.prices {
		if tags := w.prices[k].tags; tags != nil {
			tags[i].generation = uncounted
		}
	}
}

// seat looks into what has changed on the server of a NodeInfo of a generation, and returns its place in the view, or -1.
func (w *prepared) seat(info fwk.NodeInfo, generation int64) int {
	node := info.Node()
	i := w.places.find(generation, node, w.found)
	if i < 0 {
		return -1
	}
	w.found[i] = node
	mark := &w.marks[i]
	if generation != mark.generation {
		mark.generation = generation
		s := &w.seats[i]
		w.count(info, i)
		n, m := &w.nodes[i], w.measured(i)
		load, gpu, empty := n.State.Utilization, n.GPUActivity, n.Empty
		n.State.Utilization, n.GPUActivity, n.Off = m.State.Utilization, m.GPUActivity, m.Off
		w.add(n, s, i)
		wake(n)
		if n.State.Utilization != load || n.GPUActivity != gpu || n.Empty != empty {
			mark.version++
		}
	}
	return i
}

// node returns the server as it is prepared, or nil.
func (w *prepared) node(name string) *scoring.Node {
	if w.view == nil {
		return nil
	}
	if i := w.view.Index(name); i >= 0 && (w.nodes[i].Assumed == "" || w.marks[i].generation != uncounted) { // else nobody has counted its pods
		return &w.nodes[i]
	}
	return nil
}
