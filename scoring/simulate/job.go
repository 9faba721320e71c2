package simulate

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
)

// A Job is work that arrives, runs for a while and ends. Times count from the start of the simulation.
type Job struct {
	Name     string
	Arrival  time.Duration
	Duration time.Duration // on a server of speed 1; shorter on a faster one only if Scales
	Deadline time.Duration // when it should have ended; 0 is none
	Requests batch.Resources

	// Use is the share of the requested CPU that it really uses; 0 means all of it. Profile, if not
	// empty, says it over time instead, one value for each Step, the last going on.
	Use     float64
	Profile []float32
	Step    time.Duration

	// Scales says that a faster server finishes the job sooner; it then uses all of its request while it runs.
	Scales bool

	Priority int
	Pinned   bool // it must not be moved
	Suspend  bool // it may be stopped and go on later

	// Class groups jobs whose lifetimes resemble each other; "" groups by the size of the request.
	Class string
	Node  string // the only node it may run on, or ""
}

// Validate returns an error that names the job and the field that is not valid.
func (j *Job) Validate() error {
	if err := j.Requests.Validate(); err != nil {
		return fmt.Errorf("job %q: %w", j.Name, err)
	}
	switch {
	case j.Arrival < 0:
		return fmt.Errorf("job %q: arrival %v is negative", j.Name, j.Arrival)
	case j.Duration < 0:
		return fmt.Errorf("job %q: duration %v is negative", j.Name, j.Duration)
	case !(j.Use >= 0 && j.Use <= 1):
		return fmt.Errorf("job %q: use %v is not within 0 and 1", j.Name, j.Use)
	case len(j.Profile) > 0 && j.Step <= 0:
		return fmt.Errorf("job %q: a profile needs a step above 0, not %v", j.Name, j.Step)
	}
	for k, v := range j.Profile {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("job %q: profile value %d is %v, not within 0 and 1", j.Name, k, v)
		}
	}
	return nil
}

// use returns the share of the request in use after running for so long, and when that changes next (0: never).
func (j *Job) use(age time.Duration) (share float64, next time.Duration) {
	if len(j.Profile) == 0 {
		if j.Use == 0 {
			return 1, 0
		}
		return j.Use, 0
	}
	k := int(age / j.Step)
	if k >= len(j.Profile)-1 {
		return float64(j.Profile[len(j.Profile)-1]), 0
	}
	// Skip steps in which nothing changes.
	n := k + 1
	for n < len(j.Profile)-1 && j.Profile[n] == j.Profile[k] {
		n++
	}
	return float64(j.Profile[k]), time.Duration(n) * j.Step
}

// MeanUse is the mean share in use over the job's duration.
func (j *Job) MeanUse() float64 {
	if len(j.Profile) == 0 {
		s, _ := j.use(0)
		return s
	}
	if j.Duration <= 0 {
		return float64(j.Profile[0])
	}
	var sum float64
	for k, v := range j.Profile {
		from := time.Duration(k) * j.Step
		to := from + j.Step
		if k == len(j.Profile)-1 {
			to = j.Duration
		}
		sum += float64(v) * max(0, min(to, j.Duration)-from).Seconds()
	}
	return sum / j.Duration.Seconds()
}

// A Workload yields jobs in the order of their arrival, or an error, after which it ends.
type Workload = iter.Seq2[Job, error]

// Jobs makes a workload of a list, sorted by arrival. The list is not changed, and must not be while the workload is in use.
func Jobs(jobs []Job) Workload {
	byArrival := func(a, b Job) int { return cmp.Compare(a.Arrival, b.Arrival) }
	if slices.IsSortedFunc(jobs, byArrival) {
		return func(yield func(Job, error) bool) {
			for k := range jobs {
				if !yield(jobs[k], nil) {
					return
				}
			}
		}
	}
	order := make([]int, len(jobs)) // jobs are large: their numbers are sorted instead
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(a, b int) int { return byArrival(jobs[a], jobs[b]) })
	return func(yield func(Job, error) bool) {
		for _, k := range order {
			if !yield(jobs[k], nil) {
				return
			}
		}
	}
}

// sizeClass names the class of a job that has none of its own.
func sizeClass(r *batch.Resources) string {
	return fmt.Sprintf("%.3g/%.3g", r.CPU, r.GPU)
}

func finite(v float64) bool { return v >= 0 && v <= math.MaxFloat64 }
