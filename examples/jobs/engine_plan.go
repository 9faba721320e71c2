package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
)

// placerOf returns the strategy that finds a node for a job whose time has come.
func placerOf(name string) string {
	if name == SpaceTime {
		return "leastwatt"
	}
	return name
}

// plan renews the plan of the strategy over time, if something has changed. Planning takes a fifth of the time at most.
func (e *Engine) plan() error {
	e.mu.Lock()
	if e.strategy != SpaceTime || !e.replan || len(e.queue) == 0 || time.Since(e.planned) < 4*e.planTook {
		e.mu.Unlock()
		return nil
	}
	e.replan = false
	jobs := e.waiting()
	e.mu.Unlock()
	e.planned = time.Now()
	starts, err := planJobs(e.now(), jobs, e.fleet, e.outlook.Load(), e.latest)
	e.planTook = time.Since(e.planned)
	e.planned = time.Now()
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.strategy != SpaceTime { // switched in the meantime
		return nil
	}
	e.starts = starts
	for id, s := range starts {
		e.queue[id].Planned = s.at
	}
	return nil
}

// waiting returns the queue in the order of acceptance, and drops from order what has left it.
func (e *Engine) waiting() []*Job {
	e.order = slices.DeleteFunc(e.order, func(j *Job) bool { return e.queue[j.ID] != j })
	return slices.Clone(e.order)
}

// most is how many jobs one step tries to place; the others follow when these have left the queue.
const most = 2000

// A choice is a decision on a job that is not durable yet.
type choice struct {
	job      *Job
	decision Decision
	started  time.Time
}

