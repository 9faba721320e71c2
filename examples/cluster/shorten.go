package main

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the trace that is replayed by default
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
	"github.com/leastwatt/leastwatt/scoring/simulate/trace"
)

// replayTrace is synthetic: 60 jobs in an hour, sizes of 1 to 8 cores, log-normal lifetimes.
//
//go:embed replay.csv
var replayTrace []byte

// A visit is a pod of a shortened trace: it comes at one step and goes at a later one, or stays until the end.
type visit struct {
	comes, goes int
	milli       int64
}

// readVisits reads a trace and shortens it: its first jobs, in the order of their arrival, within so many steps, with sizes that keep
// their proportions and together need the share load of the capacity when most of them run.
func readVisits(o options, fleet []server) ([]visit, error) {
	name, data := "embedded", replayTrace
	if o.replay != "embedded" {
		var err error
		if data, err = os.ReadFile(o.replay); err != nil {
			return nil, err
		}
		name = o.replay
	}
	var text io.Reader = bytes.NewReader(data)
	if strings.HasSuffix(name, ".gz") {
		var err error
		if text, err = gzip.NewReader(text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	r, err := trace.Read(o.replayFormat, name, text)
	if err != nil {
		return nil, err
	}
	jobs := slices.DeleteFunc(r.Jobs, func(j simulate.Job) bool { return j.Duration <= 0 || j.Requests.CPU <= 0 })
	if len(jobs) == 0 {
		return nil, fmt.Errorf("%s: no jobs that run", name)
	}
	return shorten(jobs[:min(len(jobs), o.pods)], o.steps, o.load, fleet), nil
}

// shorten maps arrivals to steps and lets no job end in the step in which it comes.
func shorten(jobs []simulate.Job, steps int, load float64, fleet []server) []visit {
	span := jobs[len(jobs)-1].Arrival + 1
	step := func(at time.Duration) int { return int(float64(at) / float64(span) * float64(steps)) }
	visits := make([]visit, len(jobs))
	cores := make([]float64, steps)
	for i, j := range jobs {
		v := visit{comes: step(j.Arrival)}
		v.goes = steps
		if end := float64(j.Arrival) + float64(j.Duration); end < float64(span) {
			v.goes = max(step(time.Duration(end)), v.comes+1)
		}
		for k := v.comes; k < v.goes; k++ {
			cores[k] += j.Requests.CPU
		}
		visits[i] = v
	}
	// None larger than half of the smallest server, so that the order of arrival alone does not make pods wait.
	room := int64(fleet[0].hardware.Threads)
	for i := range fleet {
		room = min(room, int64(fleet[i].hardware.Threads))
	}
	scale := load * capacity(fleet) * 1000 / slices.Max(cores) / quantum
	for i, j := range jobs {
		visits[i].milli = quantum * min(max(int64(j.Requests.CPU*scale), 1), room*1000/2/quantum)
	}
	return visits
}

// stepTime is how long a step counts for; only ratios matter.
const stepTime = 5 * time.Minute

// simulated is the same work for the simulator.
func simulated(visits []visit) []simulate.Job {
	jobs := make([]simulate.Job, len(visits))
	for i, v := range visits {
		cpu := float64(v.milli) / 1000
		jobs[i] = simulate.Job{Name: fmt.Sprintf("pod-%05d", i), Arrival: time.Duration(v.comes) * stepTime, Duration: time.Duration(v.goes-v.comes) * stepTime,
			Requests: batch.Resources{CPU: cpu, Memory: float64(v.milli * memoryPerPodCore / 1000)}}
	}
	return jobs
}
