package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/batch/timetable"
)

// deadlines sees to it that those are met which can be: it keeps a timetable of the machines in which each job that waits and has one ends in time. The plan
// over sites and time does not know which machine has room for what. It belongs to Run's goroutine.
type deadlines struct {
	table    *timetable.Table
	machines []timetable.Server
	jobs     []timed              // those of the last plan that have a deadline, the most urgent first
	refused  map[string]time.Time // jobs that must leave their room to others, and when they may ask again
	on       bool                 // in this step

	// What is due between two steps starts at the first, and what has ended then is seen at the second: that is the shortest time from one job to the next.
	grace   time.Duration
	longest [2]time.Duration // from step to step, in the slot before and in this one
	last    time.Time        // the last step
}

// A timed job has a place in the timetable.
type timed struct {
	job *Job
	as  timetable.Job
}

// askAgainAfter is after what time a job asks again that has to leave its room to others, if nothing ends before.
const askAgainAfter = 15 * time.Second

func newDeadlines() *deadlines {
	return &deadlines{table: timetable.New(), refused: make(map[string]time.Time)}
}

// know takes over the jobs of a plan, the most urgent first.
func (d *deadlines) know(jobs []*Job, f *Fleet, now time.Time, latest func(*Job) time.Time) {
	clear(d.refused)
	d.jobs = d.jobs[:0]
	for _, j := range jobs {
		if len(d.jobs) == timetable.Most {
			break
		}
		if !waits(j) || j.Deadline.IsZero() || j.left(now) <= 0 {
			continue
		}
		as := f.timed(j, now, latest(j))
		for i := range f.machines {
			if as.May(i) {
				d.jobs = append(d.jobs, timed{j, as})
				break
			}
		}
	}
}

// waits tells whether a job is to be started or resumed.
func waits(j *Job) bool { return j.State == Queued || j.paused() }

// timed is what the timetable sees of a job. One that has begun goes on at its site, where there is a machine.
func (f *Fleet) timed(j *Job, now, latest time.Time) timetable.Job {
	left, home := j.left(now), -1
	if j.State != Queued {
		if home = f.site(j.Site); home >= 0 && !f.up(home) {
			home = -1
		}
	}
	cpu, memory, last := j.CPU, j.Memory, latest
	if !j.Deadline.IsZero() {
		last = j.Deadline.Add(-left)
	}
	return timetable.Job{Name: j.ID, CPU: cpu, Memory: memory, Life: left, First: now.Sub(epoch), Due: latest.Sub(epoch), Last: last.Sub(epoch), May: func(i int) bool {
		m := &f.machines[i]
		return !m.Down && m.Cores >= cpu && m.Memory >= memory && (home < 0 || f.siteOf[i] == home)
	}}
}

// begin brings the timetable up to now, or forgets it where nothing is planned.
func (d *deadlines) begin(f *Fleet, now time.Time, on bool) {
	if d.on = on; !on {
		*d = *newDeadlines()
		return
	}
	d.step(now)
	for len(d.machines) < len(f.machines) {
		d.machines = append(d.machines, timetable.Server{})
	}
	for i := range f.machines {
		d.free(f, i)
		d.machines[i].Runs = d.machines[i].Runs[:0]
	}
	for _, p := range f.held {
		if p.machine >= 0 {
			until := p.until
			if over := now.Sub(until); over >= 0 { // and may last as long again
				until = now.Add(max(over, time.Minute))
			}
			s := &d.machines[p.machine]
			s.Runs = append(s.Runs, timetable.Run{End: until.Add(d.grace).Sub(epoch), CPU: p.job.Requests.CPU, Memory: p.job.Requests.Memory})
		}
	}
	for i := range d.machines {
		slices.SortFunc(d.machines[i].Runs, func(a, b timetable.Run) int {
			return cmp.Or(cmp.Compare(a.End, b.End), cmp.Compare(a.CPU, b.CPU), cmp.Compare(a.Memory, b.Memory))
		})
	}
	d.table.Begin(now.Sub(epoch), int64(now.Sub(epoch)/planSlot), d.machines)
	d.jobs = slices.DeleteFunc(d.jobs, func(j timed) bool { return !waits(j.job) })
	list := make([]timetable.Job, len(d.jobs))
	for k := range d.jobs {
		list[k] = d.graced(d.jobs[k].as)
		list[k].First = now.Sub(epoch)
	}
	d.table.Enter(list)
	d.table.Sweep(now.Sub(epoch)) // what is not among them has started, or is not among the most urgent any more
}

