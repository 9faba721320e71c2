package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// A directory is a source that learns while it is read how nodes are read, and notes when they were.
type directory struct {
	mu    sync.Mutex
	known map[string]error
	reads map[string][]time.Duration // since the start
	start time.Time
	takes time.Duration
}

func newDirectory() *directory {
	return &directory{known: make(map[string]error), reads: make(map[string][]time.Duration), start: time.Now()}
}

func (d *directory) learn(node string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known[node] = err
}

func (d *directory) of(node string) []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reads[node]
}

// Read implements [sensors.SensorSource].
func (d *directory) Read(_ context.Context, node string) ([]sensors.Reading, error) {
	d.mu.Lock()
	err, ok := d.known[node]
	d.mu.Unlock()
	if !ok {
		return nil, &sensors.Error{Source: "directory", Node: node, Err: sensors.ErrUnknownNode}
	}
	d.mu.Lock()
	d.reads[node] = append(d.reads[node], time.Since(d.start))
	d.mu.Unlock()
	time.Sleep(d.takes)
	return watts(100), err
}

func TestReadSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory()
		p := sensors.NewPoller(d, []string{"a", "alone"}, sensors.PollerOptions{Interval: 10 * time.Minute})
		p.ReadSoon("a", "stranger") // before it runs: it is read at once anyway
		poll(t, p)
		time.Sleep(time.Second)
		d.learn("a", nil)
		d.learn("stranger", nil)
		p.ReadSoon("a", "stranger")
		time.Sleep(time.Second)
		if r := d.of("a"); len(r) != 1 || r[0] > time.Second {
			t.Fatalf("a node of which it is known after a second how to read it was read at %v, want then", r)
		}
		if r := d.of("stranger"); len(r) != 0 {
			t.Errorf("a node that the poller does not read was read at %v", r)
		}
		// However often that is asked, a device is spared.
		for range 100 {
			p.ReadSoon("a")
			time.Sleep(time.Second)
		}
		if r := d.of("a"); len(r) != 1 {
			t.Errorf("within two minutes of ten the node was read at %v, want once", r)
		}
		time.Sleep(time.Minute)
		if r := d.of("a"); len(r) != 2 || r[1]-r[0] != 2*time.Minute {
			t.Errorf("the node was read at %v, want again two minutes after the first", r)
		}
		// A device that wants to be left alone is.
		d.learn("alone", busy{5 * time.Minute})
		p.ReadSoon("alone")
		time.Sleep(time.Second)
		d.learn("alone", nil)
		p.ReadSoon("alone")
		time.Sleep(6 * time.Minute)
		if r := d.of("alone"); len(r) != 2 || r[1]-r[0] != 5*time.Minute {
			t.Errorf("a node that asked for five minutes was read at %v", r)
		}
	})
}

// What is learned of a node while it is being read counts for the next read.
func TestReadSoonDuringARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory()
		d.takes = time.Second
		d.learn("a", errors.New("as it was described before"))
		p := sensors.NewPoller(d, []string{"a"}, sensors.PollerOptions{Interval: 10 * time.Minute})
		poll(t, p)
		time.Sleep(500 * time.Millisecond)
		d.learn("a", nil)
		p.ReadSoon("a")
		time.Sleep(2*time.Minute + 2*time.Second)
		if n := p.Snapshot().Node("a"); len(d.of("a")) != 2 || n.Err != nil {
			t.Errorf("the node was read at %v and has error %v, want the second read soon", d.of("a"), n.Err)
		}
	})
}

// Five thousand nodes of which it becomes known at once how to read them are no storm, and none is read later than it would have been.
func TestReadSoonOfThousandsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval, concurrency = 5 * time.Minute, 50
		d := newDirectory()
		var nodes []string
		for i := range 5000 {
			nodes = append(nodes, fmt.Sprint("n", i))
		}
		p := sensors.NewPoller(d, nodes, sensors.PollerOptions{Interval: interval, Concurrency: concurrency})
		poll(t, p)
		time.Sleep(time.Second)
		for _, n := range nodes {
			d.learn(n, nil)
		}
		p.ReadSoon(nodes...)
		p.ReadSoon(nodes...)
		time.Sleep(70 * time.Second)
		a := 0
		for _, n := range nodes {
			a += len(d.of(n))
		}
		// 70 s are before the first is due by itself, at a quarter of the interval.
		if a < 69*concurrency || a > 72*concurrency {
			t.Errorf("within 70 s of being described %d nodes were read, want %d a second and as many at first", a, concurrency)
		}
		time.Sleep(interval - 70*time.Second)
		for _, n := range nodes {
			if len(d.of(n)) == 0 {
				t.Errorf("node %s was not read within one interval", n)
			}
		}
	})
}
