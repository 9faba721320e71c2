package simulate

import (
	"time"

	"github.com/leastwatt/leastwatt/power"
)

func (s *simulation) handle(e event) error {
	switch e.kind() {
	case evEnd:
		l := &s.jobs[e.who]
		if l.gen != e.gen {
			return nil
		}
		if s.now-l.started < l.length {
			return s.suspend(e.who)
		}
		s.end(e.who)
		return s.retry()
	case evUse:
		if l := &s.jobs[e.who]; l.gen == e.gen {
			s.work(e.who)
		}
	case evReady:
		if v := &s.servers[e.who]; v.gen == e.gen && v.state == isBooting {
			s.settle(int(e.who))
			v.state = isOn
			s.boots(int(e.who), -1)
			s.setPower(int(e.who))
			if s.cluster.Jobs(int(e.who)) == 0 { // all that it was woken for has ended
				s.idle(int(e.who))
			}
		}
	case evOff:
		if v := &s.servers[e.who]; v.gen == e.gen && v.jobs == 0 {
			s.sleep(int(e.who))
		}
	case evRelease:
		return s.release(e)
	case evPlan:
		s.planned = false
		s.disorder = s.disorder || s.ranked
		s.order()
		n := len(s.pending)
		for from := 0; from < n; {
			size := min(s.cfg.Window, n-from)
			before := len(s.pending)
			if err := s.plan(from, from+size); err != nil {
				return err
			}
			gone := before - len(s.pending)
			from += size - gone
			n -= gone
			if gone == 0 { // a whole window found no room
				break
			}
		}
	case evFail:
		return s.fail(int(e.who))
	case evRepair:
		return s.repair(int(e.who))
	case evMoved:
		return s.arrived(e)
	case evSample:
		s.sample()
		s.events.push(s.now+int64(s.cfg.Sensors.Every), evSample, 0, 0)
	case evRebalance:
		s.events.push(s.now+int64(s.cfg.RebalanceEvery), evRebalance, 0, 0)
		return s.rebalance()
	}
	return nil
}

// end books a job that is done.
func (s *simulation) end(k int32) {
	l := &s.jobs[k]
	i := int(l.node)
	s.leave(k)
	ran := time.Duration(s.now - l.started)
	if s.cfg.Lifetimes == Learned {
		s.lifetimes.Observe(l.class, ran)
	}
	if s.cfg.Uses == Learned && l.job.Requests.CPU > 0 && ran > 0 {
		x := l.done / ran.Seconds() / l.job.Requests.CPU
		c := s.shares[l.class]
		if c == nil && len(s.shares) < 1<<12 {
			c = &share{}
			s.shares[l.class] = c
		}
		if c != nil {
			c.sum, c.n = c.sum+x, c.n+1
		}
		s.allShares.sum, s.allShares.n = s.allShares.sum+x, s.allShares.n+1
	}
	if s.now >= s.from {
		s.res.Finished++
		s.turn.add(time.Duration(s.now) - l.job.Arrival)
		if l.job.Deadline > 0 && time.Duration(s.now) > l.job.Deadline {
			s.res.Missed++
		}
	}
	s.res.Makespan = time.Duration(s.now)
	if s.cfg.OnJob != nil {
		s.record(Record{Job: &l.job, Node: s.servName(i), Start: time.Duration(l.first), End: time.Duration(s.now), Energy: power.Joules(l.bill.joules),
			Grams: l.bill.grams, Money: l.bill.money})
	}
	s.forget(k)
}

// idle begins a node's way to sleep.
func (s *simulation) idle(i int) {
	v := &s.servers[i]
	if !s.cfg.SwitchOff || v.state != isOn {
		return
	}
	v.gen++
	if s.cfg.IdleFor > 0 {
		s.events.push(s.now+int64(s.cfg.IdleFor), evOff, int32(i), v.gen)
		return
	}
	s.sleep(i)
}

// sleep suspends a node or switches it off.
func (s *simulation) sleep(i int) {
	v := &s.servers[i]
	s.settle(i)
	v.gen++
	switch {
	case v.state == isOn && s.node(i).Suspend != nil:
		v.state = isSuspended
		s.on--
		if s.cfg.OffAfter > 0 {
			s.events.push(s.now+int64(s.cfg.OffAfter), evOff, int32(i), v.gen)
		}
	case v.state == isOn:
		v.state = isOff
		s.on--
	default:
		v.state = isOff
	}
	s.cluster.SetOff(i, true)
	s.setPower(i)
}

func (s *simulation) servName(i int) string { return s.node(i).Name }
