package sensors

import (
	"container/heap"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	grace        = time.Second            // after its deadline, until a read is given up
	publishEvery = 100 * time.Millisecond // a snapshot of thousands of nodes is copied at most this often
	maxRetry     = time.Hour              // however long a device asks to be left alone
)

// pollLoop is one Run of a Poller. Its goroutine owns all of it; reads report by events.
type pollLoop struct {
	*Poller
	ctx    context.Context
	events chan pollEvent
	done   chan struct{} // closed when Run returns: nobody hears events

	synced  uint64 // the version of wanted that state has
	state   map[string]*nodeState
	batches []*pollTask // one for each part that is a BatchSource
	due     taskHeap    // tasks that wait, of nodes that do well
	suspect taskHeap    // tasks that wait, of nodes whose last read failed

	busy     int       // reads that count against Concurrency
	inFlight int       // reads that have not returned and were not given up
	suspects int       // those of them whose last read failed
	turn     time.Time // until when the nodes that are read before they are due have used up their second
	stuck    map[*flight]struct{}

	forgetting *forgetting

	next      map[string]*NodeReadings // what the next snapshot holds
	dirty     bool
	published time.Time
}

// A pollTask is a node, or all nodes of a part that is a BatchSource.
type pollTask struct {
	part     int
	nodes    []string
	batch    BatchSource
	due      time.Time
	asked    time.Time // when a device was asked last
	alone    time.Time // until when it wants to be left alone
	failures int
	read     bool // at least once
	flying   bool
	soon     bool // is to be read again soon after it has landed
	removed  bool
	heap     *taskHeap
	index    int // in heap
}

type nodeState struct {
	parts []partState
	tasks []*pollTask // of parts that are no BatchSource
}

func newPollLoop(p *Poller, ctx context.Context) *pollLoop {
	l := &pollLoop{Poller: p, ctx: ctx, events: make(chan pollEvent), done: make(chan struct{}),
		state: make(map[string]*nodeState), stuck: make(map[*flight]struct{}), next: make(map[string]*NodeReadings)}
	l.forgetting = l.newForgetting()
	for i, s := range p.parts {
		if b, ok := s.(BatchSource); ok {
			l.batches = append(l.batches, &pollTask{part: i, batch: b, due: time.Now()})
		}
	}
	for _, t := range l.batches {
		l.put(t)
	}
	return l
}

// sync makes the tasks those of the nodes that are wanted.
func (l *pollLoop) sync() {
	l.mu.Lock()
	if l.synced == l.version { // this runs for every read
		l.mu.Unlock()
		return
	}
	l.synced = l.version
	wanted := maps.Clone(l.wanted)
	l.mu.Unlock()
	changed := false
	for n, s := range l.state {
		if _, ok := wanted[n]; ok {
			continue
		}
		for _, t := range s.tasks {
			t.removed = true
			if t.heap != nil {
				heap.Remove(t.heap, t.index)
			}
		}
		delete(l.state, n)
		for _, t := range s.tasks {
			if !t.flying {
				l.forget(t.part, n)
			}
		}
		for _, t := range l.batches { // one that is under way may ask for it once more: there is nothing to wait for
			l.forget(t.part, n)
		}
		delete(l.next, n)
		l.metrics.forget(n)
		l.dirty, changed = true, true
	}
	now := time.Now()
	for n := range wanted {
		if l.state[n] != nil {
			continue
		}
		s := &nodeState{parts: make([]partState, len(l.parts))}
		for i, part := range l.parts {
			if _, ok := part.(BatchSource); !ok {
				t := &pollTask{part: i, nodes: []string{n}, due: now}
				s.tasks = append(s.tasks, t)
				l.put(t)
			}
		}
		l.state[n] = s
		changed = true
	}
	if changed {
		all := slices.Sorted(maps.Keys(l.state))
		for _, t := range l.batches {
			t.nodes, t.due = all, now
			if t.heap != nil {
				heap.Fix(t.heap, t.index)
			}
		}
	}
}

// start begins the reads that are due, within the limits.
func (l *pollLoop) start() {
	now := time.Now()
	for l.busy < l.opts.Concurrency && l.inFlight < l.opts.MaxInFlight {
		switch {
		case l.due.ready(now):
			l.fly(heap.Pop(&l.due).(*pollTask), now, false)
		case l.suspect.ready(now) && l.suspects < l.opts.MaxInFlight/2:
			l.fly(heap.Pop(&l.suspect).(*pollTask), now, true)
		default:
			return
		}
	}
}

// wait sleeps until there is something to do, and takes in what has happened.
func (l *pollLoop) wait() {
	var timer <-chan time.Time
	if at := l.wake(); !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-l.ctx.Done():
	case <-l.changed:
	case <-timer:
	case e := <-l.events:
		l.take(e)
	case d := <-l.forgetting.done:
		l.departed(d)
	}
}

// wake returns when there is something to do that no event tells; zero for never.
func (l *pollLoop) wake() (at time.Time) {
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if l.dirty {
		sooner(l.published.Add(publishEvery))
	}
	if l.busy < l.opts.Concurrency && l.inFlight < l.opts.MaxInFlight {
		if len(l.due) > 0 {
			sooner(l.due[0].due)
		}
		if len(l.suspect) > 0 && l.suspects < l.opts.MaxInFlight/2 {
			sooner(l.suspect[0].due)
		}
	}
	return at
}

// schedule decides when the task is read again.
func (l *pollLoop) schedule(f *flight, e pollEvent) {
	t := f.task
	if t.removed {
		return
	}
	d := l.opts.Interval
	if t.failures > 0 {
		for range min(t.failures-1, 32) {
			d = min(2*d, l.opts.MaxBackoff)
		}
	}
	spread := 0.1
	if !t.read {
		spread = 0.75 // all nodes began at once: let them drift apart
	}
	t.read = true
	d -= time.Duration(spread * rand.Float64() * float64(d))
	for _, err := range e.errs {
		if r, ok := errors.AsType[retryAfter](err); ok {
			wait := min(r.RetryAfter(), maxRetry)
			d, t.alone = max(d, wait), f.started.Add(wait)
		}
	}
	t.due = f.started.Add(d)
	l.put(t)
	if t.soon {
		t.soon = false
		l.advance(t, time.Now())
	}
}

// retryAfter is an error that says how long the device wants to be left alone.
type retryAfter interface {
	error
	RetryAfter() time.Duration
}
