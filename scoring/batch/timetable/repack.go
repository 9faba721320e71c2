package timetable

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// among finds entries places for which others get others, and returns those that find none: at once those for which it is proved that there is none, the rest after a bounded search, once in a round.
func (t *Table) among(want []*entry) (left []*entry) {
	for _, e := range want {
		if e.tried == t.round || t.now > e.Last {
			left = append(left, e)
		}
	}
	if len(left) == len(want) {
		return left
	}
	want = slices.DeleteFunc(slices.Clone(want), func(e *entry) bool { return slices.Contains(left, e) })
	most := func() int { return min(t.looked+mostAtATime, mostLooks) }
	loads := t.loads(want)
	if len(want) > 1 && !t.short(loads, nil) && t.repack(want, most()) {
		return left
	}
	for _, e := range want {
		if t.looked > mostLooks || t.short(loads, e) || !t.force(e, most()) && !t.repack([]*entry{e}, most()) {
			left = append(left, e)
		}
	}
	return left
}

// repack gives all that are in time new places, and those that want one theirs: one after the other, from the last deadline to the first, and again and again with those that found none
// further to the front. It changes nothing where some never do, or not before so much was looked at, or where it is far from that.
func (t *Table) repack(want []*entry, most int) bool {
	const (
		passes = 100 // in each order
		trial  = 2   // after which it is far if
		far    = 30  // at least find no place in each
	)
	all := slices.Clone(want)
	for i := range t.on {
		for _, e := range t.on[i].entries {
			if !e.late {
				all = append(all, e)
			}
		}
	}
	old := make([]undone, len(all))
	for n, e := range all {
		old[n] = undone{e, e.node, e.start}
	}
	rnd := rand.New(rand.NewPCG(1, uint64(len(all)))) // the same for the same jobs
	defer func() { t.tight = false }()
	for k, longer := range [...]time.Duration{4, 1, 4, 1, 8, 0} { // by how many quarters of its life a long job comes before its deadline
		t.tight = k >= 2
		key := func(e *entry) time.Duration { return e.Last + e.Life + longer*e.Life/4 }
		slices.SortFunc(all, func(a, b *entry) int {
			return cmp.Or(cmp.Compare(key(b), key(a)), cmp.Compare(b.CPU, a.CPU), cmp.Compare(a.Name, b.Name))
		})
		for n, least := 0, len(all); n < passes; n++ {
			left := t.pass(all, rnd, most)
			if left == 0 {
				return true
			}
			if least = min(least, left); t.looked > most || n+1 == trial && least >= far {
				break
			}
			slices.SortStableFunc(all, func(a, b *entry) int { return cmp.Compare(a.rank, b.rank) })
		}
	}
	for _, u := range old {
		t.put(u.e, -1, 0)
	}
	for _, u := range old {
		if u.node >= 0 {
			t.put(u.e, u.node, u.start)
		}
	}
	return false
}

// pass gives entries places in an order, ranks those higher for the next that find none, and returns how many these are.
func (t *Table) pass(all []*entry, rnd *rand.Rand, most int) (left int) {
	for _, e := range all {
		t.put(e, -1, 0)
	}
	for n, e := range all {
		if t.looked > most {
			return left + len(all) - n
		}
		if e.rank = float64(n); !t.place(e) {
			e.rank -= (0.1 + 0.4*rnd.Float64()) * float64(len(all))
			left++
		}
	}
	return left
}
