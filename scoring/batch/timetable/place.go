package timetable

import (
	"slices"
	"time"
)

type undone struct {
	e     *entry
	node  int
	start time.Duration
}

// can tells whether a server may take a job at all.
func (t *Table) can(i int, e *entry) bool { return e.May == nil || e.May(i) }

// put gives an entry a place, or with node -1 takes it away.
func (t *Table) put(e *entry, node int, start time.Duration) {
	if t.journal {
		t.undo = append(t.undo, undone{e, e.node, e.start})
	}
	if e.node >= 0 {
		r := &t.on[e.node]
		t.take(e.node, e, -1)
		r.entries = slices.Delete(r.entries, slices.Index(r.entries, e), slices.Index(r.entries, e)+1)
	}
	if e.node, e.start = node, start; node >= 0 {
		t.on[node].entries = append(t.on[node].entries, e)
		t.take(node, e, 1)
	}
}

// attempt undoes what f has changed where it fails.
func (t *Table) attempt(f func() bool) bool {
	t.journal, t.undo = true, t.undo[:0]
	ok := f()
	t.journal = false
	if !ok {
		for _, u := range slices.Backward(t.undo) {
			t.put(u.e, u.node, u.start)
		}
	}
	return ok
}

// place finds an entry a place beside all others: as late as it may start, where the least is left over; else as early as it can and still end in time.
func (t *Table) place(e *entry) bool {
	from := max(t.now, e.First)
	best, at, spare, exact := -1, time.Duration(0), 0.0, 0
	const enough = 16 // servers to choose from
	for i := range t.on {
		if !t.can(i, e) {
			continue
		}
		until := e.Last - t.life(i, e) + e.Life
		if !t.tight {
			until = min(until, e.Due)
		}
		start, ok := t.latest(i, e, from, until)
		if !ok {
			continue
		}
		r := t.free(i)
		left := r.cpu[r.step(start)]
		if best < 0 || start > at || start == at && left < spare {
			best, at, spare = i, start, left
		}
		if start == until {
			if exact++; exact == enough {
				break
			}
		}
	}
	for i := range t.on {
		if best >= 0 && (t.tight || at <= e.Due) {
			break
		}
		if !t.can(i, e) {
			continue
		}
		if start, ok := t.earliest(i, e, from, e.Last-t.life(i, e)+e.Life); ok && (best < 0 || start < at) {
			best, at = i, start
		}
	}
	if best < 0 {
		return false
	}
	t.put(e, best, at)
	return true
}
