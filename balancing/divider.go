package balancing

import (
	"math"
	"slices"
)

// A divider divides one demand over servers at the least cost. Costs are piecewise linear; where they are not
// convex, branch and bound on the convex envelopes closes the gap: with the envelopes at most one server ends
// where its envelope is below its curve, and only that one is split.
type divider struct {
	lots   []lot
	points []point
	edges  []edge
	keys   []uint64

	cut   []int32 // by lot: 1 + index of its cut, 0 without
	cuts  []cut
	extra []edge // the envelopes of the cut lots
	xkeys []uint64
	nodes []branch
	stack []int32 // hull

	x    []float64 // the division, by lot
	best float64   // its cost, all lots and their bases included
}

// A lot is one server: its curve above the load that stays, as points[from:to].
type lot struct {
	from, to int32
	room     float64
}

type point struct{ x, y float64 } // load above base, cost

// An edge of an envelope, between two points of a lot. It is tight where no point lies between them: there
// the envelope is the curve.
type edge struct {
	lot, a, b    int32
	tight        bool
	width, slope float64
}

// A cut confines a lot to the points l to r.
type cut struct{ lot, l, r int32 }

// A branch is a node of the search: its parent's cuts and one more.
type branch struct {
	parent int32
	cut    cut
	eval
}

// An eval is the outcome of filling along the envelopes.
type eval struct {
	bound, truth float64
	edge         edge    // the edge that is not tight and partly filled; width 0 without
	at           float64 // load on its lot
}

// The search stops when the division is proven to be within gap of the least, or has looked at so many edges and arcs, or
// tried so many cuts.
const (
	gap       = 2e-4
	maxVisits = 60_000 // alone
	maxJoint  = 3_000_000
	maxTries  = 3_000
)

func (v *divider) start() {
	v.lots, v.points, v.edges, v.keys = v.lots[:0], v.points[:0], v.edges[:0], v.keys[:0]
	v.cuts, v.extra, v.xkeys, v.cut = v.cuts[:0], v.extra[:0], v.xkeys[:0], v.cut[:0]
}

// add adds a server that carries base already and may be filled up to the limit.
func (v *divider) add(s *server, base, limit float64) {
	from := len(v.points)
	top := max(limit*s.work, base)
	v.points = append(v.points, point{0, s.cost(base)})
	for _, k := range s.knots {
		if x := k.Utilization * s.work; x > base && x < top {
			v.points = append(v.points, point{x - base, s.price * float64(k.Watts)})
		}
	}
	if top > base {
		v.points = append(v.points, point{top - base, s.cost(top)})
	}
	id := int32(len(v.lots))
	v.lots = append(v.lots, lot{from: int32(from), to: int32(len(v.points)), room: top - base})
	v.edges, v.keys = v.envelope(v.edges, v.keys, id, int32(from), int32(len(v.points)-1))
}

// envelope appends the lower convex envelope of points[l:r+1] and the sort keys of its edges, in order.
func (v *divider) envelope(edges []edge, keys []uint64, id, l, r int32) ([]edge, []uint64) {
	h := v.stack[:0]
	for i := l; i <= r; i++ {
		p := v.points[i]
		for len(h) > 1 {
			a, b := v.points[h[len(h)-2]], v.points[h[len(h)-1]]
			// b stays unless it is clearly above the line from a to p: points on a line keep edges tight.
			if above := (b.y-a.y)*(p.x-a.x) - (p.y-a.y)*(b.x-a.x); above <= 1e-12*(math.Abs(p.y)+math.Abs(a.y))*(p.x-a.x) {
				break
			}
			h = h[:len(h)-1]
		}
		h = append(h, i)
	}
	v.stack = h
	for i := 1; i < len(h); i++ {
		a, b := v.points[h[i-1]], v.points[h[i]]
		e := edge{lot: id, a: h[i-1], b: h[i], tight: h[i] == h[i-1]+1, width: b.x - a.x, slope: (b.y - a.y) / (b.x - a.x)}
		keys = append(keys, key(&e, len(edges)))
		edges = append(edges, e)
	}
	return edges, keys
}

// key orders edges by slope, in single precision so that equal servers are equal, then tight ones first.
func key(e *edge, index int) uint64 {
	b := math.Float32bits(float32(e.slope))
	if b>>31 != 0 {
		b = ^b
	} else {
		b |= 1 << 31
	}
	k := uint64(b)<<32 | uint64(index)
	if !e.tight {
		k |= loose
	}
	return k
}

