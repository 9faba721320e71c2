package simulate

import (
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// nextOutage arranges a node's next failure.
func (s *simulation) nextOutage(i int) {
	v, n := &s.servers[i], s.node(i)
	if v.outage < len(n.Failures) {
		s.events.push(int64(n.Failures[v.outage].At), evFail, int32(i), 0)
	}
}

// fail stops a node. Its jobs lose what they have done and go back to the queue.
func (s *simulation) fail(i int) error {
	v, n := &s.servers[i], s.node(i)
	o := n.Failures[v.outage]
	v.outage++
	if at := s.now + int64(o.For); at >= s.now { // otherwise beyond the end of time
		s.events.push(at, evRepair, int32(i), 0)
	}
	s.settle(i)
	v.gen++
	if v.state == isOn || v.state == isBooting {
		s.on--
	}
	if v.state == isBooting {
		s.boots(i, -1)
	}
	v.state = isDown
	s.down++
	s.absent += s.resting(i)
	s.stale = true
	s.cluster.SetDown(i, true)
	for v.first >= 0 {
		k := v.first
		s.leave(k)
		l := &s.jobs[k]
		l.gen++
		l.node, l.prev, l.next = -1, -1, -1
		l.done, l.use, l.ran = 0, 0, 0
		s.res.Restarted++
		s.enqueue(k)
	}
	s.disorder = s.disorder || s.ranked
	s.setPower(i)
	return s.retry()
}

func (s *simulation) repair(i int) error {
	v := &s.servers[i]
	s.settle(i)
	v.state = isOn
	if s.cfg.SwitchOff {
		v.state = isOff
	} else {
		s.on++
	}
	s.cluster.SetOff(i, s.cfg.SwitchOff)
	s.absent -= s.resting(i)
	if s.down--; s.down == 0 {
		s.absent = 0 // forget what rounding has left
	}
	s.stale = true
	s.cluster.SetDown(i, s.node(i).Down)
	s.setPower(i)
	s.nextOutage(i)
	return s.retry()
}

// resting is what a server without work draws in the bound.
func (s *simulation) resting(i int) float64 {
	if s.cfg.SwitchOff {
		return float64(s.node(i).asleep())
	}
	return float64(s.servers[i].curve.Idle())
}

// sample lets the strategy see the nodes through its sensors.
func (s *simulation) sample() {
	sn := s.cfg.Sensors
	for i := range s.servers {
		v := &s.servers[i]
		if v.state != isOn || !(v.work > 0) {
			continue
		}
		use := v.use * max(0, 1+sn.UseNoise*s.rnd.NormFloat64())
		s.cluster.SetUse(i, use)
		if !sn.Learn {
			continue
		}
		watts := v.watts * max(0, 1+sn.WattNoise*s.rnd.NormFloat64())
		l := s.learners[i]
		if l == nil {
			l = newLearner(s.believed(i))
			s.learners[i] = l
		}
		if p := l.add(use/v.work, watts); p != nil {
			s.cluster.SetModel(i, p)
		}
	}
}

func (s *simulation) believed(i int) *power.Piecewise {
	p, _ := s.cluster.Node(i).Predictor.(*power.Piecewise)
	return p
}

// rebalance carries out the moves that the rebalancer proposes.
func (s *simulation) rebalance() error {
	var running []batch.Running
	var slots []int32
	for i := range s.servers {
		if s.servers[i].state != isOn {
			continue
		}
		for k := s.servers[i].first; k >= 0; k = s.jobs[k].next {
			r := batch.Running{Node: i}
			s.jobs[k].tell(&r.Job)
			r.Job.Demand.Lifetime = s.remaining(&s.jobs[k])
			running, slots = append(running, r), append(slots, k)
		}
	}
	began := time.Since(s.clock)
	moves, err := s.cfg.Rebalancer.Plan(s.ctx, time.Duration(s.now), running, s.cluster)
	s.res.SolveTime += time.Since(s.clock) - began
	if err != nil {
		return err
	}
	moved := false
	for _, m := range moves {
		k := slots[m.Running]
		s.jobs[k].tell(&s.one)
		if st := s.servers[m.To].state; st == isDown || m.To == int(s.jobs[k].node) || !s.cluster.Fits(m.To, &s.one) {
			continue
		}
		if ready := s.rouse(int32(m.To)); ready > s.now { // its room is kept until then
			s.one.Demand.Lifetime = s.remaining(&s.jobs[k])
			s.cluster.Reserve(m.To, &s.one, time.Duration(s.now))
			s.transfers = append(s.transfers, transfer{s.one, k, s.jobs[k].gen})
			s.events.push(ready, evMoved, int32(m.To), uint32(len(s.transfers)-1))
			s.moving++
			continue
		}
		s.move(k, int32(m.To))
		moved = true
	}
	if moved {
		return s.retry()
	}
	return nil
}

// A transfer is a job that is to be moved when its new node is ready.
type transfer struct {
	job batch.Job
	who int32
	gen uint32 // of who; another one says that the job has ended
}

// arrived carries out a transfer to a node that is ready now, or gives its room back.
func (s *simulation) arrived(e event) error {
	t := s.transfers[e.gen]
	i := int(e.who)
	s.cluster.Release(i, &t.job)
	if s.jobs[t.who].gen == t.gen && s.servers[i].state == isOn && s.cluster.Fits(i, &t.job) {
		s.move(t.who, e.who)
	} else if s.cluster.Jobs(i) == 0 {
		s.idle(i)
	}
	if s.moving--; s.moving == 0 {
		s.transfers = s.transfers[:0]
	}
	return s.retry()
}

// move takes job k to a node that is ready.
func (s *simulation) move(k, to int32) {
	s.leave(k)
	l, v := &s.jobs[k], &s.servers[to]
	l.tell(&s.one)
	s.cluster.Reserve(int(to), &s.one, time.Duration(s.now))
	v.gen++
	l.gen++
	l.node = to
	l.paid = v.perWork
	s.running++
	s.load.CPU += l.job.Requests.CPU
	s.load.Memory += l.job.Requests.Memory
	s.join(k, to)
	l.ends += int64(s.cfg.MoveTime)
	l.length += int64(s.cfg.MoveTime)
	s.events.push(l.ends, evEnd, k, l.gen)
	s.work(k)
	if s.now >= s.from {
		s.res.Moves++
		s.energy += float64(s.cfg.MoveEnergy)
	}
}

func (s *simulation) sampleSeries() {
	x := Sample{At: time.Duration(s.nextTrace), Watts: power.Watts(s.facility()), On: s.on, Waiting: len(s.pending) + s.heldN, Running: s.running, Use: s.load.Use - s.excess}
	for k := range s.sites {
		g, m := s.sites[k].rate(s.nextTrace)
		x.Grams, x.Money = x.Grams+g, x.Money+m
	}
	if s.bound != nil {
		x.Bound = power.Watts(s.leastWatts())
	}
	s.res.Series = append(s.res.Series, x)
}

// overdue counts the jobs that have not ended and whose deadline is over.
func (s *simulation) overdue() int {
	n := 0
	look := func(k int32) {
		if d := s.jobs[k].job.Deadline; d > 0 && time.Duration(s.now) > d {
			n++
		}
	}
	for _, k := range s.pending {
		look(k)
	}
	for i := range s.servers {
		for k := s.servers[i].first; k >= 0; k = s.jobs[k].next {
			look(k)
		}
	}
	for i := range s.events.events {
		if e := &s.events.events[i]; e.kind() == evRelease && s.jobs[e.who].gen == e.gen && s.jobs[e.who].node < 0 {
			look(e.who)
		}
	}
	return n
}

func (s *simulation) result() *Result {
	r := &s.res
	r.Energy, r.Bound = power.Joules(s.energy), power.Joules(s.boundJ)
	r.Waiting = len(s.pending) + s.heldN
	r.Missed += s.overdue()
	for k := range s.sites {
		r.Sites = append(r.Sites, s.sites[k].result())
	}
	r.MeanWait, r.P95Wait = s.wait.mean(), s.wait.quantile(0.95)
	r.MeanTurnaround = s.turn.mean()
	span := float64(min(s.now, s.to)-s.from) / 1e9
	for i := range s.servers {
		s.settle(i)
		v := &s.servers[i]
		n := NodeResult{Name: s.servName(i), Energy: power.Joules(v.joules)}
		if span > 0 {
			n.Use, n.On = v.useTime/span, v.onTime/span
		}
		r.Nodes = append(r.Nodes, n)
		if s.cfg.OnJob == nil {
			continue
		}
		for k := v.first; k >= 0; k = s.jobs[k].next {
			l := &s.jobs[k]
			l.bill.add(l.use, &l.paid, &v.perWork)
			s.record(Record{Job: &l.job, Node: n.Name, Start: time.Duration(l.first), Running: true, Energy: power.Joules(l.bill.joules),
				Grams: l.bill.grams, Money: l.bill.money})
		}
	}
	return r
}
