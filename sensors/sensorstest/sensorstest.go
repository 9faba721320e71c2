// Package sensorstest checks that a sensors.SensorSource keeps its contract. Every back end and every
// decorator of this module runs it; so should yours:
//
//	err := sensorstest.TestSource(source, sensorstest.Want{Node: "worker-1", Kinds: []sensors.Kind{sensors.Power}})
//	if err != nil {
//		t.Error(err)
//	}
//
// Run it under the race detector as well. Package emulate below it holds the devices to test against.
package sensorstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// patience is how long a source may take to notice that its context has ended.
const patience = 30 * time.Second

// Want is what the source under test is to do.
type Want struct {
	// Node is one that the source reads without an error.
	Node string

	// Kinds must be among the readings of Node.
	Kinds []sensors.Kind

	// Unknown is a node that the source does not know; "" means "sensorstest-unknown". AnyNode says that
	// the source knows every node, so that there is none.
	Unknown string
	AnyNode bool

	// Fails are nodes whose reads fail, and an error that theirs must wrap, such as
	// [sensors.ErrUnreachable]; nil means any.
	Fails map[string]error

	// Hangs is a node whose device never answers; "" leaves the check out.
	Hangs string

	// Secrets are credentials that the source holds. No error may contain one.
	Secrets []string
}

// TestSource checks the contract of [sensors.SensorSource], and of [sensors.BatchSource] where s
// implements it: readings are finite, have a time and a source, and no kind occurs twice; errors are
// [*sensors.Error] with source and node, and hold no credential; an unknown node is
// [sensors.ErrUnknownNode]; the caller owns what it is given; concurrent reads are safe; a read ends with
// its context; a batch has an entry for each node, and a node that fails spoils no other.
//
// It returns every breach that it found, joined.
func TestSource(s sensors.SensorSource, w Want) error {
	if w.Unknown == "" {
		w.Unknown = "sensorstest-unknown"
	}
	c := &checker{s: s, w: w}
	c.good()
	if len(c.errs) > 0 {
		return errors.Join(c.errs...) // without a good reading, the rest says nothing
	}
	c.unknown()
	c.fails()
	c.ends()
	c.owned()
	c.concurrent()
	if b, ok := s.(sensors.BatchSource); ok {
		c.batch(b)
	}
	return errors.Join(c.errs...)
}

type checker struct {
	s    sensors.SensorSource
	w    Want
	mu   sync.Mutex
	errs []error // guarded by mu
}

func (c *checker) errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, fmt.Errorf("sensorstest: "+format, args...))
}

// read reads within the suite's patience.
func (c *checker) read(ctx context.Context, node string) (r []sensors.Reading, err error, ok bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err = c.s.Read(ctx, node)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return r, err, true
	case <-timer.C:
		c.errorf("Read(%q) did not return within %v", node, patience)
		return nil, nil, false
	}
}

func (c *checker) good() {
	r, err, ok := c.read(context.Background(), c.w.Node)
	if !ok {
		return
	}
	if err != nil {
		c.errorf("Read(%q): %v, want no error", c.w.Node, err)
	}
	c.readings("Read", c.w.Node, r)
	for _, k := range c.w.Kinds {
		if !slices.ContainsFunc(r, func(r sensors.Reading) bool { return r.Kind == k }) {
			c.errorf("Read(%q) gave %s, want %s among them", c.w.Node, kinds(r), k)
		}
	}
}

func (c *checker) readings(call, node string, readings []sensors.Reading) {
	if len(readings) == 0 {
		c.errorf("%s(%q) gave no readings", call, node)
	}
	seen := map[sensors.Kind]bool{}
	for _, r := range readings {
		switch {
		case r.Kind == "":
			c.errorf("%s(%q): a reading of %v has no kind", call, node, r.Value)
		case seen[r.Kind]:
			c.errorf("%s(%q): %s occurs twice", call, node, r.Kind)
		case math.IsNaN(r.Value) || math.IsInf(r.Value, 0):
			c.errorf("%s(%q): %s is %v, want a finite value", call, node, r.Kind, r.Value)
		case r.At.IsZero():
			c.errorf("%s(%q): %s has no time", call, node, r.Kind)
		case r.Source == "":
			c.errorf("%s(%q): %s has no source", call, node, r.Kind)
		}
		seen[r.Kind] = true
	}
}

