package sensors

import (
	"container/heap"
	"time"
)

// ReadSoon has nodes read before they are due, as when what is known of how to read them has changed; nodes that the poller does not read are
// left alone. It is bounded: of thousands of nodes at once, [PollerOptions].Concurrency are read a second, and those whose turn would
// come after they are due anyway are read then. A device that was asked is left alone for a fifth of Interval, and for as long as
// it has asked for. Parts of a source that answer for many nodes with one request are not asked sooner.
func (p *Poller) ReadSoon(nodes ...string) {
	p.mu.Lock()
	for _, n := range nodes {
		if _, ok := p.wanted[n]; ok {
			p.soon[n] = struct{}{}
		}
	}
	p.mu.Unlock()
	p.wakeUp()
}

// hasten lets the nodes be due soon of which that was asked.
func (l *pollLoop) hasten() {
	l.mu.Lock()
	soon := l.soon
	if len(soon) == 0 { // this runs for every read
		l.mu.Unlock()
		return
	}
	l.soon = make(map[string]struct{})
	l.mu.Unlock()
	now := time.Now()
	for n := range soon {
		if s := l.state[n]; s != nil {
			for _, t := range s.tasks {
				l.advance(t, now)
			}
		}
	}
}

// advance lets a task be due as soon as it may be.
func (l *pollLoop) advance(t *pollTask, now time.Time) {
	if t.flying { // by what was known before
		t.soon = true
		return
	}
	at := latest(now, l.turn.Add(-time.Second), t.asked.Add(l.opts.Interval/5), t.alone)
	if !at.Before(t.due) {
		return
	}
	l.turn = latest(now, l.turn).Add(time.Second / time.Duration(l.opts.Concurrency))
	t.due = at
	heap.Fix(t.heap, t.index)
}

func latest(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.After(t) {
			t = o
		}
	}
	return t
}
