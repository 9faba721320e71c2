package trace

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// AzureVMs reads the vmtable of the Azure Public Dataset (Cortez et al., SOSP 2017; its README names the columns): one virtual
// machine a row without a header, times in seconds, CPU in percent of the machine's cores, buckets of cores and GB of which the last is ">24"
// and the like and counts as its number. A machine uses its mean CPU all the time.
func AzureVMs() Columns {
	return Columns{
		Header: []string{"vmid", "subscriptionid", "deploymentid", "vmcreated", "vmdeleted", "maxcpu", "avgcpu", "p95maxcpu", "vmcategory",
			"vmcorecountbucket", "vmmemorybucket"},
		Name: "vmid", Arrival: "vmcreated", End: "vmdeleted", CPU: "vmcorecountbucket", Memory: "vmmemorybucket", MemoryUnit: 1e9,
		Use: "avgcpu", UseUnit: 0.01, Class: []string{"vmcategory", "vmcorecountbucket"}, Buckets: true,
	}
}

// GoogleTasks reads task tables in the words of Google's cluster traces (Reiss et al. 2011 and Wilkes 2020, "format + schema"): one run of a task a row
// with a header, times in microseconds, requests as shares of the largest machine, which has so many cores and bytes.
func GoogleTasks(cores, bytes float64) Columns {
	return Columns{Name: "instance_id", Arrival: "submit_time", Start: "schedule_time", End: "end_time", TimeUnit: time.Microsecond,
		CPU: "cpu_request", CPUUnit: cores, Memory: "memory_request", MemoryUnit: bytes, Priority: "priority", Class: []string{"scheduling_class", "priority"}}
}

// googleEvents are the columns of task_events in Google's trace of 2011, which has no header.
var googleEvents = []string{"time", "missing_info", "job_id", "task_index", "machine_id", "event_type", "user", "scheduling_class", "priority",
	"cpu_request", "memory_request", "disk_space_request", "different_machines_restriction"}

// Event types of Google's trace of 2011.
const (
	googleSubmit   = 0
	googleSchedule = 1
	googleLost     = 6 // 2 to 6 end a run: evicted, failed, finished, killed, lost
	googleUpdate   = 8
)

// GoogleEvents reads task_events of Google's cluster trace of 2011 (clusterdata-2011-2, format and schema document): submissions,
// schedulings and ends of tasks in microseconds, requests as shares of the largest machine, which has so many
// cores and bytes. Each run of a task is a job. Runs without an end or without a request are skipped and counted.
func GoogleEvents(file string, r io.Reader, cores, bytes float64) (*Result, error) {
	t, err := openHeaded(file, r, 0, googleEvents)
	if err != nil {
		return nil, err
	}
	type task struct{ job, index string }
	type run struct {
		submitted, scheduled time.Duration
		runs                 bool
	}
	live := map[task]*run{}
	res := new(Result)
	for {
		more, err := t.next()
		if err != nil {
			return nil, err
		}
		if !more {
			res.Skipped += len(live)
			return finish(res), nil
		}
		kind, err := t.num("event_type", false)
		if err != nil {
			return nil, err
		}
		if kind < 0 || kind > googleUpdate || kind != float64(int(kind)) {
			return nil, t.wrong("event_type", fmt.Errorf("%v: %w", kind, errRange))
		}
		micros, err := t.num("time", false)
		if err != nil {
			return nil, err
		}
		at, err := span(micros, time.Microsecond)
		if err != nil || at < 0 {
			return nil, t.wrong("time", errors.Join(err, errRange))
		}
		id := task{t.text("job_id"), t.text("task_index")}
		l := live[id]
		switch {
		case kind == googleSubmit:
			if len(live) >= MaxRows || len(res.Jobs) >= MaxRows {
				return nil, &Error{file, t.line, 0, errTooMany}
			}
			live[task{strings.Clone(id.job), strings.Clone(id.index)}] = &run{submitted: at}
		case kind == googleSchedule && l != nil:
			l.scheduled, l.runs = at, true
		case kind > googleSchedule && kind <= googleLost:
			delete(live, id)
			if l == nil || !l.runs {
				res.Skipped++
				continue
			}
			j, ok, err := googleJob(t, cores, bytes)
			if err != nil {
				return nil, err
			}
			if !ok || at < l.scheduled {
				res.Skipped++
				continue
			}
			j.Name = fmt.Sprintf("%s-%s-%d", id.job, id.index, len(res.Jobs))
			j.Arrival, j.Duration = l.submitted, at-l.scheduled
			res.Jobs = append(res.Jobs, j)
		}
	}
}

// googleJob takes over the requests of a row.
func googleJob(t *table, cores, bytes float64) (simulate.Job, bool, error) {
	var j simulate.Job
	if t.text("cpu_request") == "" {
		return j, false, nil
	}
	cpu, err := t.num("cpu_request", true)
	if err != nil {
		return j, false, err
	}
	mem, err := t.num("memory_request", true)
	if err != nil {
		return j, false, err
	}
	priority, err := t.num("priority", true)
	if err != nil {
		return j, false, err
	}
	if cpu < 0 || cpu > 1 {
		return j, false, t.wrong("cpu_request", fmt.Errorf("%v: want a share of the largest machine: %w", cpu, errRange))
	}
	if mem < 0 || mem > 1 {
		return j, false, t.wrong("memory_request", fmt.Errorf("%v: want a share of the largest machine: %w", mem, errRange))
	}
	if priority != float64(int32(priority)) {
		return j, false, t.wrong("priority", fmt.Errorf("%v is not a whole number: %w", priority, errRange))
	}
	j.Requests = batch.Resources{CPU: cpu * cores, Memory: mem * bytes}
	j.Priority = int(priority)
	j.Class = t.text("scheduling_class") + "/" + t.text("priority")
	return j, true, nil
}
