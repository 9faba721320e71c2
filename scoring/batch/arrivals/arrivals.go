// Package arrivals learns how much work comes, by the time of day, and what jobs it consists of. Who plans as if nothing more came waits for clean
// hours that will be full by then.
//
// Its main type is [Learner]; what it expects goes into [spacetime.Problem] as Expected. It needs no clock: it is told the time.
package arrivals

import (
	"cmp"
	"maps"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// A Job is work that has come.
type Job struct {
	// Name tells a job that is seen again from another one; it is remembered until [Learner.Forget], or until nobody has asked about it for two
	// days. One without a name is always another.
	Name string

	Submitted time.Duration
	Cores     float64       // that it keeps from others; 0 is not counted
	Duration  time.Duration // 0 or less is unknown, and not counted
	Slack     time.Duration // how long it may wait; below 0 it does not

	// Load is what each of its cores draws in the unit of energy that Expect is asked with: its use, or kilowatts.
	Load float64
}

// A Learner learns work in core-slots. Times are since any moment at which a day begins. It is not safe for concurrent use.
type Learner struct {
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
type sample struct{ work, life, slack, load float64 }

// An average is the mean of about the last so many values.
type average struct{ mean, n float64 }

func (a *average) add(v, most float64) {
	a.n = min(a.n+1, most)
	a.mean += (v - a.mean) / a.n
}

// Memory is for how many days what came counts.
const Memory = 7

// New returns a learner that knows nothing yet. A day is told apart in slots where these divide it, and have a minute or more.
func New(slot, now time.Duration) *Learner {
	n := 1
	if day%slot == 0 && slot >= time.Minute {
		n = int(day / slot)
	}
	return &Learner{slot: slot, begun: now, at: int64(now/slot) + 1, day: make([]average, n), kinds: map[likeness]*sample{}, seen: map[string]int64{}}
}

const day = 24 * time.Hour

// perDay is how many slots a day has, about.
func (l *Learner) perDay() float64 { return max(1, float64(day)/float64(l.slot)) }

// Pass closes the slots before the one of now, and tells whether there was one to close. A clock that goes back closes none; if by more than a day, what was
// learned ahead of it is forgotten.
func (l *Learner) Pass(now time.Duration) bool {
	at := int64(now / l.slot)
	if at <= l.at && float64(l.at-at) <= l.perDay()+1 {
		return false
	}
	if at < l.at || float64(at-l.at) > 2*Memory*l.perDay() { // nobody has asked for so long that nothing is known any more
		*l = *New(l.slot, time.Duration(at)*l.slot)
		return true
	}
	forget := math.Exp(-float64(at-l.at) / (Memory * l.perDay()))
	for k, s := range l.kinds {
		if s.work *= forget; s.work < 1e-9 {
			delete(l.kinds, k)
			continue
		}
		s.life, s.slack, s.load = s.life*forget, s.slack*forget, s.load*forget
	}
	for ; l.at < at; l.at++ {
		d := &l.day[int(l.at%int64(len(l.day)))]
		if d.n > 0 {
			l.noise.add((l.work-d.mean)*(l.work-d.mean)*d.n/(d.n+1), Memory*l.perDay())
		}
		l.all.add(l.work, Memory*l.perDay())
		d.add(l.work, Memory)
		l.work = 0
	}
	maps.DeleteFunc(l.seen, func(_ string, asked int64) bool { return asked < at-int64(2*l.perDay()) })
	return true
}

// See counts a job that is seen for the first time.
func (l *Learner) See(j Job) {
	if j.Name != "" {
		_, old := l.seen[j.Name]
		if l.seen[j.Name] = l.at; old {
			return
		}
	}
	if j.Submitted <= l.begun || j.Duration <= 0 || !(j.Cores > 0) {
		return
	}
	life := float64(j.Duration) / float64(l.slot)
	wait := float64(max(0, j.Slack)) / float64(l.slot)
	work := j.Cores * life
	if int64(j.Submitted/l.slot) >= l.at {
		l.work += work
	}
	k := likeness{bits.Len(uint(min(life, 1e6))), bits.Len(uint(min(wait, 1e6)))}
	s := l.kinds[k]
	if s == nil {
		s = &sample{}
		l.kinds[k] = s
	}
	s.work += work
	s.life += work * life
	s.slack += work * wait
	s.load += work * j.Load
}

// Forget drops the name of a job that will not be seen again.
func (l *Learner) Forget(name string) { delete(l.seen, name) }

// Any tells whether anything is expected at any time.
func (l *Learner) Any() bool { return l.all.mean > 0 }

// rate is the work that is expected in a slot. What is not known of the last day counts as none: the first hours tell little. A slot of the day
// differs from the mean of all by as much as is more than chance (James and Stein).
func (l *Learner) rate(slot int64) float64 {
	mean := l.all.mean * min(1, l.all.n/l.perDay())
	if len(l.day) < 2 {
		return mean
	}
	between, n, days := 0.0, 0.0, 0.0
	for _, d := range l.day {
		if d.n > 0 {
			between += (d.mean - l.all.mean) * (d.mean - l.all.mean)
			days += d.n
			n++
		}
	}
	d := l.day[int(slot%int64(len(l.day)))]
	if l.all.n < 2*l.perDay() || l.noise.n == 0 || d.n == 0 || between == 0 {
		return mean
	}
	chance := l.noise.mean / (days / n)
	return max(0, mean+max(0, 1-chance/(between/n))*(d.mean-l.all.mean))
}

// leastKind is the share of all work below which jobs alike do not count.
const leastKind = 0.01

// A Plan says what a problem's slots are: they begin From, and each is Slot long; Until is how many of them work is expected in, and Slots how many
// there are. Energy is what a core of load 1 takes in a slot at each site, in the unit of [spacetime.Job]. Where Every is above 1,
// what comes in so many slots and may wait about as long is taken together, as if it came in their middle and were of one length: fewer jobs, less exact.
type Plan struct {
	From, Slot   time.Duration
	Until, Slots int
	Every        int
	Energy       []float64
}

// Expect states the work that is expected to come in the slots of a plan, as jobs of its problem.
func (l *Learner) Expect(p Plan) []spacetime.Job {
	every, until := max(1, p.Every), min(p.Until, p.Slots)
	kinds, kept := l.common(every > 1)
	ratio := float64(l.slot) / float64(p.Slot)
	var out []spacetime.Job
	for first := 0; first < until; first += every {
		n := min(every, until-first)
		work := l.between(p.From+time.Duration(first)*p.Slot, time.Duration(n)*p.Slot) * ratio
		if work <= 0 {
			continue
		}
		t := first + n/2
		for _, s := range kinds {
			e := spacetime.Job{Name: "expected", Earliest: t, Latest: t + int(s.slack/s.work*ratio)}
			e.Length, e.Last = Length(time.Duration(s.life/s.work*float64(l.slot)), p.Slot)
			if e.Length > p.Slots {
				e.Length = p.Slots
			}
			e.Latest = max(t, min(e.Latest, p.Slots-1))
			e.Size = work * s.work / kept / (float64(e.Length-1) + e.Last)
			for _, v := range p.Energy {
				e.Energy = append(e.Energy, v*s.load/s.work*e.Size)
			}
			out = append(out, e)
		}
	}
	return out
}

// common returns the jobs alike that count, and their work; with those that may wait about as long taken together, if asked for.
func (l *Learner) common(together bool) (list []sample, work float64) {
	kinds := slices.SortedFunc(maps.Keys(l.kinds), func(k, o likeness) int { return cmp.Or(cmp.Compare(k.length, o.length), cmp.Compare(k.slack, o.slack)) })
	if together {
		slices.SortStableFunc(kinds, func(k, o likeness) int { return cmp.Compare(k.slack, o.slack) })
	}
	total := 0.0
	for i, k := range kinds {
		s := *l.kinds[k]
		total += s.work
		if n := len(list) - 1; together && n >= 0 && kinds[i-1].slack == k.slack {
			o := list[n]
			s = sample{s.work + o.work, s.life + o.life, s.slack + o.slack, s.load + o.load}
			list = list[:n]
		}
		list = append(list, s)
	}
	list = slices.DeleteFunc(list, func(s sample) bool { return s.work < leastKind*total })
	for _, s := range list {
		work += s.work
	}
	return list, work
}

// between is the work that is expected in a time.
func (l *Learner) between(from, d time.Duration) float64 {
	sum := 0.0
	for until := from + d; from < until; {
		slot := int64(from / l.slot)
		end := min(time.Duration(slot+1)*l.slot, until)
		sum += l.rate(slot) * (float64(end-from) / float64(l.slot))
		from = end
	}
	return sum
}

// Length is how many slots a job takes, at least one, and the share of the last.
func Length(d, slot time.Duration) (n int, last float64) {
	if d <= 0 {
		return 1, 1
	}
	n = max(1, int(math.Ceil(float64(d)/float64(slot))))
	return n, float64(d)/float64(slot) - float64(n-1)
}
