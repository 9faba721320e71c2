package simulate

import (
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
)

// arrive puts a job into the queue.
func (s *simulation) arrive(j *Job) {
	k := s.free
	if k >= 0 {
		s.free = s.jobs[k].next
	} else {
		if n := len(s.jobs); n == cap(s.jobs) {
			s.jobs = slices.Grow(s.jobs, max(n, 16)) // a move costs much
		}
		s.jobs = append(s.jobs, live{})
		k = int32(len(s.jobs) - 1)
	}
	l := &s.jobs[k]
	l.gen++
	l.node, l.prev, l.next = -1, -1, -1
	l.use, l.done, l.useAt, l.bill, l.paid = 0, 0, 0, bill{}, bill{}
	l.ran, l.slice, l.begun = 0, 0, false
	l.class, l.job = j.Class, *j
	if l.class == "" && (s.cfg.Lifetimes == Learned || s.cfg.Uses == Learned) {
		key := [2]float64{j.Requests.CPU, j.Requests.GPU}
		c, ok := s.classes[key]
		if !ok {
			c = sizeClass(&j.Requests)
			if len(s.classes) < 1<<16 {
				s.classes[key] = c
			}
		}
		l.class = c
	}
	s.expect(l)
	s.liveN++
	s.res.PeakLive = max(s.res.PeakLive, s.liveN)
	if s.now >= s.from {
		s.res.Arrived++
	}
	s.enqueue(k)
}

// enqueue puts a job at the end of the queue.
func (s *simulation) enqueue(k int32) {
	if n := len(s.pending); n > 0 && s.jobs[k].job.Priority != s.jobs[s.pending[n-1]].job.Priority {
		s.ranked = true
	}
	s.pending = append(s.pending, k)
}

// expect fills in what the strategy may know of a job when it arrives.
func (s *simulation) expect(l *live) {
	share := 1.0
	switch s.cfg.Uses {
	case Told:
		share = l.job.MeanUse()
	case Learned:
		if a := &s.allShares; a.n > 0 {
			// A class counts for itself from a few jobs on.
			sum, n := 4*a.sum/a.n, 4.0
			if c := s.shares[l.class]; c != nil {
				sum, n = sum+c.sum, n+c.n
			}
			share = sum / n
		}
	}
	l.demand = scoring.Demand{CPU: l.job.Requests.CPU * share}
	switch s.cfg.Lifetimes {
	case Told:
		l.demand.Lifetime = l.job.Duration
	case Learned:
		l.demand.Lifetime = s.lifetimes.Remaining(l.class, 0)
	}
}

// remaining is how much longer the strategy may expect a running job to run; 0 is unknown.
func (s *simulation) remaining(l *live) time.Duration {
	switch s.cfg.Lifetimes {
	case Told:
		return time.Duration(max(0, l.started+l.length-s.now))
	case Learned:
		return s.lifetimes.Remaining(l.class, time.Duration(max(0, s.now-l.started)))
	}
	return 0
}

func (s *simulation) record(r Record) {
	if s.cfg.OnJob != nil {
		s.cfg.OnJob(r)
	}
}

// forget frees a job's place, which the next one overwrites.
func (s *simulation) forget(k int32) {
	l := &s.jobs[k]
	l.gen++
	l.node = -1
	l.next = s.free
	s.free = k
	s.liveN--
}
