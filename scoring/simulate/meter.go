package simulate

// advance moves the clock and pays for the time between.
func (s *simulation) advance(at int64) {
	if at <= s.now {
		return
	}
	if s.cfg.Trace > 0 {
		for s.nextTrace <= at {
			s.sampleSeries()
			s.nextTrace += int64(s.cfg.Trace)
		}
	}
	a, b := max(s.now, s.from), min(at, s.to)
	if b > a {
		dt := float64(b-a) / 1e9
		s.energy += s.facility() * dt
		for k := range s.sites {
			s.sites[k].pay(a, b)
		}
		if s.bound != nil {
			s.boundJ += s.leastWatts() * dt
		}
	}
	s.now = at
}

// facility is the power of all servers with the answer of the room to it.
func (s *simulation) facility() float64 {
	w := s.total
	if len(s.sites) > 0 {
		w = 0
		for k := range s.sites {
			w += s.sites[k].watts * s.sites[k].pue
		}
		return w
	}
	if in := s.cfg.Inlet; in != nil {
		// w = total·(1 + k·(base + r·w − reference)), solved for w.
		k := in.Coefficient
		d := 1 - k*in.PerKilowatt/1000*s.total
		w = s.total * (1 + k*float64(in.Base-in.Reference)) / max(d, 0.1)
		w = max(w, 0)
	}
	if s.cfg.PUE > 0 {
		w *= s.cfg.PUE
	}
	return w
}

func (s *simulation) leastWatts() float64 {
	if s.stale {
		// Without a node that is down, and idle in the bound, the bound of the others is no lower than this.
		l := s.load
		l.Use = max(0, l.Use-s.excess)
		s.boundWatts = max(0, float64(s.bound.At(l))-s.absent-s.dim)
		s.stale = false
	}
	if len(s.sites) > 0 {
		return s.boundWatts * leastPUE(s.sites)
	}
	if s.cfg.Inlet == nil && s.cfg.PUE == 0 {
		return s.boundWatts
	}
	keep := s.total
	s.total = s.boundWatts
	w := s.facility()
	s.total = keep
	return w
}

// boots counts a server that begins to boot, or ends: one that draws less meanwhile than idle has its work reserved in the bound already.
func (s *simulation) boots(i int, sign float64) {
	n := s.node(i)
	less := float64(s.servers[i].curve.Idle() - n.WakeWatts)
	if n.WakeWatts == 0 || less <= 0 {
		return
	}
	s.dim += sign * less
	if s.dimmed += int(sign); s.dimmed == 0 {
		s.dim = 0 // forget what rounding has left
	}
	s.stale = true
}

// setPower brings a server's power up to date with its state and use.
func (s *simulation) setPower(i int) {
	v := &s.servers[i]
	var w float64
	switch v.state {
	case isOn:
		if v.work > 0 {
			w = float64(v.curve.At(v.use / v.work))
		} else {
			w = float64(v.curve.Idle())
		}
	case isOff:
		w = float64(s.node(i).OffPower)
	case isSuspended:
		w = float64(s.node(i).Suspend.Power)
	case isBooting:
		if w = float64(s.node(i).WakeWatts); w == 0 {
			w = float64(v.curve.Idle())
		}
	}
	s.total += w - v.watts
	if v.site >= 0 {
		s.sites[v.site].watts += w - v.watts
	}
	v.watts = w
	if s.updates++; s.updates&0xffff == 0 { // wash out the rounding of many small steps
		s.total = 0
		for k := range s.sites {
			s.sites[k].watts = 0
		}
		for k := range s.servers {
			s.total += s.servers[k].watts
			if n := s.servers[k].site; n >= 0 {
				s.sites[n].watts += s.servers[k].watts
			}
		}
	}
}

// settle books what a server has drawn since its last change.
func (s *simulation) settle(i int) {
	v := &s.servers[i]
	if dt := float64(s.now-v.since) / 1e9; dt > 0 && v.use > 0 {
		per := v.watts / v.use
		v.perWork.joules += per * dt
		if v.site >= 0 {
			grams, money := s.sites[v.site].perWatt(v.since, s.now)
			v.perWork.grams += per * grams
			v.perWork.money += per * money
		}
	}
	a, b := max(v.since, s.from), min(s.now, s.to)
	if b > a {
		dt := float64(b-a) / 1e9
		v.joules += v.watts * dt
		if v.work > 0 {
			v.useTime += v.use / v.work * dt
		}
		if v.state == isOn || v.state == isBooting {
			v.onTime += dt
		}
	}
	v.since = s.now
}
