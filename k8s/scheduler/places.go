package scheduler

import (
	"math/bits"
	"sync/atomic"

	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// places finds the place of a server in a view by its NodeInfo: several times for each node and pod, so it matters
// that a map of names touches three times the memory. It is safe for concurrent use.
type places struct {
	view  *scoring.View
	names []string // in the order of the view

	// slots remember, by the low bits of the generation of a NodeInfo, that generation and the place that was
	// found for it. They are a guess: generations are unique in kube-scheduler, but nothing promises
	// that, so a name decides.
	slots []atomic.Uint64
}

// placeBits is how much of a slot is the place; the rest is the generation.
const placeBits = 24

func newPlaces(v *scoring.View) *places {
	p := &places{view: v, names: make([]string, v.Len()), slots: make([]atomic.Uint64, 8<<bits.Len(uint(v.Len())))}
	for i := range p.names {
		p.names[i] = v.Nodes()[i].Name
	}
	return p
}

// find returns the place of a server, or -1 if the view lacks it.
func (p *places) find(info fwk.NodeInfo) int {
	g, name := uint64(info.GetGeneration()), info.Node().Name
	slot := &p.slots[g%uint64(len(p.slots))]
	if s := slot.Load(); s>>placeBits == g {
		if i := int(s % (1 << placeBits)); i < len(p.names) && p.names[i] == name {
			return i
		}
	}
	i := p.view.Index(name)
	if i >= 0 && i < 1<<placeBits && g < 1<<(64-placeBits) {
		slot.Store(g<<placeBits | uint64(i))
	}
	return i
}
