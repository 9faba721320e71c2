package main

import (
	"context"
	"errors"
	"math"
	"time"
)

// A choice is a decision on a job that is not durable yet.
type choice struct {
	job      *Job
	decision Decision
	at       time.Time
	stretch  Stretch // that ends, of a suspension
}

// next is the job as the choice makes it. Without a dispatcher it is so at once.
func (c *choice) next(plansOnly bool) Job {
	j, d := *c.job, &c.decision
	j.Message, j.Planned = "", time.Time{}
	if d.Action == Suspend {
		j.State, j.Ran, j.Message = Suspending, append(j.Ran[:len(j.Ran):len(j.Ran)], c.stretch), "suspended: "+d.Reason
		if plansOnly {
			j.State = Suspended
		}
		return j
	}
	j.State, j.Node, j.Site, j.Strategy, j.KWh, j.Grams = Starting, d.Node, d.Site, d.Strategy, d.KWh, math.NaN()
	if d.Score != nil {
		j.Grams = *d.Score
	}
	if d.Action == Resume {
		j.Resumed = c.at
		for _, s := range j.Ran {
			j.KWh += s.KWh
		}
		j.Grams = c.job.Grams // what was predicted at the start; what came is counted at the end
	} else {
		j.Started = c.at
	}
	if plansOnly {
		j.State = Running
	}
	return j
}

// commit makes decisions durable. Without that nothing starts and nothing stops: the jobs are what they were.
func (e *Engine) commit(ctx context.Context, list []choice) error {
	if len(list) == 0 {
		return nil
	}
	next := make([]Job, len(list))
	for i := range list {
		next[i] = list[i].next(e.opts.Dispatch == nil)
	}
	err := e.store.Do(context.WithoutCancel(ctx), func(tx *batchTx) error {
		for i := range next {
			if err := errors.Join(tx.update(&next[i]), tx.decide(&list[i].decision)); err != nil {
				return err
			}
		}
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range list {
		c := &list[i]
		if err != nil {
			e.takeBack(c)
			continue
		}
		*c.job = next[i]
		switch c.job.State {
		case Starting, Suspending:
			e.retry[c.job.ID] = attempt{}
		case Suspended:
			e.fleet.release(c.job.ID)
		}
		e.counts.add(&c.decision)
		e.recent = append(e.recent, c.decision)
	}
	e.recent = e.recent[max(0, len(e.recent)-maxRecent):]
	e.replan = e.replan || err != nil
	e.changed.set()
	return err
}

// takeBack undoes what was reserved for a choice that could not be stored.
func (e *Engine) takeBack(c *choice) {
	switch c.decision.Action {
	case Start:
		delete(e.active, c.job.ID)
		e.queue[c.job.ID] = c.job
		e.order = append(e.order, c.job)
		e.fleet.release(c.job.ID)
	case Resume:
		e.fleet.release(c.job.ID)
	case Suspend:
		e.deadlines.table.Drop(c.job.ID)
	}
}

// maxRecent is how many decisions are kept for the page.
const maxRecent = 50
