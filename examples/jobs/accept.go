package main

import (
	"context"
	"errors"
	"math"
)

var errFull = errors.New("too many jobs wait")

// Accept makes jobs durable and queues them. Each gets its error: nil, or why it was refused. Jobs that were accepted before
// with the same content are accepted again, once. The last error is of all of them, when nothing could be stored.
func (e *Engine) Accept(ctx context.Context, jobs []*Job) ([]error, error) {
	e.mu.Lock()
	full := len(e.queue)+len(jobs) > e.opts.MaxQueued
	if !full {
		for _, j := range jobs {
			j.AtOnce = e.atOnceIntensity(j)
		}
	}
	e.mu.Unlock()
	if full {
		return nil, errFull
	}
	errs, added := make([]error, len(jobs)), make([]bool, len(jobs))
	err := e.store.Do(ctx, func(tx *batchTx) error {
		for i, j := range jobs {
			added[i], errs[i] = tx.insert(j)
			if errs[i] != nil && !errors.Is(errs[i], errConflict) {
				return errs[i]
			}
		}
		return nil
	})
	if err != nil {
		// The jobs may be stored although the client has gone: then they count, once the commit is through.
		if ctx.Err() != nil {
			go e.adopt(jobs)
		}
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, j := range jobs {
		if added[i] {
			e.enqueue(j)
		}
	}
	e.replan = true
	e.poke()
	e.changed.set()
	return errs, nil
}

// enqueue puts a stored job into the queue; mu is held.
func (e *Engine) enqueue(j *Job) {
	if e.queue[j.ID] == nil && e.active[j.ID] == nil {
		e.queue[j.ID] = j
		e.order = append(e.order, j)
		e.coming.see(j, e.slack(j))
	}
}

// adopt queues those of the jobs that are stored as queued, after a client went away in the middle.
func (e *Engine) adopt(jobs []*Job) {
	ctx := context.Background()
	if err := e.store.Do(ctx, func(*batchTx) error { return nil }); err != nil { // commits are in order
		e.opts.Logger.Error("store", "error", err)
		return
	}
	for _, j := range jobs {
		list, err := e.store.jobs(ctx, "SELECT "+jobColumns+" FROM jobs WHERE id = ? AND state = 'queued'", j.ID)
		if err != nil {
			e.opts.Logger.Error("store", "error", err)
			continue
		}
		e.mu.Lock()
		for _, x := range list {
			e.enqueue(x)
		}
		e.replan = true
		e.mu.Unlock()
	}
	e.poke()
}

// A need is what tells on which machine a job draws the least.
type need struct{ cpu, memory float64 }

// A least is the site where a job of a kind draws the least, and the watts.
type least struct {
	site  int
	watts float64
}

// atOnceIntensity is the intensity over the run if a job started now at the site where it draws the least; NaN if unknown. mu is held.
func (e *Engine) atOnceIntensity(j *Job) float64 {
	o := e.outlook.Load()
	if o == nil {
		return math.NaN()
	}
	n := need{j.CPU, j.Memory}
	best, ok := e.least[n]
	if !ok {
		best = least{-1, math.Inf(1)}
		for k := range e.fleet.sites {
			if w := e.fleet.leastWatts(k, j); w < best.watts {
				best = least{k, w}
			}
		}
		const most = 4096
		if len(e.least) >= most {
			clear(e.least)
		}
		e.least[n] = best
	}
	if best.site < 0 {
		return math.NaN()
	}
	now := e.now()
	return o.mean(best.site, now, now.Add(j.Duration)) * e.fleet.sites[best.site].factor()
}
