package sensors

import (
	"context"
	"fmt"
	"slices"
	"time"
)

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
	if f.task.removed {
		l.forget(f.task.part, f.nodes[0])
	}
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
				if e.flight.task.removed {
					l.forget(e.flight.task.part, e.flight.nodes[0])
				}
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
