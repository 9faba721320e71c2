package simulate

import (
	"cmp"
	"slices"
	"time"
)

// plan asks the strategy about pending[from:to].
func (s *simulation) plan(from, to int) error {
	s.planSlots = append(s.planSlots[:0], s.pending[from:to]...)
	s.planAt = s.planAt[:0]
	for n := range s.planSlots {
		s.planAt = append(s.planAt, int32(n))
	}
	if err := s.ask(); err != nil {
		return err
	}
	s.keep(from, to)
	return nil
}

// again asks the strategy once more about pending[from:to], but for jobs that fit nowhere where it keeps nothing of them, and returns how many have gone.
func (s *simulation) again(from, to int) (int, error) {
	n := len(s.pending)
	if !s.forgets {
		err := s.plan(from, to)
		return n - len(s.pending), err
	}
	s.planSlots = append(s.planSlots[:0], s.pending[from:to]...)
	s.planAt = s.planAt[:0]
	s.misfits = s.misfits[:0]
	for n, k := range s.planSlots {
		if s.fits(&s.jobs[k].job) {
			s.planAt = append(s.planAt, int32(n))
		}
	}
	if len(s.planAt) == 0 {
		return 0, nil
	}
	err := s.ask()
	s.keep(from, to)
	return n - len(s.pending), err
}

// fits tells whether a job fits on some node, where misfits has some that do not.
func (s *simulation) fits(j *Job) bool {
	simple := j.Node == "" && len(j.Requests.Other) == 0
	if r := &j.Requests; simple {
		for _, m := range s.misfits {
			if r.CPU >= m.CPU && r.Memory >= m.Memory && r.GPU >= m.GPU {
				return false
			}
		}
	}
	s.one.Requests, s.one.Node = j.Requests, j.Node
	fits := s.cluster.FirstFit(&s.one, 0) >= 0
	s.one.Node = ""
	if !fits && simple && len(s.misfits) < cap(s.misfits) {
		s.misfits = append(s.misfits, j.Requests)
	}
	return fits
}

// ask asks the strategy about those of planSlots that planAt lists, and takes those out that are not in the queue any more.
func (s *simulation) ask() error {
	if len(s.planAt) == 0 {
		return nil
	}
	s.planJobs = slices.Grow(s.planJobs[:0], len(s.planAt))[:len(s.planAt)]
	for n, at := range s.planAt {
		s.jobs[s.planSlots[at]].tell(&s.planJobs[n])
	}
	began := time.Since(s.clock)
	p, err := s.cfg.Strategy.Plan(s.ctx, time.Duration(s.now), s.planJobs, s.cluster)
	s.res.SolveTime += time.Since(s.clock) - began
	s.res.Decisions++
	if err != nil {
		return err
	}
	for _, a := range p.Assigned {
		at := s.planAt[a.Job]
		k := s.planSlots[at]
		s.jobs[k].slice = int64(a.For)
		s.start(k, int32(a.Node))
		s.planSlots[at] = -1
	}
	for _, w := range p.Waiting {
		at := s.planAt[w.Job]
		k := s.planSlots[at]
		if w.Reason.Never {
			l := &s.jobs[k]
			if s.now >= s.from {
				s.res.Unplaced++
			}
			s.record(Record{Job: &l.job, Unplaced: w.Reason.String()})
			s.forget(k)
			s.planSlots[at] = -1
		} else if int64(w.Reason.Until) > s.now {
			s.events.push(int64(w.Reason.Until), evRelease, k, s.jobs[k].gen)
			s.heldN++
			s.planSlots[at] = -1
		}
	}
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
		if gone, err := s.again(0, size); err != nil || gone < size {
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
