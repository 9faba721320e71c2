package main

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// settle takes over what became of jobs: reports of the dispatcher, and without one the end of durations.
func (e *Engine) settle(ctx context.Context) error {
	e.mu.Lock()
	list := e.reported
	e.reported = nil
	if e.opts.Dispatch == nil {
		now := e.now()
		for _, j := range e.active {
			if j.State != Starting && j.State != Running {
				continue
			}
			if end := j.began().Add(j.rest()); !end.After(now) {
				list = append(list, report{j.ID, Done, end, ""})
			}
		}
	}
	var next []Job
	at := make(map[string]int) // of a job in next
	sites := make(map[string]Site)
	for _, r := range list {
		j := e.active[r.id]
		if j == nil || j.State == Done || j.State == Failed {
			continue
		}
		i, again := at[r.id]
		if !again {
			i = len(next)
			at[r.id] = i
			next = append(next, *j)
		}
		x := &next[i]
		x.report(r)
	}
	for _, s := range e.fleet.sites {
		sites[s.Name] = s
	}
	e.mu.Unlock()
	if len(next) == 0 {
		return nil
	}
	past := make(map[string][]grid.Point)
	for i := range next {
		if j := &next[i]; j.State == Done {
			j.Grams = e.grams(ctx, j, sites[j.Site], past)
		}
	}
	err := e.store.Do(context.WithoutCancel(ctx), func(tx *batchTx) error {
		for i := range next {
			if err := tx.update(&next[i]); err != nil {
				return err
			}
		}
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.reported = append(list, e.reported...) // again at the next step
		return err
	}
	for _, x := range next {
		*e.active[x.ID] = x
		delete(e.retry, x.ID)
		if x.State == Suspended {
			e.fleet.release(x.ID)
			e.replan = true
		}
		if x.State == Done || x.State == Failed {
			delete(e.active, x.ID)
			e.fleet.release(x.ID)
			e.kpis.add(&x)
			e.replan = true
		}
	}
	e.changed.set()
	return nil
}

// report takes over what became of a job.
func (j *Job) report(r report) {
	switch {
	case j.State == Done || j.State == Failed: // reported before that it runs or is suspended
	case r.state == Running:
		if j.State != Starting {
			return
		}
		if j.State, j.Message = Running, r.message; j.Resumed.IsZero() {
			j.Started = r.at
		} else {
			j.Resumed = r.at
		}
	case r.state == Suspended:
		if j.State == Suspending {
			j.State = Suspended // the message says why
		}
	default:
		j.State, j.Message, j.Ended = r.state, r.message, r.at
		if j.Ended.Before(j.Started) { // by the clock of another machine
			j.Started = j.Ended
		}
	}
}

// stretches are all that a job ran, the last one too.
func (j *Job) stretches() []Stretch {
	if len(j.Ran) == 0 {
		return []Stretch{{Node: j.Node, From: j.Started, Until: j.Ended, KWh: j.KWh}}
	}
	all := slices.Clone(j.Ran)
	before := &all[len(all)-1]
	last := Stretch{Node: j.Node, From: j.began(), Until: j.Ended, KWh: j.KWh}
	for _, s := range j.Ran {
		last.KWh -= s.KWh
	}
	if last.From.Before(before.Until) { // it ended while it was being suspended, or before it was resumed
		last.From = before.Until
	}
	if !last.Until.After(last.From) {
		before.KWh += last.KWh
		return all
	}
	return append(all, last)
}

// grams is what a job emitted by the intensities that came, or as predicted where the provider has no history.
func (e *Engine) grams(ctx context.Context, j *Job, s Site, past map[string][]grid.Point) float64 {
	if e.source == nil || j.KWh == 0 {
		return j.Grams
	}
	ps, ok := past[s.Zone]
	if !ok {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		now := e.now()
		var err error
		if ps, err = grid.History(ctx, e.source, s.Zone, now.Add(-maxHistory), now); err != nil {
			ps = nil
		}
		past[s.Zone] = ps
	}
	sum := 0.0
	for _, x := range j.stretches() {
		mean, covered := grid.Mean(ps, x.From, x.Until)
		if !(covered > 0.5) || math.IsNaN(mean) {
			return j.Grams
		}
		sum += mean * s.factor() * x.KWh
	}
	return sum
}

// maxHistory is how far back the intensity of a job's run is asked for.
const maxHistory = horizon + 24*time.Hour
