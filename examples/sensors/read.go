package main

import (
	"cmp"
	"context"
	"io"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// A row is what one node measures, and what it does not.
type row struct {
	node     string
	readings []sensors.Reading
	errs     []error
}

// once reads every node, a bounded number at once.
func once(ctx context.Context, s sensors.SensorSource, nodes []string, o sensors.PollerOptions) []row {
	rows := make([]row, len(nodes))
	limit := make(chan struct{}, cmp.Or(o.Concurrency, 64))
	var wg sync.WaitGroup
	for i, node := range nodes {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			ctx, cancel := context.WithTimeout(ctx, cmp.Or(o.Timeout, 5*time.Second))
			defer cancel()
			readings, err := s.Read(ctx, node)
			rows[i] = row{node, readings, sensors.Errors(err)}
		})
	}
	wg.Wait()
	return rows
}

// twice reads every node, waits, and returns what it reads then: kinds that are rates of counters have their first value at the second
// read.
func twice(ctx context.Context, s sensors.SensorSource, nodes []string, o sensors.PollerOptions) ([]row, error) {
	once(ctx, s, nodes, o)
	select {
	case <-time.After(2200 * time.Millisecond): // exporters are asked again after a second at the earliest
		return once(ctx, s, nodes, o), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// watch polls in the background, and prints the snapshot at every interval.
func watch(ctx context.Context, w io.Writer, s sensors.SensorSource, nodes []string, o sensors.PollerOptions, asJSON bool) error {
	p := sensors.NewPoller(s, nodes, o)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	every := cmp.Or(o.Interval, 10*time.Second)
	tick := time.NewTicker(min(every, time.Second)) // most nodes have answered by then
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case now := <-tick.C:
			tick.Reset(every)
			if !asJSON {
				_, _ = io.WriteString(w, "\x1b[H\x1b[2J") // to the top of an empty screen
			}
			if err := print(w, rowsOf(p.Snapshot(), nodes), now, asJSON); err != nil {
				cancel()
				<-done
				return err
			}
		}
	}
}

func rowsOf(s *sensors.Snapshot, nodes []string) []row {
	rows := make([]row, 0, len(nodes))
	for _, name := range nodes {
		r := row{node: name}
		if n := s.Node(name); n != nil {
			r.readings, r.errs = n.Readings, sensors.Errors(n.Err)
		}
		rows = append(rows, r)
	}
	return rows
}
