package sensors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Merge returns a source that asks all the sources at once and gives what any of them has. Where several
// have a kind, the first of them in the order of the arguments wins.
//
// A [Poller] asks each source of a Merge by itself, so that one that hangs holds up no other, and one
// that is a [BatchSource] is asked for all nodes in one request.
func Merge(sources ...SensorSource) SensorSource { return MergeBy(nil, sources...) }

// MergeBy is [Merge] with a precedence of its own for some kinds: the sources, by index, whose reading wins,
// best first. Sources that are not listed for a kind come after those that are. It panics on an index
// that is none.
func MergeBy(precedence map[Kind][]int, sources ...SensorSource) SensorSource {
	m := &merged{sources: slices.Clone(sources), order: make(map[Kind][]int, len(precedence))}
	for i := range sources {
		m.rest = append(m.rest, i)
	}
	for kind, listed := range precedence {
		var order []int
		for _, i := range slices.Concat(listed, m.rest) {
			_ = sources[i]
			if !slices.Contains(order, i) {
				order = append(order, i)
			}
		}
		m.order[kind] = order
	}
	return m
}

type merged struct {
	sources []SensorSource
	order   map[Kind][]int // of the sources, for kinds with a precedence of their own
	rest    []int          // the order for all other kinds
}

// String names the sources.
func (m *merged) String() string { return "merge(" + names(m.sources) + ")" }

// Read implements [SensorSource].
func (m *merged) Read(ctx context.Context, node string) ([]Reading, error) {
	readings, errs := make([][]Reading, len(m.sources)), make([]error, len(m.sources))
	var wg sync.WaitGroup
	for i, s := range m.sources {
		wg.Go(func() { readings[i], errs[i] = s.Read(ctx, node) })
	}
	wg.Wait()
	all := m.readings(readings)
	if err := m.err(errs, all); err != nil || len(all) > 0 {
		return all, err
	}
	return nil, &Error{Source: m.String(), Node: node, Err: ErrNoReading}
}

// readings takes each kind from the source that wins it.
func (m *merged) readings(from [][]Reading) []Reading {
	var all []Reading
	for i, readings := range from {
		for _, r := range readings {
			if m.winner(r.Kind, from) == i && !has(all, r.Kind) {
				all = append(all, r)
			}
		}
	}
	return all
}

func (m *merged) winner(kind Kind, from [][]Reading) int {
	for _, i := range m.precedence(kind) {
		if has(from[i], kind) {
			return i
		}
	}
	return -1
}

func (m *merged) precedence(kind Kind) []int {
	if order, ok := m.order[kind]; ok {
		return order
	}
	return m.rest
}

// err joins what the sources failed with. A kind that one lacks and another gave is no failure.
func (m *merged) err(errs []error, all []Reading) error {
	var left []error
	for _, err := range errs {
		for _, e := range Errors(err) {
			if e, ok := errors.AsType[*Error](e); ok && e.Kind != "" && has(all, e.Kind) {
				continue
			}
			left = append(left, e)
		}
	}
	return joinKnown(left, len(all) > 0)
}

func has(readings []Reading, kind Kind) bool {
	return slices.ContainsFunc(readings, func(r Reading) bool { return r.Kind == kind })
}

// Errors takes apart what [errors.Join] has joined, to any depth, so that each [*Error] can be counted and
// shown by itself; nil for nil.
func Errors(err error) []error {
	if err == nil {
		return nil
	}
	if fmt.Sprintf("%T", err) != joined { // fmt.Errorf with two %w unwraps to a slice as well
		return []error{err}
	}
	var all []error
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		all = append(all, Errors(e)...)
	}
	return all
}

const joined = "*errors.joinError"
