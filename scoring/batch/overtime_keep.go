package batch

import (
	"math"
	"slices"
	"time"
)

// A keep is room on a server that others leave to a job from a time on, because it must start then.
type keep struct {
	name  string
	at    time.Duration
	due   time.Duration // the latest start: who is due first comes first
	cpu   float64
	asked int64 // the slot in which the job was asked about last
}

const (
	// keepAhead is how many slots before its latest start a job has room kept for it.
	keepAhead = 12
	// keepFrom is from which part of the largest server on: smaller jobs find room soon.
	keepFrom = 1. / 8
	// keepEarly is how many slots before its latest start a job has its room, and is planned at the latest.
	keepEarly = 1
)

// keep picks the server where a job that must start soon is expected to find room by then: the one that has the least to
// spare, else the one that has room first.
func (b *overTime) keep(c *Cluster, j *Job, now time.Duration) {
	b.unkeep(j.Name)
	due := b.due(j)
	if j.Deadline <= 0 || due >= now+keepAhead*b.grid.Slot() || due > now && j.Requests.CPU < keepFrom*c.largest.CPU {
		return // it may wait
	}
	from := max(due-b.early(c, j), now)
	best, at, spare := -1, time.Duration(0), 0.0
	for i := range c.nodes {
		n := &c.nodes[i]
		if n.Down || j.Node != "" && j.Node != n.Name || !j.Requests.Fits(&n.Allocatable) {
			continue
		}
		t := from
		v := b.spare(c, i, j, now, due, t)
		for k := 0; k < len(b.servers[i].Runs) && v < 0; k++ {
			if t = max(from, b.servers[i].Runs[k].End); t > from {
				v = b.spare(c, i, j, now, due, t)
			}
		}
		if v < 0 { // what runs there is not known, or others have it
			t = max(from, c.until[i])
		}
		if best < 0 || t < at || t == at && v < spare {
			best, at, spare = i, t, v
		}
	}
	if best >= 0 {
		b.keeps[best] = append(b.keeps[best], keep{j.Name, at, due, j.Requests.CPU, b.at})
		b.keptAt[j.Name] = best
	}
}

// due is the latest start of a job, which may have passed; a lifetime that nobody knows counts as none, and jobs without a
// deadline come last.
func (b *overTime) due(j *Job) time.Duration {
	if j.Deadline <= 0 {
		return math.MaxInt64
	}
	return j.Deadline - time.Duration(b.opts.Margin*float64(j.Demand.Lifetime))
}

// spare is how many cores a server is expected to have beyond what a job takes that starts there at a time, and what is
// kept for those that are due before it; below 0 the job has no room. Where nothing runs at all, who has not taken the room
// that was kept does not keep others from it, for no end would have them asked again.
func (b *overTime) spare(c *Cluster, i int, j *Job, now, due, start time.Duration) float64 {
	free := func(t time.Duration) float64 {
		v := c.fitCPU[i] - j.Requests.CPU
		for _, r := range b.servers[i].Runs {
			if r.End <= t {
				v += r.CPU
			}
		}
		for _, k := range b.keeps[i] {
			if k.at <= t && k.before(j, due) && (k.at > now || !b.idle) {
				v -= k.cpu
			}
		}
		return v
	}
	v := free(start)
	for _, k := range b.keeps[i] {
		if k.before(j, due) && k.at > start && (j.Demand.Lifetime <= 0 || start+j.Demand.Lifetime > k.at) {
			v = min(v, free(k.at))
		}
	}
	return v
}

// before tells whether what is kept comes before another job that is due at a time.
func (k *keep) before(j *Job, due time.Duration) bool {
	return k.name != j.Name && (k.due < due || k.due == due && k.name < j.Name)
}

func (b *overTime) unkeep(name string) {
	if i, ok := b.keptAt[name]; ok {
		delete(b.keptAt, name)
		b.keeps[i] = slices.DeleteFunc(b.keeps[i], func(k keep) bool { return k.name == name })
	}
}

// ended drops the jobs that have ended, as far as is known, and in a new slot what is kept for jobs that nobody asks about any more.
func (b *overTime) ended(now time.Duration) {
	for i := range b.servers {
		b.servers[i].Ended(now)
	}
	if b.swept == b.at {
		return
	}
	b.table.Sweep(now - b.grid.Slot())
	for name, i := range b.keptAt {
		if slices.ContainsFunc(b.keeps[i], func(k keep) bool { return k.name == name && k.asked < b.at-1 }) {
			b.unkeep(name)
		}
	}
}

// early is for how much earlier than its latest start a job is planned: where room is scarce it may have to wait for it, a large one for longer.
func (b *overTime) early(c *Cluster, j *Job) time.Duration {
	switch {
	case b.whole || b.prices == nil:
		return 0
	case j.Requests.CPU < keepFrom*c.largest.CPU:
		return b.grid.Slot() / 2
	}
	return keepEarly * b.grid.Slot()
}
