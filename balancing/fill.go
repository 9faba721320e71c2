package balancing

import "math"

// A cursor walks the edges of the uncut lots and those of the cut ones in one order.
type cursor struct{ i, j int }

// next returns the cheapest edge not yet walked over, and its class: edges of one class cost the same.
func (v *divider) next(c *cursor) (*edge, uint64) {
	for c.i < len(v.keys) && len(v.cuts) > 0 && v.cut[v.edges[v.keys[c.i]&place].lot] != 0 {
		c.i++
	}
	switch {
	case c.i < len(v.keys) && (c.j == len(v.xkeys) || v.keys[c.i] <= v.xkeys[c.j]):
		k := v.keys[c.i]
		c.i++
		return &v.edges[k&place], k >> 31
	case c.j < len(v.xkeys):
		k := v.xkeys[c.j]
		c.j++
		return &v.extra[k&place], k >> 31
	}
	return nil, 0
}

// impossible says that the cuts and the demand do not fit.
var impossible = eval{bound: math.Inf(1), truth: math.Inf(1)}

// fill pours the demand d along the envelopes, cheapest edges first, into x. Equal tight edges fill together,
// others one after the other, so that at most one lot ends where its envelope is below its curve.
func (v *divider) fill(d float64) eval {
	cost := 0.0
	for i := range v.lots {
		p := v.lots[i].from
		if c := v.cut[i]; c != 0 {
			p = v.cuts[c-1].l
		}
		v.x[i] = v.points[p].x
		d -= v.x[i]
		cost += v.points[p].y
	}
	if d < 0 {
		if d < -1e-12*(math.Abs(d)+v.lots[0].room) {
			return impossible
		}
		d = 0
	}
	var at, group cursor
	class := ^uint64(0)
	for d > 0 {
		before := at
		e, c := v.next(&at)
		if e == nil {
			if v.slack(d) {
				break
			}
			return impossible
		}
		if c != class {
			class, group = c, before
		}
		if d >= e.width {
			v.x[e.lot] += e.width
			cost += e.width * e.slope
			d -= e.width
			continue
		}
		if !e.tight {
			v.x[e.lot] += d
			cost += d * e.slope
			x := v.x[e.lot]
			line := v.points[e.a].y + (x-v.points[e.a].x)*e.slope
			return eval{bound: cost, truth: cost + max(v.truth(e.lot, x)-line, 0), edge: *e, at: x}
		}
		cost += d * e.slope
		v.level(group, before, class, d)
		break
	}
	return eval{bound: cost, truth: cost}
}

// slack tells whether a demand that is left over is no more than rounding.
func (v *divider) slack(d float64) bool {
	room := 0.0
	for i := range v.lots {
		room += v.lots[i].room
	}
	return d <= 1e-9*room
}

// level divides what one class of tight edges takes in proportion to their widths. Edges from group to filled
// are full, d more is to go to them and to the rest of the class.
func (v *divider) level(group, filled cursor, class uint64, d float64) {
	taken, width := d, 0.0
	full := true
	for at := group; ; {
		full = full && at != filled
		e, c := v.next(&at)
		if e == nil || c != class {
			break
		}
		width += e.width
		if full {
			taken += e.width
			v.x[e.lot] -= e.width
		}
	}
	for at := group; ; {
		e, c := v.next(&at)
		if e == nil || c != class {
			return
		}
		v.x[e.lot] += e.width * (taken / width)
	}
}
