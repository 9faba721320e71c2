package batch

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// A hold is a job of the present call whose room is booked.
type hold struct {
	booking
	job    int
	latest time.Duration
	gain   float64 // of starting now, for each core and slot
}

// settle starts what is planned for now, and what would gain by running on cores that are free instead of at its planned
// time, and holds the rest. Where cores are scarce in clean slots the prices of the plan say what it costs others that these
// are taken; the rest of the present slot costs no one anything. Where servers may be switched off, all keep to the plan:
// what is started early would wake some.
func (b *overTime) settle(p *Plan, c *Cluster, now time.Duration, jobs []Job) {
	if len(b.asked) == 0 {
		return
	}
	b.sumUp()
	b.asked = slices.DeleteFunc(b.asked, func(h hold) bool { return b.must(p, c, now, jobs, &h) })
	for n := range b.asked {
		h := &b.asked[n]
		if h.gain = -1; !b.whole && !jobs[h.job].Suspend {
			h.gain = b.gain(now, &h.booking)
		}
	}
	// Of those that are planned for now the ones that must start within a slot come first, and then the large: these find no room among small ones.
	urgent := func(h *hold) int {
		if h.latest < now+b.grid.Slot() {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(b.asked, func(g, h hold) int {
		if g.gain < 0 && h.gain < 0 {
			return 0
		}
		return cmp.Or(cmp.Compare(h.gain, g.gain), cmp.Compare(urgent(&h), urgent(&g)), cmp.Compare(h.size, g.size), cmp.Compare(g.latest, h.latest))
	})
	most := mostFree(c)
	b.asked = slices.DeleteFunc(b.asked, func(h hold) bool {
		if h.gain < 0 {
			return false
		}
		j := &jobs[h.job]
		if j.Requests.CPU <= most && b.startEarly(p, c, now, jobs, &h) {
			most = mostFree(c)
			return true
		}
		return false
	})
	slices.SortStableFunc(b.asked, func(g, h hold) int { return cmp.Compare(g.latest, h.latest) })
	for _, h := range b.asked {
		b.keep(c, &jobs[h.job], now)
	}
	chance := b.nextChance(now)
	for n := range b.asked {
		h := &b.asked[n]
		until := h.start
		if b.opts.Joint > 0 {
			until = min(until, b.nextSlot(now))
		}
		if h.gain >= 0 {
			until = chance
		}
		until = min(until, h.latest)
		if at, ok := b.table.Place(jobs[h.job].Name); ok {
			until = min(until, b.nextAsked(now, at.Start))
			b.table.Wait(jobs[h.job].Name, until)
		}
		p.Waiting = append(p.Waiting, Wait{Job: h.job, Reason: Reason{Until: until, Planned: h.start}})
	}
}

// must starts a held job whose time in the timetable has come; others are asked about again before theirs comes.
func (b *overTime) must(p *Plan, c *Cluster, now time.Duration, jobs []Job, h *hold) bool {
	j := &jobs[h.job]
	at, ok := b.table.Place(j.Name)
	if !ok {
		return false
	}
	if next := now + b.soonest(); at.Start >= next || b.table.Later(j.Name, next) {
		b.table.Wait(j.Name, next)
		return false
	}
	node := b.turn(j, c, now)
	if node < 0 {
		return false
	}
	b.table.Drop(j.Name)
	b.book(h.booking, -1)
	delete(b.holds, j.Name)
	b.start(p, c, now, jobs, h.job, node, 0)
	return true
}

func mostFree(c *Cluster) float64 {
	most := 0.0
	for _, v := range c.fitCPU {
		most = max(most, v)
	}
	return most
}

// startEarly starts a job that is booked for now or for later, if a server of its site has room and nothing needs it that
// runs, or that cannot be put off until this job ends.
func (b *overTime) startEarly(p *Plan, c *Cluster, now time.Duration, jobs []Job, h *hold) bool {
	j := &jobs[h.job]
	site := b.cells[h.cell].site
	node := b.choose(c, j, now, func() int {
		node := b.best[site]
		if node < 0 && h.start <= now && h.latest < now+b.grid.Slot() {
			node = b.pick(j, site)
		}
		if node < 0 || h.start <= now {
			return node
		}
		b.book(h.booking, -1)
		defer b.book(h.booking, 1)
		if !b.clears(b.cellOf[node], now, j) {
			return -1
		}
		return node
	})
	if node < 0 {
		return false
	}
	b.book(h.booking, -1)
	delete(b.holds, j.Name)
	b.start(p, c, now, jobs, h.job, node, 0)
	return true
}

// gain is what starting now saves against the planned start, for each core and slot; +Inf where it is planned for now. Below 0 it costs.
func (b *overTime) gain(now time.Duration, h *booking) float64 {
	if h.start <= now {
		return math.Inf(1)
	}
	s := b.cells[h.cell].site
	const next = 1 // slot
	value := func(start time.Duration) float64 {
		from := b.inSlots(start) - float64(b.at)
		until := from + b.inSlots(h.life)
		v := h.energy * (upTo(b.sums[s], until) - upTo(b.sums[s], from))
		if q := b.priced[h.cell]; until > next {
			v += h.size * (upTo(q, until) - upTo(q, max(from, next)))
		}
		return v
	}
	later := value(h.start)
	v := later - value(now)
	if math.Abs(v) <= 1e-9*math.Abs(later) {
		v = 0
	}
	return v / (h.size * b.inSlots(h.life))
}

func (b *overTime) inSlots(d time.Duration) float64 { return float64(d) / float64(b.grid.Slot()) }

// sumUp sums up costs and prices from the present slot on.
func (b *overTime) sumUp() {
	n := 1
	for s := range b.sites {
		n = max(n, len(b.ahead[s]))
	}
	b.sums = slices.Grow(b.sums[:0], len(b.sites))[:len(b.sites)]
	for s, ahead := range b.ahead {
		neutral := b.expected(s, n)
		sum := append(b.sums[s][:0], 0)
		for t := range n {
			v := neutral
			if t < len(ahead) && ahead[t] == ahead[t] {
				v = ahead[t]
			}
			sum = append(sum, sum[t]+v)
		}
		b.sums[s] = append(sum, sum[n]+neutral) // and on
	}
	b.priced = slices.Grow(b.priced[:0], len(b.cells))[:len(b.cells)]
	for x := range b.cells {
		sum := append(b.priced[x][:0], 0)
		if x < len(b.prices) {
			v := b.prices[x]
			for _, price := range v[min(len(v), int(b.at-b.joined)):] {
				sum = append(sum, sum[len(sum)-1]+price)
			}
		}
		b.priced[x] = append(sum, sum[len(sum)-1])
	}
}

// upTo is what the slots until a time come to, counted in slots from the present one on; beyond their end they go on as the last.
func upTo(sum []float64, t float64) float64 {
	k := min(int(t), len(sum)-2)
	return sum[k] + (t-float64(k))*(sum[k+1]-sum[k])
}

// slackClasses are bookings by how long they can be put off: those of class q for less than 2^q slots, those of the last class for longer.
const slackClasses = 6

func (b *overTime) classOf(slack time.Duration) int {
	q := 0
	for q < slackClasses && slack >= b.grid.Slot()<<q {
		q++
	}
	return q
}

// clears tells whether a job that starts now in a cell leaves room for all that runs there and for what is held and cannot be put off until it ends.
func (b *overTime) clears(x int, now time.Duration, j *Job) bool {
	q := min(b.classOf(j.Demand.Lifetime), slackClasses-1)
	ok := true
	b.parts(now, j.Demand.Lifetime, func(t int64, share float64) {
		ok = ok && (t == b.at || b.running[x].at(t)+b.firm[q][x].at(t)+share*j.Requests.CPU <= b.cells[x].capacity*(1+1e-9))
	})
	return ok
}

// soonest is after what time a job is asked about again at the earliest.
func (b *overTime) soonest() time.Duration {
	const looks = 60 // in a slot, at most
	return max(1, b.grid.Slot()/looks)
}

// nextAsked is when a job is asked about again at the latest whose time in the timetable comes at a time.
func (b *overTime) nextAsked(now, start time.Duration) time.Duration {
	if start > now {
		return start
	}
	return now + b.soonest()
}

// nextChance is when cores may become free: when the next of the jobs that run is expected to end, in this slot.
func (b *overTime) nextChance(now time.Duration) time.Duration {
	next := b.nextSlot(now)
	for i := range b.servers {
		for _, r := range b.servers[i].Runs {
			next = min(next, r.End)
		}
	}
	return min(max(next, now+b.soonest()), b.nextSlot(now))
}
