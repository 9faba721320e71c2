package simulate

import (
	"math"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
)

// start runs a job on a node where the strategy has reserved room.
func (s *simulation) start(k, i int32) {
	l := &s.jobs[k]
	v := &s.servers[i]
	begin := s.rouse(i)
	l.length = int64(l.job.Duration)
	if l.job.Scales {
		l.length = int64(float64(l.length) / v.speed)
	}
	l.node, l.started = i, begin-l.ran
	left := max(0, l.length-l.ran)
	if l.slice > 0 && l.job.Suspend {
		left = min(left, l.slice)
	}
	l.ends = begin + left
	if l.ends < begin { // beyond the end of time
		l.ends = math.MaxInt64
	}
	s.events.push(l.ends, evEnd, k, l.gen)
	if !l.begun {
		l.begun, l.first = true, begin
		if s.now >= s.from {
			s.wait.add(time.Duration(begin) - l.job.Arrival)
		}
	}
	s.running++
	s.load.CPU += l.job.Requests.CPU
	s.load.Memory += l.job.Requests.Memory
	s.join(k, i)
	if begin > s.now { // it reserves now and works later
		s.events.push(begin, evUse, k, l.gen)
		s.stale = true
		return
	}
	s.work(k)
}

// rouse has a server ready for work and returns when it is.
func (s *simulation) rouse(i int32) int64 {
	v := &s.servers[i]
	begin := s.now
	switch v.state {
	case isOff, isSuspended:
		n := s.node(int(i))
		wake := n.Wake
		if v.state == isSuspended {
			wake = n.Suspend.Wake
		}
		s.settle(int(i))
		v.gen++
		s.on++
		if s.now >= s.from {
			s.res.SwitchOns++
		}
		s.cluster.SetOff(int(i), false)
		if wake > 0 {
			v.state, v.ready = isBooting, s.now+int64(wake)
			s.boots(int(i), 1)
			s.events.push(v.ready, evReady, i, v.gen)
			begin = v.ready
		} else {
			v.state = isOn
		}
		s.setPower(int(i))
	case isBooting:
		begin = v.ready
	default:
		v.gen++ // it is not idle any more
	}
	return begin
}

// join puts a job on a node's list and keeps the node's expected end.
func (s *simulation) join(k, i int32) {
	l, v := &s.jobs[k], &s.servers[i]
	l.prev, l.next = -1, v.first
	if v.first >= 0 {
		s.jobs[v.first].prev = k
	}
	v.first = k
	v.jobs++
	s.expectEnd(i, k)
}

// part takes it off again.
func (s *simulation) part(k int32) {
	l := &s.jobs[k]
	v := &s.servers[l.node]
	if l.prev >= 0 {
		s.jobs[l.prev].next = l.next
	} else {
		v.first = l.next
	}
	if l.next >= 0 {
		s.jobs[l.next].prev = l.prev
	}
	v.jobs--
	s.expectEnd(l.node, -1)
}

// crowd is how many jobs a node may have for all of them to be asked whenever one comes or goes. Of more, all are asked when a part of them, 1 over
// crowdPart, has come or gone: so many at one node would otherwise take time with the square of their number.
const (
	crowd     = 256
	crowdPart = 64
)

// expectEnd tells the cluster until when a node is expected to be needed, now that job k has come, or, with -1, one has gone.
func (s *simulation) expectEnd(i, k int32) {
	if s.cfg.Lifetimes == Hidden || !s.ends {
		return
	}
	v := &s.servers[i]
	if v.changed++; v.jobs > crowd && v.changed < v.jobs/crowdPart {
		if k >= 0 {
			v.until = max(v.until, s.now+int64(s.remaining(&s.jobs[k])))
			s.cluster.SetUntil(int(i), time.Duration(v.until))
		}
		return
	}
	v.changed = 0
	var most time.Duration
	for k := v.first; k >= 0; k = s.jobs[k].next {
		most = max(most, s.remaining(&s.jobs[k]))
	}
	v.until = s.now + int64(most)
	s.cluster.SetUntil(int(i), time.Duration(v.until))
}

// work brings a job's use up to date and arranges its next change.
func (s *simulation) work(k int32) {
	l := &s.jobs[k]
	v := &s.servers[l.node]
	share, next := l.job.use(time.Duration(s.now - l.started))
	cores := share * l.job.Requests.CPU
	if l.job.Scales {
		cores *= v.speed
	}
	s.setUse(k, cores)
	if next > 0 {
		if at := l.started + int64(next); at < l.ends {
			s.events.push(at, evUse, k, l.gen)
		}
	}
}

// setUse changes the work that a job does on its node from now on.
func (s *simulation) setUse(k int32, cores float64) {
	l := &s.jobs[k]
	i := int(l.node)
	v := &s.servers[i]
	s.settle(i)
	l.bill.add(l.use, &l.paid, &v.perWork)
	l.paid = v.perWork
	l.done += l.use * float64(s.now-l.useAt) / 1e9
	l.useAt = s.now
	s.load.Use += cores - l.use
	s.excess -= max(0, v.use-v.work)
	v.use += cores - l.use
	l.use = cores
	if v.jobs == 0 || v.use < 0 {
		v.use = 0
	}
	s.excess += max(0, v.use-v.work)
	if s.running == 0 {
		s.load, s.excess = batch.Load{}, 0
	}
	s.stale = true
	s.setPower(i)
}

// leave takes a job from its node: its end, a move or a failure.
func (s *simulation) leave(k int32) {
	l := &s.jobs[k]
	i := int(l.node)
	s.running--
	s.load.CPU -= l.job.Requests.CPU
	s.load.Memory -= l.job.Requests.Memory
	s.part(k)
	s.setUse(k, 0)
	s.one.Requests, s.one.Demand = l.job.Requests, l.demand
	s.cluster.Release(i, &s.one)
	if s.servers[i].jobs == 0 {
		s.idle(i)
	}
}
