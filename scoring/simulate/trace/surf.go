package trace

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// SURF reads a week of SURF's Lisa cluster: tasks (id,submission_time,duration,cpu_count,cpu_capacity,mem_capacity in milliseconds, MHz
// of all cores together and MB) and what they used over time (fragments: id,duration_ms,cpu_usage_mhz). Fragments of unknown
// tasks are an error; tasks without fragments use all they ask for.
func SURF(taskFile string, tasks io.Reader, fragmentFile string, fragments io.Reader) (*Result, error) {
	t, err := openTable(taskFile, tasks, 0)
	if err != nil {
		return nil, err
	}
	res := new(Result)
	if len(t.at) == 0 {
		return res, nil
	}
	if err := t.need("id", "submission_time", "duration", "cpu_count", "cpu_capacity", "mem_capacity"); err != nil {
		return nil, err
	}
	at := map[string]int{}
	var mhz []float64
	for {
		more, err := t.next()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		var v [5]float64
		for i, name := range []string{"submission_time", "duration", "cpu_count", "cpu_capacity", "mem_capacity"} {
			if v[i], err = t.num(name, false); err != nil {
				return nil, err
			}
			if v[i] < 0 || v[i] > 9e12 {
				return nil, t.wrong(name, fmt.Errorf("%v: %w", v[i], errRange))
			}
		}
		id := strings.Clone(t.text("id"))
		if _, ok := at[id]; ok {
			return nil, t.wrong("id", fmt.Errorf("task %q is listed twice", id))
		}
		if len(res.Jobs) >= MaxRows {
			return nil, &Error{taskFile, t.line, 0, errTooMany}
		}
		at[id] = len(res.Jobs)
		mhz = append(mhz, v[3])
		res.Jobs = append(res.Jobs, simulate.Job{Name: id, Arrival: time.Duration(v[0]) * time.Millisecond,
			Duration: time.Duration(v[1]) * time.Millisecond, Requests: batch.Resources{CPU: v[2], Memory: v[4] * 1e6}})
	}
	if err := useOf(fragmentFile, fragments, at, mhz, res); err != nil {
		return nil, err
	}
	return finish(res), nil
}

// useOf fills in the profiles. All fragments of a task must be of one length, but for its last.
func useOf(file string, r io.Reader, at map[string]int, mhz []float64, res *Result) error {
	t, err := openTable(file, r, 0)
	if err != nil {
		return err
	}
	if len(t.at) == 0 {
		return nil
	}
	if err := t.need("id", "duration_ms", "cpu_usage_mhz"); err != nil {
		return err
	}
	last := make([]bool, len(res.Jobs)) // a fragment of another length has come
	for n := 0; ; n++ {
		more, err := t.next()
		if err != nil || !more {
			return err
		}
		if n >= MaxRows {
			return &Error{file, t.line, 0, errTooMany}
		}
		k, ok := at[t.text("id")]
		if !ok {
			return t.wrong("id", fmt.Errorf("task %q is not in the list of tasks", t.text("id")))
		}
		step, err := t.num("duration_ms", false)
		if err != nil {
			return err
		}
		use, err := t.num("cpu_usage_mhz", false)
		if err != nil {
			return err
		}
		length, err := span(step, time.Millisecond)
		if err != nil || length <= 0 {
			return t.wrong("duration_ms", fmt.Errorf("%v ms: %w", step, errRange))
		}
		if use < 0 {
			return t.wrong("cpu_usage_mhz", fmt.Errorf("%v MHz: %w", use, errRange))
		}
		j := &res.Jobs[k]
		if last[k] {
			return t.wrong("duration_ms", fmt.Errorf("one more fragment of task %q, after one that is not %v long", j.Name, j.Step))
		}
		share := 1.0
		if mhz[k] > 0 {
			share = min(1, use/mhz[k])
		}
		if j.Step == 0 {
			j.Step = length
		}
		last[k] = length != j.Step
		j.Profile = append(j.Profile, float32(share))
	}
}

// Sized returns the jobs with their requests cut to the mean of what they use, which they then use all the time: pods that are sized
// right. Placement, energy and bound then speak of the same cores.
func Sized(jobs []simulate.Job) []simulate.Job {
	out := make([]simulate.Job, len(jobs))
	for i, j := range jobs {
		share := j.MeanUse()
		// A hundredth of the request at least, since a job that does nothing still needs a place.
		j.Requests.CPU *= max(share, 0.01)
		j.Use, j.Profile, j.Step = 0, nil, 0
		out[i] = j
	}
	return out
}
