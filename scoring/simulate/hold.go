package simulate

// release puts a job that its strategy held back into the queue. All that are released at one instant are decided together.
func (s *simulation) release(e event) error {
	if l := &s.jobs[e.who]; l.gen == e.gen && l.node < 0 {
		s.heldN--
		s.enqueue(e.who)
		s.released++
	}
	if q := s.events.events; len(q) > 0 && q[0].at == s.now && q[0].kind() == evRelease {
		return nil
	}
	n := s.released
	s.released = 0
	if s.cfg.Every > 0 {
		s.tick()
		return nil
	}
	return s.plan(len(s.pending)-n, len(s.pending))
}

// suspend stops a job whose time slice is over and asks the strategy when it shall go on.
func (s *simulation) suspend(k int32) error {
	s.leave(k)
	l := &s.jobs[k]
	l.ran = s.now - l.started
	l.gen++
	l.node, l.prev, l.next = -1, -1, -1
	if s.now >= s.from {
		s.res.Suspended++
	}
	l.demand.Lifetime = s.remaining(l)
	if err := s.retry(); err != nil { // others have waited for the room
		return err
	}
	s.enqueue(k)
	if s.cfg.Every > 0 {
		s.tick()
		return nil
	}
	return s.plan(len(s.pending)-1, len(s.pending))
}
