package batch

import (
	"cmp"
	"slices"

	"github.com/leastwatt/leastwatt/power"
)

// mostDrained is how many jobs a server may have for it to be drained.
const mostDrained = 8

// filled is what a core costs on node i when the node is as full as is best for it.
func (t *trial) filled(i int) float64 { return t.c.env[i].Slope(0) * t.c.perWork[i] }

// drain returns the moves that empty a server, for the server where that saves most for each move: onto others that are in use or, some of
// the jobs at least, onto one that takes its place. The saving lasts as long as the job that would have kept the server on.
func (t *trial) drain(budget int) proposal {
	var best proposal
	c := t.c
	for i := range c.nodes {
		n := len(t.on[i])
		if n == 0 || n > budget || n > mostDrained || c.env[i] == nil {
			continue
		}
		stays := false
		longest := 0.0
		for _, k := range t.on[i] {
			j := &t.running[k].Job
			stays = stays || j.Pinned || j.Node != ""
			longest = max(longest, t.lasts(k))
		}
		if stays {
			continue
		}
		// The whole saving at most, before anything is tried.
		if t.idles(i)*longest/float64(n) <= best.perMove()/2 {
			continue
		}
		if p := t.emptied(i, -1, longest); p.perMove() > best.perMove() {
			best = p
		}
		for _, r := range t.idle {
			if t.filled(r) >= t.filled(i) {
				break
			}
			if p := t.emptied(i, r, longest); p.perMove() > best.perMove() {
				best = p
			}
		}
	}
	return best
}

// idles is what switching node i off saves, in watts.
func (t *trial) idles(i int) float64 {
	return float64(t.c.curve[i].Idle() - t.c.nodes[i].OffPower)
}

// emptied returns the moves that empty node i, which would have been in use for so many seconds, and what they save: no moves where a job finds no
// room, or none needs the replacement. A replacement of -1 is none.
func (t *trial) emptied(i, replacement int, seconds float64) proposal {
	c := t.c
	p := proposal{saves: t.idles(i) * seconds}
	if r := replacement; r >= 0 {
		p.saves -= t.idles(r) * seconds
		if c.nodes[r].Off { // both are on until it is ready
			p.saves -= t.idles(i) * c.nodes[r].Wake.Seconds()
		}
	}
	jobs := slices.Clone(t.on[i])
	slices.SortStableFunc(jobs, func(a, b int) int {
		return cmp.Compare(t.running[b].Job.Requests.CPU, t.running[a].Job.Requests.CPU)
	})
	begun := map[int]nodeState{}
	needed := replacement < 0
	for _, k := range jobs {
		j := &t.running[k].Job
		to, adds := t.target(k)
		if r := replacement; r >= 0 && c.Fits(r, j) {
			if w := t.watts(r, c.use[r], c.use[r]+j.Demand.CPU); to < 0 || w < adds {
				// Its idle power is paid for already.
				to, adds = r, float64(c.curve[r].Rise(c.use[r]*c.perWork[r], (c.use[r]+j.Demand.CPU)*c.perWork[r]))
				needed = true
			}
		}
		if to < 0 {
			needed = false
			break
		}
		u := c.use[i]
		p.saves += (float64(c.curve[i].Rise(max(0, u-j.Demand.CPU)*c.perWork[i], u*c.perWork[i])) - adds) * t.lasts(k)
		p.saves -= float64(t.opts.Cost)
		p.moves = append(p.moves, Move{Running: k, To: to})
		for _, x := range []int{i, to} {
			if _, ok := begun[x]; !ok {
				begun[x] = nodeState{use: c.use[x], until: c.until[x], off: c.nodes[x].Off}
			}
		}
		t.shift(k, to)
	}
	// Take the attempt back.
	for _, m := range slices.Backward(p.moves) {
		t.shift(m.Running, i)
	}
	for x, s := range begun {
		c.use[x], c.until[x], c.nodes[x].Off = s.use, s.until, s.off
		c.locate(x)
	}
	if !needed {
		return proposal{}
	}
	for m := range p.moves {
		p.moves[m].Saves = power.Joules(p.saves / float64(len(p.moves)))
	}
	return p
}
