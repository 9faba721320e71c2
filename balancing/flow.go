package balancing

import (
	"context"
	"math"
	"slices"
)

// A flow divides Services that share servers. What loads the Services can put on the servers form a
// polymatroid, where the greedy step is exact for separable convex costs: raise the server with the cheapest
// next edge as far as any Service can reach it, be it by moving another Service's load to a third server
// (Federgruen & Groenevelt, Operations Research 34, 1986).
type flow struct {
	services []int32
	of       []int32 // arcs by server, grouped
	first    []int32 // by server: where its arcs start in of
	rest     []float64
	open     int // Services with rest

	load  []float64 // by server: what has been divided onto it
	dead  []bool    // by server: no demand can reach it any more
	hot   []int32   // by server: Services with rest that reach it directly
	seenV []int32   // by server and Service: the search that saw it last
	seenS []int32
	from  []int32 // by server: the arc whose load would move away from here
	prev  []int32 // and the server it would move to
	queue []int32
	turn  int32
	d     divider
	group []edge  // edges that fill together
	ids   []int32 // server of each lot
}

// Equally cheap servers fill together, in so many rounds: many where they are few.
const (
	rounds    = 16
	roundsBig = 4
	big       = 64
)

func (f *flow) run(ctx context.Context, s *solver) {
	f.index(s)
	f.d.start()
	f.ids = f.ids[:0]
	for i := range s.servers {
		if v := &s.servers[i]; f.first[i] < f.first[i+1] {
			f.d.add(v, v.base, s.limit)
			f.ids = append(f.ids, int32(i))
		}
	}
	f.d.ready()
	tries := min(maxJoint/(len(f.d.keys)+8*len(f.of)), maxTries)
	low := f.d.search(func() eval {
		if ctx.Err() != nil {
			return impossible
		}
		return f.pour(s)
	}, tries)
	if f.open > 0 {
		f.overflow(s)
		return
	}
	f.improve(ctx, s, low)
	f.tryEven(ctx, s, low)
}

// index groups the arcs of the flow's Services by server.
func (f *flow) index(s *solver) {
	n := len(s.servers)
	f.first = append(f.first[:0], make([]int32, n+1)...)
	f.load = append(f.load[:0], make([]float64, n)...)
	f.dead = append(f.dead[:0], make([]bool, n)...)
	f.hot = append(f.hot[:0], make([]int32, n)...)
	f.seenV = append(f.seenV[:0], make([]int32, n)...)
	f.from = append(f.from[:0], make([]int32, n)...)
	f.prev = append(f.prev[:0], make([]int32, n)...)
	f.rest = append(f.rest[:0], make([]float64, len(s.demands))...)
	f.seenS = append(f.seenS[:0], make([]int32, len(s.demands))...)
	f.turn = 0
	total := 0
	for _, i := range f.services {
		d := &s.demands[i]
		for _, a := range s.arcs[d.from:d.to] {
			f.first[a.server+1]++
			total++
		}
	}
	for i := range n {
		f.first[i+1] += f.first[i]
	}
	f.of = append(f.of[:0], make([]int32, total)...)
	fill := slices.Clone(f.first)
	for _, i := range f.services {
		d := &s.demands[i]
		for k := d.from; k < d.to; k++ {
			v := s.arcs[k].server
			f.of[fill[v]] = k
			fill[v]++
		}
	}
}

// empty takes everything off the servers.
func (f *flow) empty(s *solver) {
	clear(f.load)
	clear(f.dead)
	clear(f.hot)
	f.open = 0
	for _, i := range f.services {
		d := &s.demands[i]
		if f.rest[i] = d.free; d.free > 0 {
			f.open++
		}
		for k := d.from; k < d.to; k++ {
			s.arcs[k].flow = 0
			if d.free > 0 {
				f.hot[s.arcs[k].server]++
			}
		}
	}
}

// pour fills the servers from empty up to the limit, cheapest edges first, within the cuts of f.d. What is left
// over stays in rest.
func (f *flow) pour(s *solver) eval {
	v := &f.d
	f.empty(s)
	out := eval{}
	for i := range v.lots {
		p := v.lots[i].from
		if c := v.cut[i]; c != 0 {
			p = v.cuts[c-1].l
			x := v.points[p].x
			if got := f.raise(s, f.ids[i], x); got < x*(1-1e-9) {
				return impossible
			}
		}
		out.bound += v.points[p].y
	}
	out.truth = out.bound
	widest := 0.0
	var at cursor
	e, class := v.next(&at)
	for e != nil && f.open > 0 {
		c := class
		for f.group = f.group[:0]; e != nil && class == c; e, class = v.next(&at) {
			f.group = append(f.group, *e)
		}
		parts := rounds
		switch {
		case len(f.group) == 1 || !f.group[0].tight:
			parts = 1
		case len(f.group) > big:
			parts = roundsBig
		}
		for range parts {
			for i := range f.group {
				g := &f.group[i]
				w := g.width / float64(parts)
				got := f.raise(s, f.ids[g.lot], w)
				out.bound += got * g.slope
				out.truth += got * g.slope
				if g.tight || got == 0 || got >= w*(1-1e-9) {
					continue
				}
				x := f.load[f.ids[g.lot]]
				above := max(v.truth(g.lot, x)-v.points[g.a].y-(x-v.points[g.a].x)*g.slope, 0)
				out.truth += above
				if above >= widest {
					widest, out.edge, out.at = above, *g, x
				}
			}
		}
	}
	if f.open > 0 && len(v.cuts) > 0 {
		return impossible
	}
	return out
}