// step measures how long it is from one step to the next, in full seconds, so that it seldom changes.
func (d *deadlines) step(now time.Time) {
	if !d.last.IsZero() {
		if !now.Truncate(planSlot).Equal(d.last.Truncate(planSlot)) {
			d.longest = [2]time.Duration{d.longest[1], 0}
		}
		d.longest[1] = max(d.longest[1], min(now.Sub(d.last), planSlot))
	}
	d.last = now
	d.grace = (max(d.longest[0], d.longest[1], 1) + time.Second - 1).Truncate(time.Second)
}

// graced is a job that ends in time although it is seen a step late that it has.
func (d *deadlines) graced(j timetable.Job) timetable.Job {
	j.Life, j.Last = j.Life+d.grace, j.Last-d.grace
	return j
}

// next is when the next step comes at the latest.
func (d *deadlines) next(now time.Time) time.Duration { return now.Add(d.grace).Sub(epoch) }

// turn tells whether the place of a job in the timetable comes before the next step.
func (d *deadlines) turn(j *Job, now time.Time) bool {
	p, ok := d.table.Place(j.ID)
	return ok && p.Start < d.next(now)
}

// free takes over what is free on a machine.
func (d *deadlines) free(f *Fleet, i int) {
	const slack = 1e-9 // of sums
	s, free := &d.machines[i], f.all.Free(f.at[i].all)
	if s.CPU, s.Memory = free.CPU+slack*f.machines[i].Cores, free.Memory; f.machines[i].Down {
		s.CPU, s.Memory = -1, -1
	}
}

// started takes over that a job was given a machine.
func (d *deadlines) started(f *Fleet, id string, machine int) {
	p := f.held[id]
	d.free(f, machine)
	d.machines[machine].Add(timetable.Run{End: p.until.Add(d.grace).Sub(epoch), CPU: p.job.Requests.CPU, Memory: p.job.Requests.Memory})
	d.table.Changed(machine)
}

// turns returns the jobs whose place in the timetable comes before the next step, and which have no later one. The others are not asked about before that.
func (d *deadlines) turns(now time.Time) map[*Job]bool {
	out := make(map[*Job]bool)
	for k := range d.jobs {
		j := d.jobs[k].job
		if d.turn(j, now) && !d.table.Later(j.ID, d.next(now)) {
			out[j] = true
			continue
		}
		d.table.Wait(j.ID, d.next(now))
	}
	return out
}

// pick returns the machine of a site, or of any for -1, where a job may start now and leave all others a place: the one that is wanted, or one of those
// where it draws the least, or that where it must start now by the timetable. -1: there is none.
func (d *deadlines) pick(f *Fleet, j *Job, b *batch.Job, want, site int, now, latest time.Time) int {
	const tries = 4
	as := d.graced(f.timed(j, now, latest))
	fits := func(i int) bool {
		return (site < 0 || f.siteOf[i] == site) && as.May(i) && f.all.Fits(f.at[i].all, b)
	}
	if want >= 0 && fits(want) && d.table.Start(&as, want) {
		return want
	}
	type offer struct {
		machine int
		watts   float64
	}
	var others []offer
	for i := range f.machines {
		if i != want && fits(i) {
			w := f.machines[i].watts(j.CPU, f.use(i))
			if math.IsNaN(w) {
				w = math.Inf(1)
			}
			others = append(others, offer{i, w})
		}
	}
	slices.SortStableFunc(others, func(a, b offer) int { return cmp.Compare(a.watts, b.watts) })
	for _, o := range others[:min(len(others), tries-1)] {
		if d.table.Start(&as, o.machine) {
			return o.machine
		}
	}
	if p, ok := d.table.Place(j.ID); ok && p.Start < d.next(now) && fits(p.Server) {
		d.table.Drop(j.ID)
		return p.Server
	}
	d.refused[j.ID] = now.Add(askAgainAfter)
	return -1
}

// refuses tells whether a job has to leave its room to others for now.
func (d *deadlines) refuses(j *Job, now time.Time) bool { return d.refused[j.ID].After(now) }

// keeps keeps a place for what is left of a job that is to be suspended until a time, and tells whether it ends in time then.
func (d *deadlines) keeps(f *Fleet, j *Job, now, next, latest time.Time) bool {
	if !d.on || j.Deadline.IsZero() {
		return true
	}
	as := d.graced(f.timed(j, now, latest))
	as.First = next.Sub(epoch)
	return d.table.Keep(as)
}
