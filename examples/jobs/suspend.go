package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
)

// A Stretch is a time that a job ran without a pause.
type Stretch struct {
	Node  string    `json:"node"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	KWh   float64   `json:"energyKWh"` // predicted

	// Lost says that the machine has left, and with it what was done in this time.
	Lost bool `json:"lost,omitempty"`
}

// began returns when the present stretch began.
func (j *Job) began() time.Time {
	if !j.Resumed.IsZero() {
		return j.Resumed
	}
	return j.Started
}

// rest is the work that was left when the present stretch began, or will be left when the next one does.
func (j *Job) rest() time.Duration {
	d := j.Duration
	for _, s := range j.Ran {
		if !s.Lost {
			d -= s.Until.Sub(s.From)
		}
	}
	return max(d, 0)
}

// left is the work that is left now.
func (j *Job) left(now time.Time) time.Duration {
	if j.State == Running {
		return max(j.rest()-max(now.Sub(j.began()), 0), 0)
	}
	return j.rest()
}

// due is when the job must have ended, with a margin on its whole duration.
func (j *Job) due(margin float64, slack time.Duration) time.Time {
	if j.Deadline.IsZero() {
		return j.Submitted.Add(slack + times(j.Duration, margin))
	}
	return j.Deadline
}

// latest returns when the job must start or resume at the latest: when it is due, less the work that is left, with a margin.
func (j *Job) latest(now time.Time, margin float64, slack time.Duration) time.Time {
	return j.due(margin, slack).Add(-times(j.left(now), margin))
}

func times(d time.Duration, f float64) time.Duration { return time.Duration(float64(d) * f) }

// paused tells whether a job waits to be resumed.
func (j *Job) paused() bool { return j.State == Suspended }

// stretch is what the present stretch comes to if it ends now.
func (j *Job) stretch(now time.Time) Stretch {
	s := Stretch{Node: j.Node, From: j.began(), Until: now}
	if s.Until.Before(s.From) { // by the clock of another machine
		s.Until = s.From
	}
	before := 0.0
	for _, x := range j.Ran {
		before += x.KWh
	}
	if rest := j.rest(); rest > 0 {
		s.KWh = (j.KWh - before) * min(1, float64(s.Until.Sub(s.From))/float64(rest))
	}
	return s
}

// What a suspension must at least be for, so that a forecast that changes a little does not stop work for nothing.
const (
	shortestPause   = time.Hour
	shortestStretch = 30 * time.Minute
	leastSaving     = 0.05 // of what the rest of the job would emit if it went on
)

// worthCutting tells whether a job that may be suspended should be planned in pieces: whether these cost clearly less than the whole job does,
// which may begin in one of the slots until last. Costs are of one site, by slot from now on. Where anything is unknown nothing is cut.
func worthCutting(cost []float64, length, last, lastWhole int) bool {
	if length < 1 || last < 1 || last+length > len(cost) {
		return false
	}
	window := slices.Clone(cost[:last+length])
	whole, run := math.Inf(1), 0.0
	for t, v := range window {
		if run += v; t >= length {
			run -= window[t-length]
		}
		if t >= length-1 && t-length+1 <= lastWhole {
			whole = min(whole, run)
		}
	}
	slices.Sort(window)
	pieces := 0.0
	for _, v := range window[:length] { // NaN comes first
		pieces += v
	}
	return !math.IsNaN(window[0]) && whole-pieces > leastSaving*math.Abs(whole)
}

// pauses chooses the running jobs that their plan does not have run now, beside those that are chosen already; mu is held.
func (e *Engine) pauses(now time.Time, chosen []choice) []choice {
	var out []choice
	for id, p := range e.starts {
		j := e.active[id]
		if j == nil || j.State != Running || !j.Suspendable || p.runs == nil || j.left(now) == 0 {
			continue
		}
		if slices.ContainsFunc(chosen, func(c choice) bool { return c.job == j }) {
			continue
		}
		next, running := p.runsAt(now)
		latest := e.latestNow(j, now)
		if running || next.Sub(now) < shortestPause || next.After(latest) || !e.deadlines.keeps(e.fleet, j, now, next, latest) {
			continue
		}
		s := j.stretch(now)
		k := e.fleet.site(j.Site)
		d := Decision{JobID: j.ID, Node: j.Node, Site: j.Site, Strategy: e.strategy, At: now, Action: Suspend, KWh: s.KWh}
		o := e.outlook.Load()
		if k >= 0 {
			f := e.fleet.sites[k].factor()
			here, then := o.mean(k, now, now.Add(j.left(now)))*f, o.mean(k, next, next.Add(j.left(now)))*f
			d.Reason = fmt.Sprintf("%.0f g/kWh now, %.0f from %s on: %s of work left", here, then, clockTime(next, now), j.left(now).Round(time.Second))
			if !math.IsNaN(here) {
				d.Intensity = new(here)
			}
		}
		out = append(out, choice{job: j, decision: d, at: now, stretch: s})
	}
	return out
}

// comesBack is how long a machine may be away, as when its kubelet starts anew, before its jobs are begun again elsewhere.
const comesBack = 2 * time.Minute

// orphans chooses the running jobs whose machine has left: Kubernetes would have their new pods wait for it for ever. What they had done there is lost.
// mu is held.
func (e *Engine) orphans(now time.Time) []choice {
	if e.opts.Dispatch == nil {
		return nil
	}
	var out []choice
	for _, j := range e.active {
		left := e.fleet.left(j.Node)
		if j.State != Running || left.IsZero() || now.Sub(left) < comesBack {
			continue
		}
		if left.Before(j.began()) {
			left = j.began()
		}
		s := j.stretch(left)
		s.Lost = true
		out = append(out, choice{job: j, at: now, stretch: s, decision: Decision{JobID: j.ID, Node: j.Node, Site: j.Site, Strategy: e.strategy, At: now, Action: Suspend, KWh: s.KWh,
			Reason: fmt.Sprintf("node %q has left: begun again elsewhere", j.Node)}})
	}
	return out
}

// resumptions chooses the suspended jobs whose time or turn has come, and reserves room for them; mu is held.
func (e *Engine) resumptions(ctx context.Context, s batch.Strategy, now time.Time, turns map[*Job]bool) ([]choice, error) {
	bySite := make(map[int][]*Job)
	why := make(map[string]string)
	for id, j := range e.active {
		if !j.paused() {
			continue
		}
		p, planned := e.starts[id]
		_, runs := p.runsAt(now)
		switch {
		case !j.Suspendable: // its node had left
			why[id] = "resumed: begun again"
		case e.strategy != SpaceTime:
			why[id] = "resumed: " + e.strategy + " holds nothing back"
		case e.deadlines.refuses(j, now) && !turns[j]:
			continue
		case !e.latest(j).After(now):
			why[id] = "resumed: its latest resumption has come"
		case turns[j]:
			why[id] = "resumed: later there is no room for it before its deadline"
		case planned && runs:
			why[id] = "resumed: " + e.cleanest(j, now)
		default:
			continue
		}
		k := e.fleet.site(j.Site)
		if k >= 0 && !e.fleet.up(k) { // what it has kept is out of reach: elsewhere is better than never
			k = -1
		}
		bySite[k] = append(bySite[k], j)
	}
	var out []choice
	for k, jobs := range bySite {
		slices.SortFunc(jobs, e.urgent)
		c := e.fleet.all
		if k >= 0 {
			c = e.fleet.parts[k]
		}
		list, err := e.place(ctx, s, c, k, jobs[:min(len(jobs), most)], now, func(j *Job) string { return why[j.ID] })
		out = append(out, list...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// cleanest says how clean it is at a job's site for the rest of its work.
func (e *Engine) cleanest(j *Job, now time.Time) string {
	k := e.fleet.site(j.Site)
	if k < 0 {
		return "its planned time has come"
	}
	v := e.outlook.Load().mean(k, now, now.Add(max(j.left(now), time.Minute))) * e.fleet.sites[k].factor()
	if math.IsNaN(v) {
		return "no forecast: not held"
	}
	return fmt.Sprintf("%.0f g/kWh, %s of work left", v, j.left(now).Round(time.Second))
}
