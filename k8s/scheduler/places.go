package scheduler

import (
	"math/bits"
	"sync/atomic"

	v1 "k8s.io/api/core/v1"

	"github.com/leastwatt/leastwatt/scoring"
)

// places finds the place of a server in a view by the generation of its NodeInfo: for each node and pod, several times,
// so it matters that a map of names touches many times the memory. It is safe for concurrent use.
type places struct {
	view *scoring.View

	// slots remember, by the low bits of a generation, places that were found for it, the last one first. They are a
	// guess: generations differ in kube-scheduler, but their low bits need not.
	slots [][ways]atomic.Uint32
}

// ways is how many places of the same low bits are remembered: with several times as many slots as servers, three share
// one rarely.
const ways = 2

func newPlaces(v *scoring.View) *places {
	return &places{view: v, slots: make([][ways]atomic.Uint32, 2<<bits.Len(uint(v.Len())))}
}

// guess returns the places that a server of a generation may have.
func (p *places) guess(generation int64) *[ways]atomic.Uint32 {
	return &p.slots[generation&int64(len(p.slots)-1)] // their number is a power of two
}

// remember puts a place where guess finds it.
func (p *places) remember(generation int64, i int) {
	g := p.guess(generation)
	if first := g[0].Load(); first != uint32(i) {
		g[1].Store(first)
		g[0].Store(uint32(i))
	}
}

// find returns the place of a server, or -1 if the view lacks it. found are the objects by which servers were found
// before, each at its place: where one is the same, so is its name, and need not be looked at.
func (p *places) find(generation int64, node *v1.Node, found []*v1.Node) int {
	g := p.guess(generation)
	for way := range g {
		if i := int(g[way].Load()); i < len(found) && found[i] == node {
			return i
		}
	}
	i := p.view.Index(node.Name)
	if i >= 0 {
		p.remember(generation, i)
	}
	return i
}
