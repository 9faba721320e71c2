package sensors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// First returns a source that asks the sources one after the other, until one gives a reading: a BMC, and
// an exporter for when the BMC is dead. What it returns beside the readings is why the earlier sources gave
// none, except that they do not know the node. It is a [BatchSource] if all of them are.
//
// One that hangs leaves time for the others: when half of what was left until the deadline has passed, the next is
// asked beside it, and counts if the one before gives nothing until the end. A batch is given up after that half.
func First(sources ...SensorSource) SensorSource {
	f := first{slices.Clone(sources)}
	if len(sources) > 0 && allBatch(sources) {
		return batchFirst{f}
	}
	return f
}

type first struct{ sources []SensorSource }

// Read implements [SensorSource].
func (f first) Read(ctx context.Context, node string) ([]Reading, error) {
	readings, errs := inTurn(ctx, f.sources, node)
	if len(readings) == 0 && len(errs) == 0 {
		errs = []error{&Error{Source: f.String(), Node: node, Err: ErrNoReading}}
	}
	return readings, joinKnown(errs, len(readings) > 0)
}

// inTurn returns what the first source gave that gave anything, with its error and those of the sources before it.
func inTurn(ctx context.Context, sources []SensorSource, node string) ([]Reading, []error) {
	if len(sources) == 0 {
		return nil, nil
	}
	later, cancel := context.WithCancel(ctx)
	defer cancel()
	others := make(chan turn, 1)
	end := func() bool { return true }
	if deadline, ok := ctx.Deadline(); ok && len(sources) > 1 {
		end = time.AfterFunc(time.Until(deadline)/2, func() { others <- take(later, sources[1:], node) }).Stop
	}
	readings, err := sources[0].Read(ctx, node)
	waiting := end()
	var errs []error
	if err != nil {
		errs = []error{err}
	}
	if len(readings) > 0 {
		if cancel(); !waiting {
			<-others // is not needed, and ends as its context does
		}
		return readings, errs
	}
	var rest turn
	if !waiting {
		rest = <-others
	} else if ctx.Err() == nil {
		rest.readings, rest.errs = inTurn(ctx, sources[1:], node)
	}
	if rest.panicked != nil {
		panic(rest.panicked)
	}
	return rest.readings, append(errs, rest.errs...)
}

// A turn is what some sources gave beside the one before them.
type turn struct {
	readings []Reading
	errs     []error
	panicked any // is the caller's to deal with
}

func take(ctx context.Context, sources []SensorSource, node string) (t turn) {
	defer func() {
		if v := recover(); v != nil {
			t = turn{panicked: v}
		}
	}()
	t.readings, t.errs = inTurn(ctx, sources, node)
	return t
}

// String names the sources.
func (f first) String() string { return "first(" + names(f.sources) + ")" }

type batchFirst struct{ first }

func (f batchFirst) ReadAll(ctx context.Context, nodes []string) (map[string][]Reading, map[string]error) {
	all := make(map[string][]Reading, len(nodes))
	errs := make(map[string][]error)
	missing := nodes
	for i, s := range f.sources {
		readings, failed := readAllInTurn(ctx, s, missing, i == len(f.sources)-1)
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

// readAllInTurn leaves the sources that follow half of the time that is left.
func readAllInTurn(ctx context.Context, s SensorSource, nodes []string, last bool) (map[string][]Reading, map[string]error) {
	if deadline, ok := ctx.Deadline(); ok && !last {
		half, cancel := context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
		ctx = half
	}
	return ReadAll(ctx, s, nodes)
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
