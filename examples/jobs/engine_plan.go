package main

import (
	"cmp"
	"context"
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

// plan renews the plan of the strategy over time, if something has changed. Planning takes a fifth of the time at most. When it fails, nothing
// is held back.
func (e *Engine) plan() error {
	e.mu.Lock()
	if e.strategy != SpaceTime || !e.replan || len(e.queue)+len(e.active) == 0 || time.Since(e.planned) < 4*e.planTook {
		e.mu.Unlock()
		return nil
	}
	e.replan = false
	jobs := e.waiting()
	for _, j := range e.active {
		if j.Suspendable && (j.State == Running || j.paused()) {
			jobs = append(jobs, j)
		}
	}
	e.mu.Unlock()
	now := e.now()
	e.planned = time.Now()
	latest := func(j *Job) time.Time { return e.latestNow(j, now) }
	starts, err := planJobs(now, jobs, e.fleet, e.outlook.Load(), latest, e.coming)
	e.deadlines.know(jobs, e.fleet, now, latest)
	e.planTook = time.Since(e.planned)
	e.planned = time.Now()
	if err != nil {
		starts = make(map[string]plannedStart)
		for _, j := range jobs {
			if j.State != Running {
				starts[j.ID] = plannedStart{at: now, site: -1}
			}
		}
		err = fmt.Errorf("planning, so that nothing is held: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.strategy != SpaceTime { // switched in the meantime
		return err
	}
	e.starts = starts
	for id, s := range starts {
		if j := e.queue[id]; j != nil {
			j.Planned = s.at
		} else if j := e.active[id]; j != nil && j.paused() {
			j.Planned = s.at
		}
	}
	return err
}

// waiting returns the queue in the order of acceptance, and drops from order what has left it.
func (e *Engine) waiting() []*Job {
	e.order = slices.DeleteFunc(e.order, func(j *Job) bool { return e.queue[j.ID] != j })
	return slices.Clone(e.order)
}

// most is how many jobs one step tries to place; the others follow when these have left the queue.
const most = 2000

// choose decides on what is due: it places jobs that wait and suspended ones, reserves them on the fleet and takes them out of the
// queue; and it picks the running ones that are to be suspended. mu is held.
func (e *Engine) choose(ctx context.Context, s batch.Strategy) ([]choice, error) {
	now := e.now()
	out := e.orphans(now)
	var turns map[*Job]bool // jobs that must start now, so that all end in time
	if e.strategy == SpaceTime {
		out = append(out, e.pauses(now, out)...)
		turns = e.deadlines.turns(now)
	}
	more, err := e.resumptions(ctx, s, now, turns)
	if out = append(out, more...); err != nil {
		return out, err
	}
	if e.strategy == SpaceTime {
		more, err = e.onTime(ctx, s, now, turns)
	} else {
		more, err = e.atOnce(ctx, s, now)
	}
	return append(out, more...), err
}

// atOnce asks a strategy about all that waits, when something has changed, and now and then.
func (e *Engine) atOnce(ctx context.Context, s batch.Strategy, now time.Time) ([]choice, error) {
	const again = time.Minute // strategies that go by the grid delay jobs: as time goes on they say something else
	delays := slices.Contains(batch.CarbonNames(), e.strategy)
	if due := !e.due.IsZero() && !e.due.After(now); !e.replan && !(delays && (due || now.Sub(e.chosen) >= again)) {
		return nil, nil
	}
	e.chosen, e.due = now, time.Time{}
	jobs := e.waiting()
	slices.SortStableFunc(jobs, func(a, b *Job) int {
		if must := !e.latest(a).After(now); delays && must != !e.latest(b).After(now) { // those that must start are not behind many that are held
			if must {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Priority, a.Priority)
	})
	if delays {
		for _, j := range jobs[min(len(jobs), most):] {
			e.askAgain(e.latest(j))
		}
	}
	out, err := e.place(ctx, s, e.fleet.all, -1, jobs[:min(len(jobs), most)], now, func(*Job) string { return "the strategy's choice" })
	e.replan = err != nil || len(out) > 0 // more may follow
	return out, err
}

// askAgain has a strategy that holds a job be asked again by then.
func (e *Engine) askAgain(at time.Time) {
	if e.due.IsZero() || at.Before(e.due) {
		e.due = at
	}
}

// urgent orders jobs by their latest start.
func (e *Engine) urgent(a, b *Job) int {
	return cmp.Or(e.latest(a).Compare(e.latest(b)), cmp.Compare(a.ID, b.ID))
}

// onTime places the jobs of the queue whose planned start, turn or latest start has come.
func (e *Engine) onTime(ctx context.Context, s batch.Strategy, now time.Time, turns map[*Job]bool) ([]choice, error) {
	bySite := make([][]*Job, len(e.fleet.sites))
	var must []*Job
	for j := range turns {
		if e.queue[j.ID] == j {
			must = append(must, j)
		}
	}
	for id, p := range e.starts {
		j := e.queue[id]
		switch {
		case j == nil || turns[j] || e.deadlines.refuses(j, now):
		case !e.latest(j).After(now) || p.site < 0:
			must = append(must, j)
		case !p.at.After(now):
			bySite[p.site] = append(bySite[p.site], j)
		}
	}
	if time.Since(e.searched) > time.Second { // whatever the plan says: nothing is held beyond its latest start
		for _, j := range e.queue {
			if _, ok := e.starts[j.ID]; !ok && !e.latest(j).After(now) && !turns[j] && !e.deadlines.refuses(j, now) {
				must = append(must, j)
			}
		}
		e.searched = time.Now()
	}
	slices.SortFunc(must, e.urgent)
	out, err := e.place(ctx, s, e.fleet.all, -1, must[:min(len(must), most)], now, func(j *Job) string {
		switch {
		case !e.latest(j).After(now):
			return "its latest start has come"
		case turns[j]:
			return "later there is no room for it before its deadline"
		}
		return "no plan: not held"
	})
	if err != nil {
		return out, err
	}
	for k, jobs := range bySite {
		slices.SortFunc(jobs, e.urgent)
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
		return fmt.Sprintf("now is the cleanest time until %s: %.0f g/kWh", clockTime(e.latest(j), now), here)
	case math.IsNaN(then):
		return fmt.Sprintf("held %s until %.0f g/kWh", now.Sub(j.Submitted).Round(time.Minute), here)
	}
	return fmt.Sprintf("held %s: %.0f g/kWh then, %.0f now", now.Sub(j.Submitted).Round(time.Minute), then, here)
}

// clockTime tells a time of the day, in UTC, with the day where that is not the day of now.
func clockTime(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("2 Jan 15:04")
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
	wanted := make([]int, 0, len(plan.Assigned)) // which machine each is given
	for _, a := range plan.Assigned {
		c.Release(a.Node, &list[a.Job]) // the fleet keeps both clusters alike
		wanted = append(wanted, e.fleet.find(c.Node(a.Node).Name))
	}
	sure := e.strategy == SpaceTime && e.deadlines.on
	for _, w := range plan.Waiting {
		jobs[w.Job].Message = w.Reason.String()
		if w.Reason.Until > 0 {
			e.askAgain(epoch.Add(w.Reason.Until))
		}
		if sure && e.deadlines.turn(jobs[w.Job], now) {
			plan.Assigned, wanted = append(plan.Assigned, batch.Assignment{Job: w.Job}), append(wanted, -1)
		}
	}
	var out []choice
	for n, a := range plan.Assigned {
		j, m := jobs[a.Job], wanted[n]
		if sure {
			if m = e.deadlines.pick(e.fleet, j, &list[a.Job], m, site, now, e.latest(j)); m < 0 {
				j.Message = "it leaves its room to jobs that would end too late otherwise"
				continue
			}
		}
		before := e.fleet.use(m)
		e.fleet.reserve(j.ID, m, list[a.Job], now.Add(j.rest()))
		if sure {
			e.deadlines.started(e.fleet, j.ID, m)
		}
		d := e.decide(j, m, before, now)
		d.Reason = why(j)
		delete(e.queue, j.ID)
		if !j.Suspendable { // of one that may be suspended the plan tells until when it runs
			delete(e.starts, j.ID)
		}
		e.active[j.ID] = j
		out = append(out, choice{job: j, decision: d, at: now})
	}
	return out, nil
}

// decide predicts what a job, or what is left of it, costs on a machine.
func (e *Engine) decide(j *Job, machine int, before float64, now time.Time) Decision {
	m := &e.fleet.machines[machine]
	k := e.fleet.siteOf[machine]
	d := Decision{JobID: j.ID, Node: m.Name, Site: m.Site, Strategy: e.strategy, At: now, Action: Start}
	if j.paused() {
		d.Action = Resume
	}
	if w := m.watts(j.CPU, before); !math.IsNaN(w) {
		d.KWh = w / 1000 * j.rest().Hours()
	}
	if i := e.expected(j, k, now) * e.fleet.sites[k].factor(); !math.IsNaN(i) {
		d.Intensity, d.Score = new(i), new(i*d.KWh)
	}
	return d
}

// expected is the mean intensity of the times that a job is planned to run, from now on.
func (e *Engine) expected(j *Job, site int, now time.Time) float64 {
	o := e.outlook.Load()
	p, left := e.starts[j.ID], j.rest()
	sum, known := 0.0, time.Duration(0)
	for _, s := range p.runs {
		from := s.from
		if from.Before(now) {
			from = now
		}
		if d := min(s.until.Sub(from), left-known); p.site == site && d > 0 {
			sum += o.mean(site, from, from.Add(d)) * d.Seconds()
			known += d
		}
	}
	if known < left/2 { // no such plan
		return o.mean(site, now, now.Add(max(left, time.Second)))
	}
	return sum / known.Seconds()
}
