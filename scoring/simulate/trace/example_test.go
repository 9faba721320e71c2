package trace_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/scoring/simulate/trace"
)

// A file of one's own needs a map of its columns.
func ExampleColumns() {
	file := "task;begin;minutes;millicores\nbackup;60;30;1500\nreport;120;5;250\n"
	c := trace.Columns{Name: "task", Arrival: "begin", Duration: "minutes", TimeUnit: time.Minute, CPU: "millicores", CPUUnit: 1e-3, Comma: ';'}
	r, err := c.Read("tasks.csv", strings.NewReader(file))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, j := range r.Jobs {
		fmt.Println(j.Name, "at", j.Arrival, "for", j.Duration, "on", j.Requests.CPU, "cores")
	}
	// Output:
	// backup at 0s for 30m0s on 1.5 cores
	// report at 1h0m0s for 5m0s on 0.25 cores
}

// An error says where a file is wrong.
func ExampleRead() {
	_, err := trace.Read("batch", "jobs.csv", strings.NewReader("arrival_time,length,cpus\n0,60,2\n30,long,1\n"))
	fmt.Println(err)
	if e, ok := errors.AsType[*trace.Error](err); ok {
		fmt.Println("line", e.Line, "column", e.Column)
	}
	// Output:
	// jobs.csv:3:4: length: "long" is not a number
	// line 3 column 4
}

// The same map as a flag gives it.
func ExampleParseColumns() {
	c, err := trace.ParseColumns("name=task,arrival=begin,duration=minutes,timeunit=1m,cpu=millicores,cpuunit=0.001,comma=;")
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := c.Read("tasks.csv", strings.NewReader("task;begin;minutes;millicores\nbackup;60;30;1500\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Jobs[0].Name, "for", r.Jobs[0].Duration, "on", r.Jobs[0].Requests.CPU, "cores")
	// Output: backup for 30m0s on 1.5 cores
}
