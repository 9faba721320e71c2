package simulate

import (
	"math"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// arrive puts a job into the queue.
func (s *simulation) arrive(j Job) {
	k := s.free
	if k >= 0 {
		s.free = s.jobs[k].next
	} else {
		s.jobs = append(s.jobs, live{})
		k = int32(len(s.jobs) - 1)
	}
	l := &s.jobs[k]
	gen := l.gen + 1
	*l = live{job: j, node: -1, gen: gen, prev: -1, next: -1, class: j.Class}
	if l.class == "" {
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
	l.batch = batch.Job{Name: j.Name, Requests: j.Requests, Priority: j.Priority, Submitted: j.Arrival, Deadline: j.Deadline,
		Pinned: j.Pinned, Suspend: j.Suspend, Node: j.Node}
	s.expect(l)
	s.liveN++
	s.res.PeakLive = max(s.res.PeakLive, s.liveN)
	if s.now >= s.from {
		s.res.Arrived++
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
	l.batch.Demand = scoring.Demand{CPU: l.job.Requests.CPU * share}
	switch s.cfg.Lifetimes {
	case Told:
		l.batch.Demand.Lifetime = l.job.Duration
	case Learned:
		l.batch.Demand.Lifetime = s.lifetimes.Remaining(l.class, 0)
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

func (s *simulation) record(r Record) {
	if s.cfg.OnJob != nil {
		s.cfg.OnJob(r)
	}
}

// forget frees a job's place.
func (s *simulation) forget(k int32) {
	l := &s.jobs[k]
	l.gen++
	l.job = Job{}
	l.node = -1
	l.next = s.free
	s.free = k
	s.liveN--
}

// start runs a job on a node where the strategy has reserved room.
func (s *simulation) start(k, i int32) {
	l := &s.jobs[k]
	v := &s.servers[i]
	n := s.node(int(i))
	begin := s.now
	switch v.state {
	case isOff, isSuspended:
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

// join puts a job on a node's list and keeps the node's expected end.
func (s *simulation) join(k, i int32) {
	l, v := &s.jobs[k], &s.servers[i]
	l.prev, l.next = -1, v.first
	if v.first >= 0 {
		s.jobs[v.first].prev = k
	}
	v.first = k
	v.jobs++
	s.expectEnd(i)
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
	s.expectEnd(l.node)
}

// expectEnd tells the cluster until when a node is expected to be needed.
func (s *simulation) expectEnd(i int32) {
	if s.cfg.Lifetimes == Hidden {
		return
	}
	var most time.Duration
	for k := s.servers[i].first; k >= 0; k = s.jobs[k].next {
		most = max(most, s.remaining(&s.jobs[k]))
	}
	s.cluster.SetUntil(int(i), time.Duration(s.now)+most)
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
	l.joules += l.use * (v.perWork - l.paid)
	l.paid = v.perWork
	l.done += l.use * float64(s.now-l.useAt) / 1e9
	l.useAt = s.now
	s.load.Use += cores - l.use
	v.use += cores - l.use
	l.use = cores
	if v.jobs == 0 || v.use < 0 {
		v.use = 0
	}
	if s.running == 0 {
		s.load = batch.Load{}
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
	s.cluster.Release(i, &l.batch)
	if s.servers[i].jobs == 0 {
		s.idle(i)
	}
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

func (s *simulation) handle(e event) error {
	switch e.kind {
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
			s.setPower(int(e.who))
		}
	case evOff:
		if v := &s.servers[e.who]; v.gen == e.gen && v.jobs == 0 {
			s.sleep(int(e.who))
		}
	case evRelease:
		return s.release(e)
	case evPlan:
		s.planned = false
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
		s.record(Record{Job: &l.job, Node: s.servName(i), Start: time.Duration(l.first), End: time.Duration(s.now), Energy: power.Joules(l.joules)})
	}
	s.forget(k)
}

func (s *simulation) servName(i int) string { return s.node(i).Name }