const (
	loose = 1 << 31
	place = loose - 1
)

// divide finds x for a demand; false where it does not fit.
func (v *divider) divide(d float64) bool {
	room := 0.0
	for i := range v.lots {
		room += v.lots[i].room
	}
	if !(d <= room) {
		return false
	}
	v.ready()
	v.x = append(v.x[:0], make([]float64, len(v.lots))...)
	v.search(func() eval { return v.fill(d) }, maxVisits/max(len(v.keys), 1))
	v.best = 0
	for i := range v.lots {
		v.best += v.truth(int32(i), v.x[i])
	}
	return true
}

// ready sorts the edges once all lots are added.
func (v *divider) ready() {
	slices.Sort(v.keys)
	v.cut = append(v.cut[:0], make([]int32, len(v.lots))...)
}

// search looks for the cuts under which fill finds the cheapest division, most promising first, until that is
// proven to be within gap of the least or fill has been asked often enough. It ends with these cuts set and
// filled, and returns what no division can go below.
func (v *divider) search(fill func() eval, tries int) (low float64) {
	v.nodes = append(v.nodes[:0], branch{parent: -1, eval: fill()})
	best, tried := int32(0), false
	for {
		at := -1
		low = v.nodes[best].truth
		for i := range v.nodes {
			if v.nodes[i].edge.width > 0 && v.nodes[i].bound < low {
				at, low = i, v.nodes[i].bound
			}
		}
		if at < 0 || v.nodes[best].truth-low <= gap*math.Abs(v.nodes[best].truth) || tries <= 0 {
			break
		}
		p := &v.nodes[at]
		e, x := p.edge, p.at
		p.edge.width = 0 // opened
		l, r := v.lots[e.lot].from, v.lots[e.lot].to-1
		for i := int32(at); i > 0; i = v.nodes[i].parent {
			if c := v.nodes[i].cut; c.lot == e.lot {
				l, r = c.l, c.r
				break
			}
		}
		mid := v.nearest(e, x)
		for _, c := range [2]cut{{e.lot, l, mid}, {e.lot, mid, r}} {
			v.confine(int32(at), c)
			ev := fill()
			tries, tried = tries-1, true
			if ev.bound < v.nodes[best].truth {
				v.nodes = append(v.nodes, branch{parent: int32(at), cut: c, eval: ev})
				if ev.truth < v.nodes[best].truth {
					best = int32(len(v.nodes) - 1)
				}
			}
		}
	}
	if tried {
		v.confine(v.nodes[best].parent, v.nodes[best].cut)
		if best == 0 {
			v.release()
		}
		fill()
	}
	return low
}

// nearest returns the point strictly inside an edge that is nearest to x.
func (v *divider) nearest(e edge, x float64) int32 {
	best := e.a + 1
	for i := e.a + 1; i < e.b; i++ {
		if math.Abs(v.points[i].x-x) < math.Abs(v.points[best].x-x) {
			best = i
		}
	}
	return best
}

// confine sets the cuts to one and those of a node and its parents; the cut nearest to the leaf holds.
func (v *divider) confine(node int32, c cut) {
	v.release()
	for {
		if v.cut[c.lot] == 0 {
			v.cuts = append(v.cuts, c)
			v.cut[c.lot] = int32(len(v.cuts))
			v.extra, v.xkeys = v.envelope(v.extra, v.xkeys, c.lot, c.l, c.r)
		}
		if node <= 0 {
			break
		}
		c, node = v.nodes[node].cut, v.nodes[node].parent
	}
	slices.Sort(v.xkeys)
}

func (v *divider) release() {
	for _, c := range v.cuts {
		v.cut[c.lot] = 0
	}
	v.cuts, v.extra, v.xkeys = v.cuts[:0], v.extra[:0], v.xkeys[:0]
}

// truth is the cost of a lot at a load above its base.
func (v *divider) truth(id int32, x float64) float64 {
	p := v.points[v.lots[id].from:v.lots[id].to]
	for i := 1; i < len(p); i++ {
		if x <= p[i].x {
			return p[i-1].y + (x-p[i-1].x)*(p[i].y-p[i-1].y)/(p[i].x-p[i-1].x)
		}
	}
	return p[len(p)-1].y
}
