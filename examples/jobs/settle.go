package main

import (
	"context"
	"errors"
	"math"
	"sync"
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
			if end := j.Started.Add(j.Duration); !end.After(now) {
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
		switch {
		case x.State == Done || x.State == Failed: // reported before that it runs
		case r.state == Running:
			x.State, x.Message, x.Started = r.state, r.message, r.at
		default:
			x.State, x.Message, x.Ended = r.state, r.message, r.at
			if x.Ended.Before(x.Started) { // by the clock of another machine
				x.Started = x.Ended
			}
		}
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
	mean, covered := grid.Mean(ps, j.Started, j.Ended)
	if !(covered > 0.5) || math.IsNaN(mean) {
		return j.Grams
	}
	return mean * s.factor() * j.KWh
}

// maxHistory is how far back the intensity of a job's run is asked for.
const maxHistory = 24 * time.Hour

// start hands starting jobs to the dispatcher, and again after a pause where that fails.
func (e *Engine) start(ctx context.Context) {
	if e.opts.Dispatch == nil {
		return
	}
	e.mu.Lock()
	var list []Job
	clock := time.Now()
	for id, a := range e.retry {
		if j := e.active[id]; j != nil && !a.next.After(clock) {
			list = append(list, *j)
		}
	}
	e.mu.Unlock()
	const atOnce = 8
	slots := make(chan struct{}, atOnce)
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			errs[i] = e.opts.Dispatch.Start(ctx, list[i])
		})
	}
	wg.Wait()
	for i, err := range errs {
		id := list[i].ID
		switch permanent, _ := errors.AsType[*refused](err); {
		case err == nil:
			e.Report(id, Running, e.now(), "")
		case permanent != nil:
			e.Report(id, Failed, e.now(), err.Error())
		default:
			e.opts.Logger.Warn("starting a job", "job", id, "error", err)
			e.mu.Lock()
			a := e.retry[id]
			a.count++
			a.next = time.Now().Add(min(time.Second<<min(a.count, 6), time.Minute))
			e.retry[id] = a
			if j := e.active[id]; j != nil {
				j.Message = err.Error()
			}
			e.mu.Unlock()
			continue
		}
		e.mu.Lock()
		delete(e.retry, id)
		e.mu.Unlock()
	}
}

// A refused start will not succeed later either.
type refused struct{ err error }

func (r *refused) Error() string { return r.err.Error() }
func (r *refused) Unwrap() error { return r.err }
