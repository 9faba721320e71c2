package simulate

import (
	"math"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// Result is what a run measured between From and To.
type Result struct {
	Strategy string

	Energy power.Joules // of the servers and their sleep, times PUE
	Bound  power.Joules // the least that the same running work could have drawn, times PUE; 0 if not asked for

	Arrived   int // jobs
	Finished  int
	Unplaced  int // jobs that no node can ever take
	Waiting   int // jobs that still waited at the end
	Restarted int // jobs that a failed node sent back
	Missed    int // deadlines, of jobs that have ended later or had not ended when the simulation did
	Suspended int // times that a job was stopped to go on later
	Moves     int
	SwitchOns int
	MeanWait  time.Duration
	P95Wait   time.Duration
	// MeanTurnaround is from arrival to end, over the jobs that ended.
	MeanTurnaround time.Duration
	Makespan       time.Duration // when the last job ended
	PeakLive       int           // jobs waiting or running at one time

	Events    int
	Decisions int // calls of Plan
	// SolveTime is wall-clock time within the strategy: the only figure that differs between runs.
	SolveTime time.Duration

	Series []Sample
	Nodes  []NodeResult
	Sites  []SiteResult // in the order of Config.Sites
}

// OverBound returns energy over bound, or 0 without a bound.
func (r *Result) OverBound() float64 {
	if r.Bound <= 0 {
		return 0
	}
	return float64(r.Energy / r.Bound)
}

// A Sample is the cluster at one moment.
type Sample struct {
	At      time.Duration
	Watts   power.Watts
	Bound   power.Watts
	On      int
	Waiting int
	Running int
	Use     float64 // cores of speed 1 in use

	// Grams and Money are rates an hour, 0 without sites.
	Grams, Money float64
}

// NodeResult is one node over the whole measurement.
type NodeResult struct {
	Name   string
	Energy power.Joules
	Use    float64 // mean utilization
	On     float64 // share of the time it was on
}

// A Record is one job's story.
type Record struct {
	Job   *Job
	Node  string
	Start time.Duration
	End   time.Duration
	// Unplaced says why the job never ran, "" if it did.
	Unplaced string
	// Running says that the simulation ended before the job did; End is 0 then, and Energy what it took until then.
	Running bool
	Energy  power.Joules // its share of its node's power, by work done
	// Grams and Money are the same share of what the node's site counts: 0 without sites.
	Grams, Money float64
}

// waits counts durations in bins two percent wide.
type waits struct {
	bins  []int
	zero  int
	n     int
	total float64
}

const waitStep = 0.02

func (w *waits) add(d time.Duration) {
	w.n++
	s := d.Seconds()
	w.total += s
	if s < 1e-3 {
		w.zero++
		return
	}
	k := int(math.Log(s/1e-3) / waitStep)
	for len(w.bins) <= k {
		w.bins = append(w.bins, 0)
	}
	w.bins[k]++
}

func (w *waits) mean() time.Duration {
	if w.n == 0 {
		return 0
	}
	return time.Duration(w.total / float64(w.n) * float64(time.Second))
}

// quantile returns the upper edge of the bin that holds the quantile.
func (w *waits) quantile(q float64) time.Duration {
	left := int(math.Ceil(q*float64(w.n))) - w.zero
	if left <= 0 {
		return 0
	}
	for k, n := range w.bins {
		if left -= n; left <= 0 {
			return time.Duration(1e-3 * math.Exp(float64(k+1)*waitStep) * float64(time.Second))
		}
	}
	return 0
}
