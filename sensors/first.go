package sensors

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// First returns a source that asks the sources one after the other, until one gives a reading: a BMC, and
// an exporter for when the BMC is dead. What it returns beside the readings is why the earlier sources gave
// none, except that they do not know the node. It is a [BatchSource] if all of them are.
func First(sources ...SensorSource) SensorSource {
	f := first{slices.Clone(sources)}
	if len(sources) > 0 && allBatch(sources) {
		return batchFirst{f}
	}
	return f
}

type first struct{ sources []SensorSource }

func (f first) Read(ctx context.Context, node string) ([]Reading, error) {
	var errs []error
	for _, s := range f.sources {
		readings, err := s.Read(ctx, node)
		if err != nil {
			errs = append(errs, err)
		}
		if len(readings) > 0 || ctx.Err() != nil {
			return readings, joinKnown(errs, len(readings) > 0)
		}
	}
	if len(errs) == 0 {
		errs = []error{&Error{Source: f.String(), Node: node, Err: ErrNoReading}}
	}
	return nil, joinKnown(errs, false)
}

// String names the sources.
func (f first) String() string { return "first(" + names(f.sources) + ")" }

type batchFirst struct{ first }

func (f batchFirst) ReadAll(ctx context.Context, nodes []string) (map[string][]Reading, map[string]error) {
	all := make(map[string][]Reading, len(nodes))
	errs := make(map[string][]error)
	missing := nodes
	for _, s := range f.sources {
		readings, failed := ReadAll(ctx, s, missing)
		var next []string
		for _, n := range missing {
			if err := failed[n]; err != nil {
				errs[n] = append(errs[n], err)
			}
			if r := readings[n]; len(r) > 0 {
				all[n] = r
			} else {
				next = append(next, n)
			}
		}
		missing = next
		if len(missing) == 0 || ctx.Err() != nil {
			break
		}
	}
	left := make(map[string]error, len(errs))
	for _, n := range nodes {
		if err := joinKnown(errs[n], len(all[n]) > 0); err != nil {
			left[n] = err
		} else if len(all[n]) == 0 {
			left[n] = &Error{Source: f.String(), Node: n, Err: ErrNoReading}
		}
	}
	return all, left
}

// ReadAll reads many nodes: in one request where the source is a [BatchSource], otherwise one by one. A
// node that a batch left out of both its maps has an error here. The [Poller] is the better way to read
// many nodes of a source that is none.
func ReadAll(ctx context.Context, s SensorSource, nodes []string) (map[string][]Reading, map[string]error) {
	b, ok := s.(BatchSource)
	if !ok {
		readings, errs := make(map[string][]Reading, len(nodes)), make(map[string]error)
		for _, n := range nodes {
			r, err := s.Read(ctx, n)
			if len(r) > 0 {
				readings[n] = r
			}
			if err != nil {
				errs[n] = err
			}
		}
		return readings, errs
	}
	readings, errs := b.ReadAll(ctx, nodes)
	if readings == nil {
		readings = make(map[string][]Reading)
	}
	if errs == nil {
		errs = make(map[string]error)
	}
	for _, n := range nodes {
		if len(readings[n]) == 0 && errs[n] == nil {
			errs[n] = &Error{Source: Name(s), Node: n, Err: fmt.Errorf("%w: not in the answer", ErrNoReading)}
		}
	}
	return readings, errs
}

// joinKnown joins what sources failed with. That one of several does not know the node is no failure where
// another has read it or has failed in a better way.
func joinKnown(errs []error, read bool) error {
	known := make([]error, 0, len(errs))
	for _, err := range errs {
		if !errors.Is(err, ErrUnknownNode) {
			known = append(known, err)
		}
	}
	if len(known) == 0 && !read {
		known = errs
	}
	if len(known) == 1 {
		return known[0]
	}
	return errors.Join(known...)
}

func allBatch(sources []SensorSource) bool {
	return !slices.ContainsFunc(sources, func(s SensorSource) bool {
		_, ok := s.(BatchSource)
		return !ok
	})
}