// failed checks an error of a read.
func (c *checker) failed(call, node string, err, want error) {
	if err == nil {
		c.errorf("%s(%q) returned no error", call, node)
		return
	}
	if want != nil && !errors.Is(err, want) {
		c.errorf("%s(%q): error %q, want it to wrap %q", call, node, err, want)
	}
	for _, secret := range c.w.Secrets {
		if strings.Contains(err.Error(), secret) || strings.Contains(fmt.Sprintf("%+v", err), secret) {
			c.errorf("%s(%q): the error holds a credential", call, node)
		}
	}
	for _, e := range sensors.Errors(err) {
		switch se, ok := errors.AsType[*sensors.Error](e); {
		case !ok:
			c.errorf("%s(%q): error %q, want a *sensors.Error", call, node, e)
		case se.Node != node || se.Source == "" || se.Err == nil:
			c.errorf("%s(%q): the error is of source %q, node %q, cause %v, want all of them, and this node", call, node, se.Source, se.Node, se.Err)
		}
	}
}

func (c *checker) unknown() {
	if c.w.AnyNode {
		return
	}
	if r, err, ok := c.read(context.Background(), c.w.Unknown); ok {
		if len(r) > 0 {
			c.errorf("Read(%q) gave %s of a node that it does not know", c.w.Unknown, kinds(r))
		}
		c.failed("Read", c.w.Unknown, err, sensors.ErrUnknownNode)
	}
}

func (c *checker) fails() {
	for node, want := range c.w.Fails {
		if _, err, ok := c.read(context.Background(), node); ok {
			c.failed("Read", node, err, want)
		}
	}
}

// ends checks that a read ends with its context: before it begins, and while the device hangs.
func (c *checker) ends() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err, ok := c.read(ctx, c.w.Node); ok && len(r) == 0 {
		c.failed("Read with an ended context", c.w.Node, err, nil)
	}
	if c.w.Hangs == "" {
		return
	}
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if r, err, ok := c.read(ctx, c.w.Hangs); ok {
		if len(r) > 0 {
			c.errorf("Read(%q) gave %s of a device that hangs", c.w.Hangs, kinds(r))
		}
		c.failed("Read", c.w.Hangs, err, sensors.ErrUnreachable)
	}
}

// owned checks that what a read gave is the caller's: changing it changes no later read.
func (c *checker) owned() {
	first, _, ok := c.read(context.Background(), c.w.Node)
	if !ok {
		return
	}
	want := kinds(first)
	for i := range first {
		first[i] = sensors.Reading{Kind: "sensorstest", Value: math.NaN()}
	}
	again, _, ok := c.read(context.Background(), c.w.Node)
	if got := kinds(again); ok && got != want {
		c.errorf("after the caller changed what Read(%q) gave, it gives %s, want %s", c.w.Node, got, want)
	}
}

func (c *checker) concurrent() {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if r, err, ok := c.read(context.Background(), c.w.Node); ok {
				if err != nil {
					c.errorf("one of eight concurrent reads of %q: %v", c.w.Node, err)
				}
				c.readings("concurrent Read", c.w.Node, r)
			}
		})
	}
	wg.Wait()
}

func (c *checker) batch(b sensors.BatchSource) {
	nodes := []string{c.w.Node}
	if !c.w.AnyNode {
		nodes = append(nodes, c.w.Unknown)
	}
	nodes = append(nodes, slices.Sorted(maps.Keys(c.w.Fails))...)
	given := slices.Clone(nodes)
	readings, errs := b.ReadAll(context.Background(), given)
	if !slices.Equal(given, nodes) {
		c.errorf("ReadAll changed the list of nodes that it was given")
	}
	if err := errs[c.w.Node]; err != nil {
		c.errorf("ReadAll: %q has the error %v, want none: other nodes' failures are theirs", c.w.Node, err)
	}
	c.readings("ReadAll", c.w.Node, readings[c.w.Node])
	single, _, _ := c.read(context.Background(), c.w.Node)
	if all, one := kinds(readings[c.w.Node]), kinds(single); all != one {
		c.errorf("ReadAll gave %s of %q, and Read %s", all, c.w.Node, one)
	}
	if !c.w.AnyNode {
		c.failed("ReadAll", c.w.Unknown, errs[c.w.Unknown], sensors.ErrUnknownNode)
	}
	for node, want := range c.w.Fails {
		c.failed("ReadAll", node, errs[node], want)
	}
	for node := range readings {
		if !slices.Contains(nodes, node) {
			c.errorf("ReadAll gave the node %q, which nobody asked for", node)
		}
	}
	if r, e := b.ReadAll(context.Background(), nil); len(r) > 0 || len(e) > 0 {
		c.errorf("ReadAll of no nodes gave %d readings and %d errors", len(r), len(e))
	}
}

// kinds names the kinds of readings, sorted.
func kinds(readings []sensors.Reading) string {
	var all []string
	for _, r := range readings {
		all = append(all, string(r.Kind))
	}
	slices.Sort(all)
	return fmt.Sprint(all)
}
