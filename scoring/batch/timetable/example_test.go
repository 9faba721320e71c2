package timetable_test

import (
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/timetable"
)

// A job of eight cores must begin by three o'clock and runs for an hour. On the server of eight cores a small one may start at noon if it has ended by then; else it needs another server.
func Example() {
	servers := []timetable.Server{{CPU: 8, Memory: 64}, {CPU: 2, Memory: 64}}
	t := timetable.New()
	t.Begin(12*time.Hour, 0, servers)
	t.Enter([]timetable.Job{{Name: "large", CPU: 8, Memory: 8, Life: time.Hour, Due: 15 * time.Hour, Last: 15 * time.Hour}})
	for _, life := range []time.Duration{3 * time.Hour, 4 * time.Hour} {
		small := timetable.Job{Name: "small", CPU: 2, Memory: 8, Life: life}
		fmt.Printf("for %v: server 0 %v, server 1 %v\n", life, t.Start(&small, 0), t.Start(&small, 1))
	}
	p, _ := t.Place("large")
	fmt.Printf("large: server %d at %v\n", p.Server, p.Start)
	// Output:
	// for 3h0m0s: server 0 true, server 1 true
	// for 4h0m0s: server 0 false, server 1 true
	// large: server 0 at 15h0m0s
}
