package batch

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// enter brings the timetable up to date with the jobs that are asked about.
func (b *overTime) enter(jobs []Job, c *Cluster, now time.Duration) {
	t := b.table
	t.begin(c, b.runs, now)
	var fresh []*entry
	for k := range jobs {
		j := &jobs[k]
		e := t.entries[j.Name]
		if j.Deadline <= 0 || j.Demand.Lifetime <= 0 || j.Requests.CPU <= 0 || j.Validate() != nil || !c.CanEver(j) {
			if e != nil {
				t.drop(e)
			}
			continue
		}
		due, last := b.due(j), j.Deadline-j.Demand.Lifetime
		if e != nil && (e.job.Demand.Lifetime != j.Demand.Lifetime || e.due != due || e.job.Requests.CPU != j.Requests.CPU || e.job.Requests.Memory != j.Requests.Memory) {
			t.drop(e)
			e = nil
		}
		if e != nil && e.late && e.tried != b.at && now <= e.last { // something may have ended before its time
			t.put(e, -1, 0)
			e.late = false
		}
		if e == nil {
			if len(t.entries) >= mostEntries {
				continue
			}
			e = &entry{job: *j, node: -1, due: due, last: last, tried: -1}
			t.entries[j.Name] = e
		}
		e.first = now
		switch {
		case e.node >= 0 && e.start < now && !t.again(e), e.node < 0:
			fresh = append(fresh, e)
		}
	}
	t.fill(fresh, b.at)
}

// drop forgets an entry.
func (t *timetable) drop(e *entry) {
	t.put(e, -1, 0)
	delete(t.entries, e.job.Name)
}

// again moves an entry whose time has passed to now or to another place.
func (t *timetable) again(e *entry) bool {
	node := e.node
	t.put(e, -1, 0)
	if t.fits(node, &e.job, t.now) && t.now <= e.last {
		t.put(e, node, t.now)
		return true
	}
	return t.place(e)
}

// fill finds entries places: in the order in which most find one, by force where they must.
func (t *timetable) fill(fresh []*entry, slot int64) {
	work := func(e *entry) float64 { return e.job.Requests.CPU * e.job.Demand.Lifetime.Hours() }
	orders := []func(a, b *entry) int{
		func(a, b *entry) int { return cmp.Or(cmp.Compare(b.last, a.last), cmp.Compare(work(b), work(a))) },
		func(a, b *entry) int {
			return cmp.Or(cmp.Compare(b.job.Requests.CPU, a.job.Requests.CPU), cmp.Compare(work(b), work(a)))
		},
		func(a, b *entry) int { return cmp.Compare(work(b), work(a)) },
		func(a, b *entry) int { return cmp.Compare(a.due, b.due) },
	}
	if len(fresh) < 2 {
		orders = orders[:len(fresh)]
	}
	pass := func(n int) (left []*entry) {
		slices.SortStableFunc(fresh, orders[n])
		for _, e := range fresh {
			if !t.place(e) {
				left = append(left, e)
			}
		}
		return slices.DeleteFunc(left, func(e *entry) bool {
			if e.tried == slot || t.now > e.last {
				return false
			}
			return t.force(e)
		})
	}
	best, least := 0, len(fresh)+1
	for n := range orders {
		left := pass(n)
		if len(left) == 0 {
			return
		}
		if len(left) < least {
			best, least = n, len(left)
		}
		if n == len(orders)-1 && best == n {
			t.soon(left, slot)
			return
		}
		for _, e := range fresh {
			t.put(e, -1, 0)
		}
	}
	if len(fresh) > 0 {
		t.soon(pass(best), slot)
	}
}

// soon gives entries that cannot end in time the earliest place.
func (t *timetable) soon(late []*entry, slot int64) {
	for _, e := range late {
		e.tried, e.late = slot, true
		best, at := -1, time.Duration(0)
		for i := range t.on {
			if !t.can(i, &e.job) {
				continue
			}
			if start, ok := t.earliest(i, &e.job, max(t.now, e.first), math.MaxInt64/2); ok && (best < 0 || start < at) {
				best, at = i, start
			}
		}
		if best >= 0 {
			t.put(e, best, at)
		}
	}
}

// sweep forgets entries that nobody asks about any more.
func (t *timetable) sweep(before time.Duration) {
	for _, e := range t.entries {
		if e.first < before {
			t.drop(e)
		}
	}
}

// due is the entry of a job whose time has come, or nil.
func (t *timetable) due(name string) *entry {
	if e := t.entries[name]; e != nil && e.node >= 0 && e.start <= t.now {
		return e
	}
	return nil
}

// later moves an entry to a later time, if need be with others.
func (t *timetable) later(e *entry, slot int64) bool {
	if t.now >= e.due {
		return false
	}
	node, start, first := e.node, e.start, e.first
	t.put(e, -1, 0)
	e.first = t.now + 1
	ok := t.place(e)
	if !ok && e.tried != slot {
		e.tried = slot
		ok = t.force(e)
	}
	if e.first = first; !ok {
		t.put(e, node, start)
	}
	return ok
}

// rest keeps a place for what is left of a job that was started for a stretch.
func (t *timetable) rest(j *Job, stretch, due time.Duration) {
	e := &entry{job: *j, node: -1, first: t.now + stretch, last: j.Deadline - j.Demand.Lifetime + stretch, due: due, tried: -1}
	e.job.Demand.Lifetime -= stretch
	if e.job.Demand.Lifetime > 0 && len(t.entries) < mostEntries && t.place(e) {
		t.entries[j.Name] = e
	}
}

// leaves tells whether a job may start on a server now for a time: whether all of the timetable find a place then. Those that have to give way get
// another; where one finds none nothing changes.
func (b *overTime) leaves(j *Job, node int) bool {
	t := b.table
	if j.Demand.Lifetime <= 0 {
		return true // nobody knows for how long
	}
	own := t.entries[j.Name]
	return t.attempt(func() bool {
		me := own
		if me == nil {
			me = &entry{job: *j, node: -1}
		}
		t.put(me, -1, 0)
		moved := t.lift(me, node, t.now)
		ok := t.fits(node, j, t.now)
		t.put(me, node, t.now)
		slices.SortStableFunc(moved, func(a, b *entry) int { return cmp.Compare(a.last, b.last) })
		for _, e := range moved {
			ok = ok && t.place(e)
		}
		t.put(me, -1, 0)
		if ok && own != nil {
			delete(t.entries, j.Name)
		}
		return ok
	})
}
