package sensors

import (
	"context"
	"errors"
	"slices"
)

// A Forgetter is a source that keeps something for each node that it has read: a session, a connection. Forget
// lets go of it when the node is read no more; it waits for a read of the node that runs and returns when ctx
// is done. It is safe for concurrent use, and a node that it does not know is no error. A node that is read
// again afterwards is as one that was never read.
type Forgetter interface {
	SensorSource
	Forget(ctx context.Context, node string) error
}

// A Wrapper is a source that is made of others, as decorators are: what a source can do beside Read is looked
// for in those as well. The slice is not to be changed.
type Wrapper interface {
	SensorSource
	Unwrap() []SensorSource
}

// Forget tells a source, and all that it is made of, that a node is read no more. A [Poller] does so for nodes
// that are removed from it.
func Forget(ctx context.Context, s SensorSource, node string) error {
	var errs []error
	if f, ok := s.(Forgetter); ok {
		errs = append(errs, f.Forget(ctx, node))
	}
	if w, ok := s.(Wrapper); ok {
		for _, inner := range w.Unwrap() {
			errs = append(errs, Forget(ctx, inner, node))
		}
	}
	return errors.Join(errs...)
}

// forgets reports whether Forget has anything to tell.
func forgets(s SensorSource) bool {
	if _, ok := s.(Forgetter); ok {
		return true
	}
	if w, ok := s.(Wrapper); ok {
		if slices.ContainsFunc(w.Unwrap(), forgets) {
			return true
		}
	}
	return false
}

// Unwrap implements [Wrapper].
func (f first) Unwrap() []SensorSource { return f.sources }

// Unwrap implements [Wrapper].
func (m *merged) Unwrap() []SensorSource { return m.sources }

// Unwrap implements [Wrapper].
func (m mapped) Unwrap() []SensorSource { return []SensorSource{m.SensorSource} }

// Unwrap implements [Wrapper].
func (l *limiter) Unwrap() []SensorSource { return []SensorSource{l.SensorSource} }

// Unwrap implements [Wrapper].
func (b *Breaker) Unwrap() []SensorSource { return []SensorSource{b.source} }
