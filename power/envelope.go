package power

// An envelope is remembered with the off power it was made for.
type envelope struct {
	off   Watts
	curve *Piecewise
}

// Envelope returns the lower convex envelope of the curve: the least mean watts at which many such
// servers, none of them off, can carry a mean utilization. It is computed once.
func (p *Piecewise) Envelope() *Piecewise {
	if e := p.on.Load(); e != nil {
		return e
	}
	e := p
	if hull := lowerHull(p.Knots()); len(hull) < len(p.segs) {
		e = build(hull)
	}
	p.on.Store(e)
	return e
}

// EnvelopeFromOff returns the lower convex envelope of the curve and of a server that carries nothing
// and draws only off watts (0 when it is unplugged, otherwise its standby or suspend power): the least
// mean watts of many such servers when some may be switched off. Its first slope amortises idle power over
// the load at which the server is most efficient. An off power above idle gives [Piecewise.Envelope].
// The envelope of the last off power asked for is remembered.
func (p *Piecewise) EnvelopeFromOff(off Watts) *Piecewise {
	if e := p.off.Load(); e != nil && e.off == off {
		return e.curve
	}
	e := &envelope{off: off, curve: p.envelopeFromOff(off)}
	p.off.Store(e)
	return e.curve
}

func (p *Piecewise) envelopeFromOff(off Watts) *Piecewise {
	start := Knot{Watts: max(off, 0)}
	knots := p.Knots()
	switch first := knots[0]; {
	case first.Utilization > 0:
		knots = append([]Knot{start}, knots...)
	case start.Watts < first.Watts:
		knots[0] = start
	}
	return build(lowerHull(knots))
}

// lowerHull is the lower half of Andrew's monotone chain (Information Processing Letters 9, 1979).
func lowerHull(knots []Knot) []Knot {
	hull := make([]Knot, 0, len(knots))
	for _, k := range knots {
		for len(hull) > 1 {
			a, b := hull[len(hull)-2], hull[len(hull)-1]
			if float64(b.Watts-a.Watts)*(k.Utilization-a.Utilization) < float64(k.Watts-a.Watts)*(b.Utilization-a.Utilization) {
				break
			}
			hull = hull[:len(hull)-1]
		}
		hull = append(hull, k)
	}
	return hull
}