// overflow divides what does not fit within the limits, so that servers that can take it are equally busy.
func (f *flow) overflow(s *solver) {
	for u := s.limit; f.open > 0; {
		if u < 1 {
			u = min(u+(1-s.limit)/8, 1)
		} else if u *= 1.1; u > 1e6 {
			u = math.Inf(1)
		}
		for _, id := range f.ids {
			v := &s.servers[id]
			if room := u*v.work - v.base - f.load[id]; room > 0 {
				f.raise(s, id, room)
			}
		}
		if math.IsInf(u, 1) {
			return
		}
	}
}

// raise puts up to w more onto a server: from Services that reach it and have demand left, in proportion; then
// along the shortest chains of moves.
// It returns how much it put.
func (f *flow) raise(s *solver, id int32, w float64) (put float64) {
	tiny := 1e-12 * w
	if math.IsInf(w, 1) {
		tiny = 0
	}
	for w > tiny && !f.dead[id] && f.open > 0 {
		got := f.direct(s, id, w)
		if got == 0 {
			got = f.chain(s, id, w)
		}
		if got == 0 {
			break
		}
		w -= got
		put += got
	}
	return put
}

func (f *flow) direct(s *solver, id int32, w float64) float64 {
	if f.hot[id] == 0 {
		return 0
	}
	sum := 0.0
	arcs := f.of[f.first[id]:f.first[id+1]]
	for _, k := range arcs {
		sum += f.rest[s.arcs[k].service]
	}
	part, got := min(w/sum, 1), 0.0
	for _, k := range arcs {
		a := &s.arcs[k]
		if x := f.take(s, a.service, f.rest[a.service]*part); x > 0 {
			a.flow += x
			got += x
		}
	}
	f.load[id] += got
	return got
}

// take takes x of a Service's demand, all of it if next to nothing would remain.
func (f *flow) take(s *solver, service int32, x float64) float64 {
	r := f.rest[service]
	if r == 0 {
		return 0
	}
	if r-x <= 1e-12*s.demands[service].free {
		x = r
		f.open--
		for k := s.demands[service].from; k < s.demands[service].to; k++ {
			f.hot[s.arcs[k].server]--
		}
	}
	f.rest[service] = r - x
	return x
}

// chain finds the shortest chain of moves that frees demand for a server and moves along it. Without one, the
// server and all that were reached are dead: no later step can add a way to them.
func (f *flow) chain(s *solver, id int32, w float64) float64 {
	f.turn++
	f.queue = append(f.queue[:0], id)
	f.seenV[id], f.from[id] = f.turn, -1
	for h := 0; h < len(f.queue); h++ {
		v := f.queue[h]
		for _, k := range f.of[f.first[v]:f.first[v+1]] {
			i := s.arcs[k].service
			if f.seenS[i] == f.turn {
				continue
			}
			f.seenS[i] = f.turn
			for b := s.demands[i].from; b < s.demands[i].to; b++ {
				a := &s.arcs[b]
				if a.flow == 0 || f.seenV[a.server] == f.turn || f.dead[a.server] {
					continue
				}
				f.seenV[a.server], f.from[a.server], f.prev[a.server] = f.turn, b, k
				if f.hot[a.server] > 0 {
					return f.move(s, a.server, w)
				}
				f.queue = append(f.queue, a.server)
			}
		}
	}
	for _, v := range f.queue {
		f.dead[v] = true
	}
	return 0
}

// move pushes along a chain that starts at a server which a Service with demand left reaches: what that
// displaces goes from arc from[v] to arc prev[v] of one Service, server by server.
func (f *flow) move(s *solver, start int32, w float64) float64 {
	var k int32
	for _, k = range f.of[f.first[start]:f.first[start+1]] {
		if f.rest[s.arcs[k].service] > 0 {
			break
		}
	}
	w = min(w, f.rest[s.arcs[k].service])
	v := start
	for ; f.from[v] >= 0; v = s.arcs[f.prev[v]].server {
		w = min(w, s.arcs[f.from[v]].flow)
	}
	w = f.take(s, s.arcs[k].service, w)
	s.arcs[k].flow += w
	f.load[v] += w
	for v = start; f.from[v] >= 0; v = s.arcs[f.prev[v]].server {
		s.arcs[f.from[v]].flow = max(s.arcs[f.from[v]].flow-w, 0)
		s.arcs[f.prev[v]].flow += w
	}
	return w
}
