package sensors

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
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

	state   map[string]*nodeState
	batches []*pollTask // one for each part that is a BatchSource
	due     taskHeap    // tasks that wait, of nodes that do well
	suspect taskHeap    // tasks that wait, of nodes whose last read failed

	busy     int // reads that count against Concurrency
	inFlight int // reads that have not returned and were not given up
	suspects int // those of them whose last read failed
	stuck    map[*flight]struct{}

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
	failures int
	read     bool // at least once
	flying   bool
	removed  bool
	heap     *taskHeap
	index    int // in heap
}

type nodeState struct {
	parts []partState
	tasks []*pollTask // of parts that are no BatchSource
}

// A flight is one read.
type flight struct {
	task    *pollTask
	nodes   []string
	started time.Time
	suspect bool
	slow    bool // no longer counts against Concurrency
	over    bool // returned or given up
}

type pollEvent struct {
	flight   *flight
	what     int
	at       time.Time
	readings map[string][]Reading
	errs     map[string]error
}

const (
	flightReturned = iota
	flightSlow
	flightOverdue
)

func newPollLoop(p *Poller, ctx context.Context) *pollLoop {
	l := &pollLoop{Poller: p, ctx: ctx, events: make(chan pollEvent), done: make(chan struct{}),
		state: make(map[string]*nodeState), stuck: make(map[*flight]struct{}), next: make(map[string]*NodeReadings)}
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

func (l *pollLoop) put(t *pollTask) {
	if t.failures > 0 {
		heap.Push(&l.suspect, t)
	} else {
		heap.Push(&l.due, t)
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

func (l *pollLoop) fly(t *pollTask, now time.Time, suspect bool) {
	if len(t.nodes) == 0 { // a batch of nothing
		t.due = now.Add(l.opts.Interval)
		l.put(t)
		return
	}
	f := &flight{task: t, nodes: t.nodes, started: now, suspect: suspect}
	t.flying = true
	l.busy++
	l.inFlight++
	if suspect {
		l.suspects++
	}
	l.metrics.inFlight.Inc()
	go l.read(f)
}

// read makes one read and reports it, also while it lasts too long.
func (l *pollLoop) read(f *flight) {
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.Timeout)
	defer cancel()
	slow := time.AfterFunc(l.opts.Patience, func() { l.send(pollEvent{flight: f, what: flightSlow}) })
	defer slow.Stop()
	overdue := time.AfterFunc(l.opts.Timeout+grace, func() { l.send(pollEvent{flight: f, what: flightOverdue, at: time.Now()}) })
	defer overdue.Stop()
	e := pollEvent{flight: f, what: flightReturned}
	e.readings, e.errs = call(ctx, l.parts[f.task.part], f.task.batch, f.nodes)
	e.at = time.Now()
	l.send(e)
}

func (l *pollLoop) send(e pollEvent) {
	select {
	case l.events <- e:
	case <-l.done:
	}
}

// call reads, and makes a panic the error of the nodes.
func call(ctx context.Context, s SensorSource, b BatchSource, nodes []string) (readings map[string][]Reading, errs map[string]error) {
	defer func() {
		if v := recover(); v != nil {
			readings, errs = nil, make(map[string]error, len(nodes))
			for _, n := range nodes {
				errs[n] = &Error{Source: Name(s), Node: n, Err: fmt.Errorf("%w: the source panicked: %v", ErrMalformed, v)}
			}
		}
	}()
	if b != nil {
		return ReadAll(ctx, b, nodes)
	}
	r, err := s.Read(ctx, nodes[0])
	if len(r) == 0 && err == nil {
		err = &Error{Source: Name(s), Node: nodes[0], Err: ErrNoReading}
	}
	return map[string][]Reading{nodes[0]: r}, map[string]error{nodes[0]: err}
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

// take takes in an event.
func (l *pollLoop) take(e pollEvent) {
	f := e.flight
	switch {
	case e.what == flightSlow:
		if !f.over && !f.slow {
			f.slow = true
			l.busy--
		}
		return
	case e.what == flightOverdue:
		if f.over {
			return
		}
		l.stuck[f] = struct{}{}
		l.metrics.stuck.Set(float64(len(l.stuck)))
		e.errs = make(map[string]error, len(f.nodes))
		for _, n := range f.nodes {
			e.errs[n] = &Error{Source: Name(l.parts[f.task.part]), Node: n,
				Err: fmt.Errorf("%w: the read ignores its deadline of %v and still runs", ErrUnreachable, l.opts.Timeout)}
		}
		l.land(f)
		l.record(e)
		return // the task is free when the read returns
	case f.over: // given up, and now back: what it read is too late
		delete(l.stuck, f)
		l.metrics.stuck.Set(float64(len(l.stuck)))
	default:
		l.land(f)
		l.record(e)
	}
	f.task.flying = false
	l.schedule(f, e)
}

func (l *pollLoop) land(f *flight) {
	f.over = true
	if !f.slow {
		l.busy--
	}
	if f.suspect {
		l.suspects--
	}
	l.inFlight--
	l.metrics.inFlight.Dec()
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
			d = max(d, min(r.RetryAfter(), maxRetry))
		}
	}
	t.due = f.started.Add(d)
	l.put(t)
}

// retryAfter is an error that says how long the device wants to be left alone.
type retryAfter interface {
	error
	RetryAfter() time.Duration
}

// drain waits for the reads after the context has ended, and returns the nodes whose reads go on.
func (l *pollLoop) drain() []string {
	patience := time.NewTimer(grace)
	defer patience.Stop()
	for l.inFlight+len(l.stuck) > 0 {
		select {
		case e := <-l.events:
			if e.what == flightReturned {
				delete(l.stuck, e.flight)
				if !e.flight.over {
					l.land(e.flight)
				}
				e.flight.task.flying = false
			}
		case <-patience.C:
			return l.flying()
		}
	}
	return nil
}

func (l *pollLoop) flying() []string {
	var nodes []string
	for n, s := range l.state {
		if slices.ContainsFunc(s.tasks, func(t *pollTask) bool { return t.flying }) {
			nodes = append(nodes, n)
		}
	}
	for _, t := range l.batches {
		if t.flying {
			nodes = append(nodes, t.nodes...)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// taskHeap is ordered by when tasks are due.
type taskHeap []*pollTask

func (h taskHeap) ready(now time.Time) bool { return len(h) > 0 && !h[0].due.After(now) }

func (h taskHeap) Len() int           { return len(h) }
func (h taskHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h taskHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements [heap.Interface].
func (h *taskHeap) Push(x any) {
	t := x.(*pollTask)
	t.heap, t.index = h, len(*h)
	*h = append(*h, t)
}

// Pop implements [heap.Interface].
func (h *taskHeap) Pop() any {
	t := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	t.heap = nil
	return t
}
