package scheduler

import (
	"math/bits"
	"sync/atomic"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// places finds the place of a server in a view by its NodeInfo: several times for each node and pod, so it matters
// that a map of names touches many times the memory. It is safe for concurrent use.
type places struct {
	view *scoring.View

	// slots remember, by the low bits of the generation of a NodeInfo, the place that was found for it. They are a
	// guess: generations differ in kube-scheduler, but their low bits need not.
	slots []atomic.Uint32
}

func newPlaces(v *scoring.View) *places {
	return &places{view: v, slots: make([]atomic.Uint32, 8<<bits.Len(uint(v.Len())))}
}

// find returns the place of a server, or -1 if the view lacks it. found are the objects by which servers were found
// before, each at its place: where one is the same, so is its name, and need not be looked at.
func (p *places) find(info fwk.NodeInfo, node *v1.Node, found []*v1.Node) int {
	slot := &p.slots[uint64(info.GetGeneration())%uint64(len(p.slots))]
	if i := int(slot.Load()); i < len(found) && found[i] == node {
		return i
	}
	i := p.view.Index(node.Name)
	if i >= 0 {
		slot.Store(uint32(i))
	}
	return i
}
