package batch

import (
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/timetable"
)

// enter brings the timetable up to date with the jobs that are asked about.
func (b *overTime) enter(jobs []Job, c *Cluster, now time.Duration) {
	for i := range b.servers {
		b.servers[i].CPU, b.servers[i].Memory = c.fitCPU[i], c.freeMem[i]
		if c.switchOff {
			b.servers[i].Wake = c.nodes[i].Wake
		}
	}
	b.table.Begin(now, b.at, b.servers)
	list := make([]timetable.Job, 0, len(jobs))
	for k := range jobs {
		j := &jobs[k]
		if j.Deadline <= 0 || j.Demand.Lifetime <= 0 || j.Requests.CPU <= 0 || j.Validate() != nil || !c.CanEver(j) {
			b.table.Drop(j.Name)
			continue
		}
		list = append(list, b.timed(j, c, now))
	}
	b.table.Enter(list)
}

// timed is what the timetable sees of a job.
func (b *overTime) timed(j *Job, c *Cluster, now time.Duration) timetable.Job {
	own := *j // the caller's may be another job by then
	return timetable.Job{Name: j.Name, CPU: j.Requests.CPU, Memory: j.Requests.Memory, Life: j.Demand.Lifetime, First: now, Due: b.due(j), Last: j.Deadline - j.Demand.Lifetime,
		May: func(i int) bool {
			n := &c.nodes[i]
			return !n.Down && (own.Node == "" || own.Node == n.Name) && own.Requests.Fits(&n.Allocatable)
		}}
}

// sure tells whether a job may start on a server now and leaves all of the timetable a place.
func (b *overTime) sure(j *Job, c *Cluster, now time.Duration, node int) bool {
	x := b.timed(j, c, now)
	return b.table.Start(&x, node)
}

// turn is the server of a job whose time in the timetable has come and which has room for it; else -1.
func (b *overTime) turn(j *Job, c *Cluster, now time.Duration) int {
	if p, ok := b.table.Place(j.Name); ok && p.Start <= now && c.Fits(p.Server, j) {
		return p.Server
	}
	return -1
}

// rest keeps a place for what is left of a job that was started for a stretch.
func (b *overTime) rest(j *Job, c *Cluster, now, stretch time.Duration) {
	x := b.timed(j, c, now)
	x.First, x.Life, x.Last = now+stretch, x.Life-stretch, x.Last+stretch
	if x.Life > 0 {
		b.table.Keep(x)
	}
}
