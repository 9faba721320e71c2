package scheduler

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// state is what PreScore leaves for the rest of the cycle. The prices are those of the last cycle: kube-scheduler runs the scheduling
// cycles of all its pods one after the other, so nobody asks about one when the next has begun. Score, which runs for every node, trusts
// in that; NormalizeScore sees to it, and what was found in another cycle than its own counts for nothing. It is not kept in the
// CycleState: that would make the CycleState slower for the other plugins, which read it for every node.
type state struct {
	*prices
	places *places
	asked  []atomic.Uint32 // beside the prices: the last round in which Score was asked about each
	round  uint32
	cycle  fwk.CycleState // that it was left in
	began  time.Time
	err    error // of the prediction as a whole; guarded by the plugin's mu
}

// fewest is up to how many candidates are looked at by PreScore, and not by Score, so that it can tell whether any is known.
const fewest = 8

// PreScore brings up to date what pods of this kind cost on every server of the last view. It reads memory only. It returns Skip when
// the cost is known of none (of no candidate, where they are few), or when the prediction as a whole fails: the other plugins then
// decide.
func (p *Plugin) PreScore(ctx context.Context, cs fwk.CycleState, pod *v1.Pod, nodes []fwk.NodeInfo) *fwk.Status {
	start := time.Now()
	d := p.demand(pod)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last.Store(nil)
	s, known, err := p.prepare(ctx, d, nodes, start)
	p.metrics.duration.Observe(time.Since(start).Seconds())
	if err != nil {
		p.stepAside(ctx, pod, err)
		return fwk.NewStatus(fwk.Skip, err.Error())
	}
	if p.shadow != nil {
		p.watched = shadowed{uid: pod.UID, demand: d, asked: true}
	}
	if !known {
		t := p.skipped(s, nodes)
		p.metrics.count(&t)
		p.note(ctx, pod, s, &t)
		return fwk.NewStatus(fwk.Skip, fmt.Sprintf("the cost is known of none of %d nodes", len(nodes)))
	}
	s.cycle = cs
	p.last.Store(s)
	return nil
}

// prepare brings the prices of a demand up to date, and tells whether any is known.
func (p *Plugin) prepare(ctx context.Context, d scoring.Demand, nodes []fwk.NodeInfo, now time.Time) (s *state, known bool, err error) {
	w := &p.work
	w.look(p.site.View())
	w.hear()
	w.round++
	all := w.pricesOf(d, now)
	s = &state{prices: all, places: w.places, asked: w.asked, round: w.round, began: now}
	separate := p.separate()
	if separate && len(nodes) > fewest {
		err := p.priceAll(ctx, all)
		return s, all.known > 0, err
	}
	places := make([]int, 0, len(nodes))
	for _, info := range nodes {
		if i := w.seat(info, info.GetGeneration()); i >= 0 {
			places = append(places, i)
		}
	}
	if !separate {
		err := p.priceTogether(ctx, all, places)
		return s, all.known > 0, err
	}
	for _, i := range places {
		x, err := p.priceOne(ctx, all, i)
		if err != nil {
			return s, false, err
		}
		all.put(i, x, w.tagged(i, all.raw(&x)))
		known = known || x.known()
	}
	return s, known, nil
}

// stepAside tells that a prediction failed as a whole.
func (p *Plugin) stepAside(ctx context.Context, pod *v1.Pod, err error) {
	p.metrics.failed.Inc()
	klog.FromContext(ctx).Error(err, "LeastWatt steps aside", "pod", klog.KObj(pod))
}

// Score returns the cost of the pod on a node: marginal milliwatts, or finer parts of other units, absolute,
// lower is better. It cannot fail.
func (p *Plugin) Score(ctx context.Context, _ fwk.CycleState, _ *v1.Pod, info fwk.NodeInfo) (int64, *fwk.Status) {
	s := p.last.Load()
	if s == nil {
		return rawUnknown, nil
	}
	generation := info.GetGeneration()
	g := s.places.guess(generation)
	for way := range g {
		if i := int(g[way].Load()); i < len(s.tags) {
			if t := &s.tags[i]; t.generation == generation {
				s.asked[i].Store(s.round)
				return t.raw, nil
			}
		}
	}
	return p.scoreChanged(ctx, s, info, generation), nil
}

// scoreChanged looks into what has changed on a node, and returns its score.
func (p *Plugin) scoreChanged(ctx context.Context, s *state, info fwk.NodeInfo, generation int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.work
	if p.last.Load() != s || s.err != nil {
		return rawUnknown
	}
	i := w.seat(info, generation)
	if i < 0 || !p.separate() && s.of[i].version != w.marks[i].version { // a candidate that PreScore was not told of
		return rawUnknown
	}
	x, err := p.priceOne(ctx, s.prices, i)
	if err != nil {
		s.err = err
		return rawUnknown
	}
	t := w.tagged(i, s.raw(&x))
	s.asked[i].Store(s.round)
	s.late = append(s.late, late{i, x, t})
	return t.raw
}

// rawPer returns what one unit of cost is as a raw score: a watt has milliwatts; what a pod emits an hour is a
// thousandth of its watts in grams, and in money less.
func rawPer(u scoring.Unit) float64 {
	switch u {
	case scoring.GramsPerHour:
		return 1e6
	case scoring.MoneyPerHour:
		return 1e9
	}
	return 1e3
}

func raw(cost, per float64) int64 {
	parts := math.Floor(cost*per + 0.5) // one instruction, unlike Round
	switch {
	case parts > -rawMost && parts < rawMost:
		return int64(parts)
	case math.IsNaN(cost):
		return rawUnknown
	case math.IsInf(cost, 1):
		return rawOver
	case cost > 0:
		return rawMost
	}
	return -rawMost
}
