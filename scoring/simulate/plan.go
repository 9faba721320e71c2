package simulate

import (
	"cmp"
	"slices"
	"time"
)

// plan asks the strategy about pending[from:to].
func (s *simulation) plan(from, to int) error {
	if from >= to {
		return nil
	}
	s.planJobs, s.planSlots = slices.Grow(s.planJobs[:0], to-from)[:to-from], s.planSlots[:0]
	for n, k := range s.pending[from:to] {
		s.jobs[k].tell(&s.planJobs[n])
		s.planSlots = append(s.planSlots, k)
	}
	began := time.Since(s.clock)
	p, err := s.cfg.Strategy.Plan(s.ctx, time.Duration(s.now), s.planJobs, s.cluster)
	s.res.SolveTime += time.Since(s.clock) - began
	s.res.Decisions++
	if err != nil {
		return err
	}
	for _, a := range p.Assigned {
		s.jobs[s.planSlots[a.Job]].slice = int64(a.For)
		s.start(s.planSlots[a.Job], int32(a.Node))
		s.planSlots[a.Job] = -1
	}
	for _, w := range p.Waiting {
		if w.Reason.Never {
			k := s.planSlots[w.Job]
			l := &s.jobs[k]
			if s.now >= s.from {
				s.res.Unplaced++
			}
			s.record(Record{Job: &l.job, Unplaced: w.Reason.String()})
			s.forget(k)
			s.planSlots[w.Job] = -1
		} else if int64(w.Reason.Until) > s.now {
			k := s.planSlots[w.Job]
			s.events.push(int64(w.Reason.Until), evRelease, k, s.jobs[k].gen)
			s.heldN++
			s.planSlots[w.Job] = -1
		}
	}
	s.keep(from, to)
	return nil
}

// keep leaves of pending[from:to] the jobs that planSlots still has. The shorter side makes room, so that a long queue costs nothing.
func (s *simulation) keep(from, to int) {
	left := s.planSlots[:0]
	for _, k := range s.planSlots {
		if k >= 0 {
			left = append(left, k)
		}
	}
	q, gone := s.pending, to-from-len(left)
	if from < len(q)-to {
		copy(q[from+gone:to], left)
		copy(q[gone:], q[:from])
		q = q[gone:]
	} else {
		copy(q[from:], left)
		q = append(q[:from+len(left)], q[to:]...)
	}
	s.pending = q
	for k := max(from, 1); k < min(from+len(left)+1, len(q)); k++ {
		if s.jobs[q[k]].job.Priority > s.jobs[q[k-1]].job.Priority {
			s.disorder = true
		}
	}
}

// order brings those of higher priority to the head of the queue; one that waits behind many is seen in the next decision.
func (s *simulation) order() {
	if s.disorder {
		s.disorder = false
		slices.SortStableFunc(s.pending, func(a, b int32) int { return cmp.Compare(s.jobs[b].job.Priority, s.jobs[a].job.Priority) })
	}
}

// retry looks at the head of the queue again after room was made, and at what follows while all that it looked at has found room.
func (s *simulation) retry() error {
	if len(s.pending) == 0 {
		return nil
	}
	if s.cfg.Every > 0 {
		s.tick()
		return nil
	}
	s.order()
	for {
		n := len(s.pending)
		size := min(n, s.cfg.Window)
		if err := s.plan(0, size); err != nil || len(s.pending) > n-size {
			return err
		}
		if size == n {
			return nil
		}
	}
}

// tick arranges for the next batch decision.
func (s *simulation) tick() {
	if !s.planned {
		s.planned = true
		e := int64(s.cfg.Every)
		s.events.push((s.now/e+1)*e, evPlan, 0, 0)
	}
}
