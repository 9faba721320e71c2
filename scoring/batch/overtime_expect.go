package batch

import (
	"cmp"
	"maps"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// arrivals learn how much work comes, in core-slots, by the slot of the day, and what jobs it consists of. Who plans as if nothing more came waits for
// clean slots that will be full by then.
type arrivals struct {
	slot  time.Duration
	begun time.Duration // jobs that were there then have gathered over a time that nobody knows, and are not counted
	at    int64         // the slot that is being counted
	work  float64       // that came in it so far
	all   average
	day   []average // by slot of the day
	noise average   // squares of what a slot got less the mean of its time of day
	kinds map[likeness]*sample
	seen  map[string]int64 // jobs that were counted and have not started, with the slot in which they were asked about last
}

// A likeness is what jobs have in common, their length and their slack: how many bits these have, in slots.
type likeness struct{ length, slack int }

// A sample is the jobs that are alike: their work, and sums of work times what they are; what is older counts less.
type sample struct{ work, life, slack, use float64 }

// An average is the mean of about the last so many values.
type average struct{ mean, n float64 }

func (a *average) add(v, most float64) {
	a.n = min(a.n+1, most)
	a.mean += (v - a.mean) / a.n
}

// memory is for how many days what came counts.
const memory = 7

func newArrivals(slot, now time.Duration) *arrivals {
	const day = 24 * time.Hour
	n := 1
	if day%slot == 0 && slot >= time.Minute {
		n = int(day / slot)
	}
	return &arrivals{slot: slot, begun: now, at: int64(now/slot) + 1, day: make([]average, n), kinds: map[likeness]*sample{}, seen: map[string]int64{}}
}

// perDay is how many slots a day has, about.
func (a *arrivals) perDay() float64 { return max(1, float64(24*time.Hour)/float64(a.slot)) }

// pass closes the slots before the present one.
func (a *arrivals) pass(at int64) {
	if at <= a.at {
		return
	}
	if float64(at-a.at) > 2*memory*a.perDay() { // nobody has asked for so long that nothing is known any more
		*a = *newArrivals(a.slot, time.Duration(at)*a.slot)
		return
	}
	forget := math.Exp(-float64(at-a.at) / (memory * a.perDay()))
	for k, s := range a.kinds {
		if s.work *= forget; s.work < 1e-9 {
			delete(a.kinds, k)
			continue
		}
		s.life, s.slack, s.use = s.life*forget, s.slack*forget, s.use*forget
	}
	for ; a.at < at; a.at++ {
		d := &a.day[int(a.at%int64(len(a.day)))]
		if d.n > 0 {
			a.noise.add((a.work-d.mean)*(a.work-d.mean)*d.n/(d.n+1), memory*a.perDay())
		}
		a.all.add(a.work, memory*a.perDay())
		d.add(a.work, memory)
		a.work = 0
	}
	maps.DeleteFunc(a.seen, func(_ string, asked int64) bool { return asked < at-int64(2*a.perDay()) })
}

// see counts a job that is asked about for the first time. Its slack is how long it may wait; below 0 it has no deadline and does not.
func (a *arrivals) see(j *Job, slack time.Duration) {
	_, old := a.seen[j.Name]
	a.seen[j.Name] = a.at
	if old || j.Submitted <= a.begun || j.Demand.Lifetime <= 0 || !(j.Requests.CPU > 0) {
		return
	}
	life := float64(j.Demand.Lifetime) / float64(a.slot)
	wait := float64(max(0, slack)) / float64(a.slot)
	work := j.Requests.CPU * life
	if int64(j.Submitted/a.slot) >= a.at {
		a.work += work
	}
	k := likeness{bits.Len(uint(min(life, 1e6))), bits.Len(uint(min(wait, 1e6)))}
	s := a.kinds[k]
	if s == nil {
		s = &sample{}
		a.kinds[k] = s
	}
	s.work += work
	s.life += work * life
	s.slack += work * wait
	s.use += work * j.Demand.CPU / j.Requests.CPU
}

// rate is the work that is expected in a slot. What is not known of the last day counts as none: the first hours tell little. A slot of the day differs from the mean of all by as much as is more than chance (James and Stein).
func (a *arrivals) rate(slot int64) float64 {
	mean := a.all.mean * min(1, a.all.n/a.perDay())
	if len(a.day) < 2 {
		return mean
	}
	between, n, days := 0.0, 0.0, 0.0
	for _, d := range a.day {
		if d.n > 0 {
			between += (d.mean - a.all.mean) * (d.mean - a.all.mean)
			days += d.n
			n++
		}
	}
	d := a.day[int(slot%int64(len(a.day)))]
	if a.all.n < 2*a.perDay() || a.noise.n == 0 || d.n == 0 || between == 0 {
		return mean
	}
	chance := a.noise.mean / (days / n)
	return max(0, mean+max(0, 1-chance/(between/n))*(d.mean-a.all.mean))
}

// leastKind is the share of all work below which jobs alike do not count.
const leastKind = 0.01

// expect states the work that is expected to come while those of a problem may run, as jobs of it.
func (b *overTime) expect(c *Cluster, p *spacetime.Problem) []spacetime.Job {
	n, until := len(p.Sites[0].Capacity), 0
	for i := range p.Jobs {
		until = max(until, p.Jobs[i].Latest+p.Jobs[i].Length)
	}
	until = min(until, n)
	energy := b.energies(c, &Job{Demand: scoring.Demand{CPU: 1}})
	a := b.coming
	kinds := slices.SortedFunc(maps.Keys(a.kinds), func(k, l likeness) int { return cmp.Or(cmp.Compare(k.length, l.length), cmp.Compare(k.slack, l.slack)) })
	total, kept := 0.0, 0.0
	for _, k := range kinds {
		total += a.kinds[k].work
	}
	kinds = slices.DeleteFunc(kinds, func(k likeness) bool { return a.kinds[k].work < leastKind*total })
	for _, k := range kinds {
		kept += a.kinds[k].work
	}
	var out []spacetime.Job
	for t := range until {
		work := a.rate(b.at + int64(t))
		if work <= 0 {
			continue
		}
		for _, k := range kinds {
			s := a.kinds[k]
			life := time.Duration(s.life / s.work * float64(a.slot))
			e := spacetime.Job{Name: "expected", Length: min(b.slots(life), n), Last: b.last(life), Earliest: t, Latest: t + int(s.slack/s.work)}
			e.Latest = max(t, min(e.Latest, n-1))
			e.Size = work * s.work / kept / (float64(e.Length-1) + e.Last)
			for _, v := range energy {
				e.Energy = append(e.Energy, v*s.use/s.work*e.Size)
			}
			out = append(out, e)
		}
	}
	return out
}
