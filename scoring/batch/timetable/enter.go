package timetable

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Enter brings the timetable up to date with jobs that are asked about: those that are new, that are not what they were, or whose time has passed get another place. The others make way
// for them, but none that can end in time loses that.
func (t *Table) Enter(jobs []Job) {
	var fresh []*entry
	for k := range jobs {
		j := &jobs[k]
		e := t.entries[j.Name]
		if e != nil && (e.Life != j.Life || e.Due != j.Due || e.Last != j.Last || e.CPU != j.CPU || e.Memory != j.Memory) {
			e = t.change(e, *j)
		}
		if e != nil && e.late && e.tried != t.round && t.now <= e.Last { // something may have ended before its time
			t.put(e, -1, 0)
			e.late = false
		}
		if e == nil {
			if len(t.entries) >= Most {
				continue
			}
			e = &entry{node: -1, tried: -1}
			t.entries[j.Name] = e
		}
		e.Job = *j
		switch {
		case e.node >= 0 && (e.start < t.now || !t.can(e.node, e)) && !t.again(e), e.node < 0:
			fresh = append(fresh, e)
		}
	}
	t.fill(fresh)
}

// change takes over what a job is now. It keeps its place where it can.
func (t *Table) change(e *entry, j Job) *entry {
	node, start := e.node, e.start
	t.Drop(j.Name)
	e = &entry{Job: j, node: -1, tried: -1}
	t.entries[j.Name] = e
	if node >= 0 && start >= t.now && start <= j.Last-t.servers[node].Wake && t.can(node, e) && t.fits(node, e, start) {
		t.put(e, node, start)
	}
	return e
}

// Drop forgets a job.
func (t *Table) Drop(name string) {
	if e := t.entries[name]; e != nil {
		t.put(e, -1, 0)
		delete(t.entries, name)
	}
}

// Wait says that a job is not asked about before a time.
func (t *Table) Wait(name string, until time.Duration) {
	if e := t.entries[name]; e != nil {
		e.First = until
	}
}

// Sweep forgets jobs that nobody has asked about since a time.
func (t *Table) Sweep(before time.Duration) {
	for name, e := range t.entries {
		if e.First < before {
			t.Drop(name)
		}
	}
}

// Place returns the place of a job; false: it has none.
func (t *Table) Place(name string) (Place, bool) {
	e := t.entries[name]
	if e == nil || e.node < 0 {
		return Place{}, false
	}
	return Place{e.node, e.start, e.late}, true
}

// again moves an entry whose time has passed to now or to another place.
func (t *Table) again(e *entry) bool {
	node := e.node
	t.put(e, -1, 0)
	if t.can(node, e) && t.fits(node, e, t.now) && t.now <= e.Last {
		t.put(e, node, t.now)
		return true
	}
	return t.place(e)
}

// fill finds entries places: in the order in which most find one, among the others where they must.
func (t *Table) fill(fresh []*entry) {
	if left := t.inOrder(fresh); len(left) > 0 {
		t.soon(t.among(left))
	}
}

// inOrder finds entries places beside all others, in the order in which most find one, and returns those that do not.
func (t *Table) inOrder(fresh []*entry) (left []*entry) {
	work := func(e *entry) float64 { return e.CPU * e.Life.Hours() }
	orders := []func(a, b *entry) int{
		func(a, b *entry) int {
			return cmp.Or(cmp.Compare(b.Last+2*b.Life, a.Last+2*a.Life), cmp.Compare(work(b), work(a)))
		},
		func(a, b *entry) int { return cmp.Or(cmp.Compare(b.Last, a.Last), cmp.Compare(work(b), work(a))) },
		func(a, b *entry) int { return cmp.Or(cmp.Compare(b.CPU, a.CPU), cmp.Compare(work(b), work(a))) },
		func(a, b *entry) int { return cmp.Compare(work(b), work(a)) },
		func(a, b *entry) int { return cmp.Compare(a.Due, b.Due) },
	}
	orders = orders[:min(len(orders), len(fresh))]
	pass := func(n int) (left []*entry) {
		slices.SortFunc(fresh, func(a, b *entry) int { return cmp.Or(orders[n](a, b), cmp.Compare(a.Name, b.Name)) })
		for _, e := range fresh {
			t.put(e, -1, 0)
		}
		for _, e := range fresh {
			if !t.place(e) {
				left = append(left, e)
			}
		}
		return left
	}
	best := 0
	for n := range orders {
		switch now := pass(n); {
		case len(now) == 0:
			return nil
		case n == 0 || len(now) < len(left):
			best, left = n, now
		}
	}
	if best < len(orders)-1 {
		return pass(best)
	}
	return left
}

// soon gives entries that cannot end in time the earliest place.
func (t *Table) soon(late []*entry) {
	for _, e := range late {
		e.tried, e.late = t.round, true
		best, at := -1, time.Duration(0)
		for i := range t.on {
			if !t.can(i, e) {
				continue
			}
			if start, ok := t.earliest(i, e, max(t.now, e.First), math.MaxInt64/2); ok && (best < 0 || start < at) {
				best, at = i, start
			}
		}
		if best >= 0 {
			t.put(e, best, at)
		}
	}
}

// Later moves a job, if need be with others, so that it does not start before a time, and tells whether there is such a place. After its latest start as wished for there is none.
func (t *Table) Later(name string, from time.Duration) bool {
	e := t.entries[name]
	if e == nil || from > e.Due {
		return false
	}
	node, start, first := e.node, e.start, e.First
	t.put(e, -1, 0)
	e.First = from
	ok := t.place(e)
	if !ok && e.tried != t.round {
		e.tried = t.round
		ok = t.force(e, min(t.looked+mostAtATime, mostLooks))
	}
	if e.First = first; !ok {
		t.put(e, node, start)
	}
	return ok
}

// Keep gives a job a place beside all others, and tells whether there is one in time; what it had is forgotten. A timetable that is full does not know and says yes.
func (t *Table) Keep(j Job) bool {
	t.Drop(j.Name)
	if len(t.entries) >= Most {
		return true
	}
	e := &entry{Job: j, node: -1, tried: -1}
	if !t.place(e) {
		return false
	}
	t.entries[j.Name] = e
	return true
}

// Start takes a job out of the timetable, where it may stand or not, that starts on a server now, and tells whether all that stay have a place then. Those that have to give way get another;
// where one finds none nothing changes, and the job must not start there. One without a Life, of which nobody knows how long it lasts, may. Who starts it says that the
// server has changed.
func (t *Table) Start(j *Job, server int) bool {
	if j.Life <= 0 {
		return true
	}
	own := t.entries[j.Name]
	return t.attempt(func() bool {
		me := own
		if me == nil {
			me = &entry{Job: *j, node: -1}
		}
		t.put(me, -1, 0)
		moved := t.lift(me, server, t.now)
		ok := t.fits(server, me, t.now)
		if len(moved) > 0 {
			t.put(me, server, t.now)
			slices.SortStableFunc(moved, func(a, b *entry) int { return cmp.Compare(a.Last, b.Last) })
			for _, e := range moved {
				ok = ok && t.place(e)
			}
			t.put(me, -1, 0)
		}
		if ok && own != nil {
			delete(t.entries, j.Name)
		}
		return ok
	})
}
