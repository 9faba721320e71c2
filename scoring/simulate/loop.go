package simulate

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrOrder says that a workload's clock went backwards.
var ErrOrder = errors.New("jobs are not in the order of their arrival")

// loop takes arrivals and events in the order of time. All that arrives at one instant is decided together.
func (s *simulation) loop(w Workload) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	last, fresh := time.Duration(0), -1 // fresh is where the jobs of this instant begin in pending, -1 without any
	for job, err := range w {
		if err == nil {
			err = job.Validate()
		}
		if err == nil && job.Arrival < last {
			err = fmt.Errorf("%w: job %q arrives at %v, after one at %v", ErrOrder, job.Name, job.Arrival, last)
		}
		if fresh >= 0 && (err != nil || job.Arrival > last) {
			if err := s.decide(fresh); err != nil {
				return err
			}
			fresh = -1
		}
		if err != nil {
			return err
		}
		if fresh < 0 {
			if over, err := s.until(int64(job.Arrival)); over || err != nil {
				return err
			}
			s.advance(int64(job.Arrival))
			fresh = len(s.pending)
		}
		last = job.Arrival
		if err := s.count(); err != nil {
			return err
		}
		s.arrive(&job)
	}
	if fresh >= 0 {
		if err := s.decide(fresh); err != nil {
			return err
		}
	}
	if over, err := s.until(math.MaxInt64); over || err != nil {
		return err
	}
	if s.to != math.MaxInt64 {
		s.advance(s.to)
	}
	return nil
}

// decide asks the strategy about the jobs that have just arrived.
func (s *simulation) decide(fresh int) error {
	if s.cfg.Every > 0 {
		s.tick()
		return nil
	}
	return s.plan(fresh, len(s.pending))
}

// until handles what happens up to a time, that of the next arrival, or MaxInt64 where none is left: then the clockwork of samples alone does
// not go on. It tells whether the end of the simulation has come before.
func (s *simulation) until(at int64) (over bool, err error) {
	more := at < math.MaxInt64
	for len(s.events.events) > 0 && s.events.events[0].at <= at && (more || s.busy() || s.to != math.MaxInt64) {
		e := s.events.pop()
		if e.at >= s.to {
			s.advance(s.to)
			return true, nil
		}
		s.advance(e.at)
		if err := s.count(); err != nil {
			return true, err
		}
		if err := s.handle(e); err != nil {
			return true, err
		}
	}
	if more && at >= s.to {
		s.advance(s.to)
		return true, nil
	}
	return false, nil
}

// count counts an event and looks now and then whether the run shall end.
func (s *simulation) count() error {
	s.res.Events++
	if s.res.Events&0xfff == 0 {
		return s.ctx.Err()
	}
	return nil
}

// busy tells whether jobs are left and anything is to come that may concern them; otherwise only the clockwork of samples and moves is, which would go
// on for ever beside a job that waits for a node that is down.
func (s *simulation) busy() bool { return s.liveN > 0 && len(s.events.events) > s.clocks }
