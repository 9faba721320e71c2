package sensors

import (
	"errors"
	"maps"
	"math"
	"slices"
	"time"
)

// partState is what one part of the source measured of one node.
type partState struct {
	readings []Reading // of the last read that gave any
	kept     []Reading // of earlier reads, of kinds that the last did not give
	err      error
	tried    time.Time
	good     time.Time
	failures int
}

// record takes in what a read gave.
func (l *pollLoop) record(e pollEvent) {
	t := e.flight.task
	failed := 0
	for _, n := range e.flight.nodes {
		s := l.state[n]
		readings, err := clean(Name(l.parts[t.part]), n, e.readings[n], e.errs[n])
		if len(readings) > 0 || !errors.Is(err, ErrUnknownNode) {
			t.asked = e.flight.started
			if len(readings) == 0 {
				failed++
			}
		} // else no device was asked: there is nobody to spare
		if s == nil || t.removed { // removed meanwhile
			continue
		}
		l.metrics.count(n, err)
		part := &s.parts[t.part]
		part.update(readings, err, e.at, l.opts.Keep)
		l.log(n, l.next[n], err, part)
		l.next[n] = l.combine(n, s, e.at)
		l.dirty = true
	}
	l.metrics.latency.WithLabelValues(Name(l.parts[t.part])).Observe(e.at.Sub(e.flight.started).Seconds())
	if failed == len(e.flight.nodes) {
		t.failures++
	} else {
		t.failures = 0
	}
}

// log tells that a node has begun to fail, or that it is well again.
func (l *pollLoop) log(node string, before *NodeReadings, err error, part *partState) {
	switch {
	case part.failures == 1 && !errors.Is(err, ErrUnknownNode): // which is no failure of the node's
		l.opts.Logger.Warn("sensors: node cannot be read", "node", node, "reason", Reason(err), "error", err)
	case part.failures == 0 && before != nil && before.Failures > 0:
		l.opts.Logger.Info("sensors: node is read again", "node", node)
	}
}

func (p *partState) update(readings []Reading, err error, at time.Time, keep time.Duration) {
	p.tried, p.err = at, err
	var kept []Reading
	for _, before := range [...][]Reading{p.readings, p.kept} {
		for _, r := range before {
			if !has(readings, r.Kind) && r.Age(at) < keep {
				kept = append(kept, r)
			}
		}
	}
	p.readings, p.kept = readings, kept
	if len(readings) > 0 {
		p.good, p.failures = at, 0
	} else {
		p.failures++
	}
}

// combine joins the parts of a node. A reading of the last read goes before one that is only kept; among
// those that are kept, the youngest wins. One that is stale although it was read just now, as of a Prometheus that
// scrapes nothing any more, gives way to a fresh one of another part.
func (l *pollLoop) combine(node string, s *nodeState, now time.Time) *NodeReadings {
	if l.merge == nil {
		p := &s.parts[0]
		all := p.readings // which nobody changes
		if len(p.kept) > 0 {
			all = slices.Concat(p.readings, p.kept)
		}
		return &NodeReadings{Node: node, Readings: all, Err: p.err, Tried: p.tried, Good: p.good, Failures: p.failures}
	}
	n := &NodeReadings{Node: node, Failures: math.MaxInt}
	from, errs := make([][]Reading, len(s.parts)), make([]error, len(s.parts))
	for i := range s.parts {
		p := &s.parts[i]
		from[i], errs[i] = l.fresh(s, i, now), p.err
		if p.tried.After(n.Tried) {
			n.Tried = p.tried
		}
		if p.good.After(n.Good) {
			n.Good = p.good
		}
		if !p.tried.IsZero() {
			n.Failures = min(n.Failures, p.failures)
		}
	}
	n.Readings = l.merge.readings(from)
	current := len(n.Readings)
	for i := range s.parts {
		for _, r := range s.parts[i].kept {
			switch j := slices.IndexFunc(n.Readings, func(other Reading) bool { return other.Kind == r.Kind }); {
			case j < 0:
				n.Readings = append(n.Readings, r)
			case j >= current && r.At.After(n.Readings[j].At):
				n.Readings[j] = r
			}
		}
	}
	n.Err = l.merge.err(errs, n.Readings[:current])
	return n
}

// fresh returns what a part read last, without what is stale there and fresh in another part.
func (l *pollLoop) fresh(s *nodeState, part int, now time.Time) []Reading {
	readings := s.parts[part].readings
	gives := func(r Reading) bool {
		if r.Age(now) <= l.opts.MaxAge {
			return false
		}
		for i := range s.parts {
			for _, other := range s.parts[i].readings {
				if i != part && other.Kind == r.Kind && other.Age(now) <= l.opts.MaxAge {
					return true
				}
			}
		}
		return false
	}
	if !slices.ContainsFunc(readings, gives) {
		return readings
	}
	return slices.DeleteFunc(slices.Clone(readings), gives)
}

// publish swaps in a new snapshot, unless the last is too young.
func (l *pollLoop) publish() {
	now := time.Now()
	if !l.dirty || now.Sub(l.published) < publishEvery {
		return
	}
	l.snap.Store(NewSnapshot(now, maps.Clone(l.next)))
	l.published, l.dirty = now, false
}

// clean drops what no source may give: values that are not possible, and a kind for the second time.
func clean(source, node string, readings []Reading, err error) ([]Reading, error) {
	bad := slices.ContainsFunc(readings, func(r Reading) bool { return Possible(r.Kind, r.Value) != nil })
	if !bad && !repeated(readings) {
		return readings, err
	}
	var kept []Reading
	errs := Errors(err)
	for _, r := range readings {
		if err := Possible(r.Kind, r.Value); err != nil {
			errs = append(errs, &Error{Source: source, Node: node, Kind: r.Kind, Err: err})
		} else if !has(kept, r.Kind) {
			kept = append(kept, r)
		}
	}
	return kept, joinKnown(errs, true)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func repeated(readings []Reading) bool {
	for i, r := range readings {
		if has(readings[:i], r.Kind) {
			return true
		}
	}
	return false
}
