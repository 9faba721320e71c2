package scheduler

import (
	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

const triedKey fwk.StateKey = "Reserve" + Name

// A try is what is known of a pod when it is reserved. All pods of a pod group go through cycles, each with those before it on their
// nodes, and are taken back, for each placement; those of the best one are then reserved again, with the states of those
// cycles and without others. Nobody else can tell by then what the candidates were.
type try struct {
	chosen   *scoring.Node // nil is not known
	watched  *shadowed     // nil where the plugin decides
	decision int           // the number of the decision that is kept of it; 0 is none
}

// Clone implements the framework's StateData.
func (t *try) Clone() fwk.StateData { return t }

// try leaves what is known of a pod of a group in its cycle.
func (p *Plugin) try(cs fwk.CycleState, pod *v1.Pod, node string) {
	t := &try{chosen: p.known(node), decision: p.decisions.number(pod.UID)}
	if t.chosen != nil {
		t.chosen = new(*t.chosen)
	}
	if p.shadow != nil {
		t.watched = new(p.watched)
	}
	cs.Write(triedKey, t)
}

// tried returns what is known of a pod now, or was known when it was tried. It is of use while p.mu is held.
func (p *Plugin) tried(cs fwk.CycleState, node string) try {
	if d, err := cs.Read(triedKey); err == nil {
		return *d.(*try)
	}
	return try{chosen: p.known(node), watched: &p.watched}
}

// known returns a server as it was looked at last, or nil.
func (p *Plugin) known(node string) *scoring.Node {
	if n := p.work.node(node); n != nil {
		return n
	}
	return p.site.View().Node(node)
}
