package sensors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Hardware is what a machine says that it is. A zero field was not told.
type Hardware struct {
	System   string  // maker and model: "Dell Inc. PowerEdge R740"
	CPU      string  // "Intel(R) Xeon(R) Gold 6140 CPU @ 2.30GHz"
	Chips    int     // CPU packages
	Cores    int     // of all chips
	Threads  int     // of all chips
	MemoryGB float64 // as data sheets count it, 2^30 bytes
}

// An Identifier is a source that can tell which hardware a node is. The device is asked at each call: what it
// tells hardly ever changes, so ask seldom, and never for a decision. The promises are those of Read; a node
// that tells nothing is an error that wraps [ErrNoReading].
type Identifier interface {
	SensorSource
	Identify(ctx context.Context, node string) (Hardware, error)
}

// Identify asks a source, and those that it is made of, which hardware a node is. What the first lacks, the
// next may tell. Where no source is an [Identifier] the error wraps [errors.ErrUnsupported].
func Identify(ctx context.Context, s SensorSource, node string) (Hardware, error) {
	if !Identifies(s) {
		return Hardware{}, &Error{Source: Name(s), Node: node, Err: fmt.Errorf("it tells of no hardware: %w", errors.ErrUnsupported)}
	}
	if i, ok := s.(Identifier); ok {
		return i.Identify(ctx, node)
	}
	var all Hardware
	var errs []error
	for _, inner := range s.(Wrapper).Unwrap() {
		if !Identifies(inner) {
			continue
		}
		h, err := Identify(ctx, inner, node)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = Hardware{System: cmp.Or(all.System, h.System), CPU: cmp.Or(all.CPU, h.CPU), Chips: cmp.Or(all.Chips, h.Chips),
			Cores: cmp.Or(all.Cores, h.Cores), Threads: cmp.Or(all.Threads, h.Threads), MemoryGB: cmp.Or(all.MemoryGB, h.MemoryGB)}
	}
	if all == (Hardware{}) {
		return all, joinKnown(errs, false)
	}
	return all, nil
}

// Identifies reports whether a source, or one that it is made of, is an [Identifier].
func Identifies(s SensorSource) bool {
	w, wraps := s.(Wrapper)
	if !wraps {
		_, ok := s.(Identifier)
		return ok
	}
	return slices.ContainsFunc(w.Unwrap(), Identifies)
}

// Identify implements [Identifier] where the source does, under the same limit as reads.
func (l *limiter) Identify(ctx context.Context, node string) (Hardware, error) {
	if err := l.wait(ctx, node); err != nil {
		return Hardware{}, &Error{Source: l.String(), Node: node, Err: err}
	}
	return Identify(ctx, l.SensorSource, node)
}

// Identify implements [Identifier] where the source does. A node that is left alone is not asked, and credentials
// that are refused count.
func (b *Breaker) Identify(ctx context.Context, node string) (Hardware, error) {
	if err := b.open(node); err != nil {
		return Hardware{}, err
	}
	h, err := Identify(ctx, b.source, node)
	b.note(node, err == nil || errors.Is(err, ErrNoReading), err)
	return h, err
}
