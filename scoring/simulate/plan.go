package simulate

import (
	"time"
)

// plan asks the strategy about pending[from:to].
func (s *simulation) plan(from, to int) error {
	if from >= to {
		return nil
	}
	s.planJobs, s.planSlots = s.planJobs[:0], s.planSlots[:0]
	for _, k := range s.pending[from:to] {
		l := &s.jobs[k]
		s.planJobs = append(s.planJobs, l.batch)
		s.planSlots = append(s.planSlots, k)
	}
	began := time.Now()
	p, err := s.cfg.Strategy.Plan(s.ctx, time.Duration(s.now), s.planJobs, s.cluster)
	s.res.SolveTime += time.Since(began)
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
	keep := s.pending[:from]
	for _, k := range s.planSlots {
		if k >= 0 {
			keep = append(keep, k)
		}
	}
	s.pending = append(keep, s.pending[to:]...)
	return nil
}

// retry looks at the head of the queue again after room was made.
func (s *simulation) retry() error {
	if len(s.pending) == 0 {
		return nil
	}
	if s.cfg.Every > 0 {
		s.tick()
		return nil
	}
	return s.plan(0, min(len(s.pending), s.cfg.Window))
}

// tick arranges for the next batch decision.
func (s *simulation) tick() {
	if !s.planned {
		s.planned = true
		e := int64(s.cfg.Every)
		s.events.push((s.now/e+1)*e, evPlan, 0, 0)
	}
}
