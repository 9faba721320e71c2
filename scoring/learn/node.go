package learn

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
)

// An entry is what readers see of a node.
type entry struct {
	source string // of the prior
	model  atomic.Pointer[calibrate.Learned]
	status atomic.Pointer[Status]
}

// A node is the learning side of one server.
type node struct {
	online *calibrate.Online
	entry  *entry
	last   time.Time // of the last reading of power that was taken
	seen   time.Time // when it was taken
	dirty  bool      // learned since it was saved
	first  []pair    // what was taken in, while it is little
	taken  int       // readings, since the learner began with the node or with what the store had
	status Status
}

// A pair is what a node drew in a state.
type pair struct {
	state power.State
	watts power.Watts
}

// maxFirst is how many readings may be taken in before more knowledge of the hardware comes too late to matter: the
// readings know better.
const maxFirst = 32

// Restart asks again what is thought of a node, and has it learn anew from that and from the readings there were,
// where they are few: for when more is known of its hardware than at first. A node that has learned much already,
// or before a restart of the program, goes on as it is, and so does one of which the same is thought. Where the store has
// by now what rests on more readings, and of those that the node has few were taken in here, that counts: another program
// learned it.
func (l *Learner) Restart(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[name]
	if n == nil || n.taken > maxFirst {
		return nil
	}
	if online := l.kept(name); online != nil && online.Readings() > n.online.Readings() {
		n.first, n.taken, n.dirty = nil, 0, false
		return l.replace(name, n, online)
	}
	if n.online.Readings() != len(n.first) {
		return nil
	}
	b, err := l.start(name)
	if err != nil || b == n.online.Start() {
		return err
	}
	online := calibrate.NewOnline(b, l.opts.Online)
	for _, p := range n.first {
		if _, err := online.Observe(p.state, p.watts); err != nil {
			return fmt.Errorf("node %q: %w", name, err)
		}
	}
	return l.replace(name, n, online)
}

// replace has a node go on from another learner. The caller holds mu.
func (l *Learner) replace(name string, n *node, online *calibrate.Online) error {
	n.online = online
	n.entry = &entry{source: online.Start().Source}
	if err := n.publish(); err != nil {
		return fmt.Errorf("node %q: %w", name, err)
	}
	l.models.Store(name, n.entry)
	return nil
}

// kept returns what was kept of a node, nil where there is nothing that can be used. The caller holds mu.
func (l *Learner) kept(name string) *calibrate.Online {
	online, err := l.load(name)
	if err != nil {
		l.opts.Logger.Error("model file not used", "node", name, "err", err)
		return nil
	}
	return online
}

// node returns the learner of a node, made where it is missing. The caller holds mu.
func (l *Learner) node(name string, now time.Time) (*node, error) {
	if n := l.nodes[name]; n != nil {
		return n, nil
	}
	online := l.kept(name)
	if online == nil {
		b, err := l.start(name)
		if err != nil {
			return nil, err
		}
		online = calibrate.NewOnline(b, l.opts.Online)
	}
	n := &node{online: online, entry: &entry{source: online.Start().Source}, seen: now, status: Status{Node: name, Readings: online.Readings()}}
	if err := n.publish(); err != nil {
		return nil, fmt.Errorf("node %q: %w", name, err)
	}
	l.nodes[name] = n
	l.models.Store(name, n.entry)
	return n, nil
}

// publish makes the node's present curve visible.
func (n *node) publish() error {
	m, err := n.online.Model()
	if err != nil {
		return err
	}
	n.status.Readings, n.status.Drifts, n.status.Shift = n.online.Readings(), n.online.Drifts(), n.online.Shift()
	n.status.Noise, n.status.Prior = n.online.Noise(), m.Prior()
	n.entry.model.Store(m)
	n.entry.status.Store(new(n.status))
	return nil
}