// choose places what is due, reserves it on the fleet and takes it out of the queue; mu is held.
func (e *Engine) choose(ctx context.Context, s batch.Strategy) ([]choice, error) {
	now := e.now()
	var out []choice
	if e.strategy != SpaceTime {
		const again = time.Minute // strategies that go by the grid delay jobs: as time goes on they say something else
		if delays := slices.Contains(batch.CarbonNames(), e.strategy) && now.Sub(e.chosen) >= again; !e.replan && !delays {
			return nil, nil
		}
		e.chosen = now
		jobs := e.waiting()
		slices.SortStableFunc(jobs, func(a, b *Job) int { return cmp.Compare(b.Priority, a.Priority) })
		out, err := e.place(ctx, s, e.fleet.all, -1, jobs[:min(len(jobs), most)], now, func(*Job) string { return "the strategy's choice" })
		e.replan = err != nil || len(out) > 0 // more may follow
		return out, err
	}
	bySite := make([][]*Job, len(e.fleet.sites))
	var must []*Job
	for id, p := range e.starts {
		j := e.queue[id]
		switch {
		case j == nil:
		case !e.latest(j).After(now) || p.site < 0:
			must = append(must, j)
		case !p.at.After(now):
			bySite[p.site] = append(bySite[p.site], j)
		}
	}
	if time.Since(e.searched) > time.Second { // whatever the plan says: nothing is held beyond its latest start
		for _, j := range e.queue {
			if _, ok := e.starts[j.ID]; !ok && !e.latest(j).After(now) {
				must = append(must, j)
			}
		}
		e.searched = time.Now()
	}
	urgent := func(a, b *Job) int { return cmp.Or(e.latest(a).Compare(e.latest(b)), cmp.Compare(a.ID, b.ID)) }
	slices.SortFunc(must, urgent)
	out, err := e.place(ctx, s, e.fleet.all, -1, must[:min(len(must), most)], now, func(*Job) string { return "its latest start has come" })
	if err != nil {
		return out, err
	}
	for k, jobs := range bySite {
		slices.SortFunc(jobs, urgent)
		more, err := e.place(ctx, s, e.fleet.parts[k], k, jobs, now, func(j *Job) string { return e.why(j, k, now) })
		out = append(out, more...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// why explains a planned start.
func (e *Engine) why(j *Job, site int, now time.Time) string {
	o := e.outlook.Load()
	f := e.fleet.sites[site].factor()
	here := o.mean(site, now, now.Add(j.Duration)) * f
	then := o.mean(site, j.Submitted, j.Submitted.Add(j.Duration)) * f
	switch {
	case math.IsNaN(here):
		return "no forecast: not held"
	case now.Sub(j.Submitted) < time.Minute:
		return fmt.Sprintf("now is the cleanest time until %s: %.0f g/kWh", e.latest(j).UTC().Format("15:04"), here)
	case math.IsNaN(then):
		return fmt.Sprintf("held %s until %.0f g/kWh", now.Sub(j.Submitted).Round(time.Minute), here)
	}
	return fmt.Sprintf("held %s: %.0f g/kWh then, %.0f now", now.Sub(j.Submitted).Round(time.Minute), then, here)
}

// place asks a strategy about jobs on one cluster: that of a site, or of all for site -1.
func (e *Engine) place(ctx context.Context, s batch.Strategy, c *batch.Cluster, site int, jobs []*Job, now time.Time, why func(*Job) string) ([]choice, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	list := make([]batch.Job, len(jobs))
	for i, j := range jobs {
		list[i] = asBatch(j, now)
	}
	plan, err := s.Plan(ctx, now.Sub(epoch), list, c)
	if err != nil {
		return nil, err
	}
	for _, w := range plan.Waiting {
		jobs[w.Job].Message = w.Reason.String()
	}
	var out []choice
	for _, a := range plan.Assigned {
		j := jobs[a.Job]
		m := e.fleet.find(c.Node(a.Node).Name)
		c.Release(a.Node, &list[a.Job]) // the fleet keeps both clusters alike
		before := e.fleet.use(m)
		e.fleet.reserve(j.ID, m, list[a.Job], now.Add(j.Duration))
		delete(e.queue, j.ID)
		delete(e.starts, j.ID)
		d := e.decide(j, m, before, now)
		d.Reason = why(j)
		e.active[j.ID] = j
		out = append(out, choice{j, d, now})
	}
	return out, nil
}

// decide predicts what a job costs on a machine.
func (e *Engine) decide(j *Job, machine int, before float64, now time.Time) Decision {
	m := &e.fleet.machines[machine]
	k := e.fleet.siteOf[machine]
	d := Decision{JobID: j.ID, Node: m.Name, Site: m.Site, Strategy: e.strategy, At: now}
	if w := m.watts(j.CPU, before); !math.IsNaN(w) {
		d.KWh = w / 1000 * j.Duration.Hours()
	}
	if i := e.outlook.Load().mean(k, now, now.Add(j.Duration)) * e.fleet.sites[k].factor(); !math.IsNaN(i) {
		d.Intensity, d.Score = new(i), new(i*d.KWh)
	}
	return d
}

// commit makes decisions durable. Without that nothing starts: the jobs go back into the queue.
func (e *Engine) commit(ctx context.Context, list []choice) error {
	if len(list) == 0 {
		return nil
	}
	next := make([]Job, len(list))
	for i, c := range list {
		j := *c.job
		j.State, j.Node, j.Site, j.Strategy, j.Started, j.KWh, j.Grams, j.Message = Starting, c.decision.Node, c.decision.Site, c.decision.Strategy, c.started, c.decision.KWh, math.NaN(), ""
		if c.decision.Score != nil {
			j.Grams = *c.decision.Score
		}
		if e.opts.Dispatch == nil {
			j.State = Running
		}
		next[i] = j
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
	for i, c := range list {
		if err != nil {
			delete(e.active, c.job.ID)
			e.fleet.release(c.job.ID)
			e.queue[c.job.ID] = c.job
			e.order = append(e.order, c.job)
			continue
		}
		*c.job = next[i]
		if c.job.State == Starting {
			e.retry[c.job.ID] = attempt{}
		}
		e.recent = append(e.recent, c.decision)
	}
	e.recent = e.recent[max(0, len(e.recent)-maxRecent):]
	e.replan = e.replan || err != nil
	e.changed.set()
	return err
}

// maxRecent is how many decisions are kept for the page.
const maxRecent = 50
