package scheduler

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

const stateKey fwk.StateKey = "PreScore" + Name

// state is what PreScore leaves for the rest of the cycle, by place in the view. It is not changed before its sheet is written anew.
type state struct {
	view   *scoring.View
	places *places
	found  []*v1.Node
	cycle  fwk.CycleState // that it was left in
	few    []int32        // the candidates' places, ascending, where they are few; nil where all have a cost
	cost   []float64      // beside few or the view: NaN is unknown, +Inf over capacity
	tie    []float32
	best   []int32 // places among the candidates of the best, best first
	among  int     // how many candidates there are
	name   string  // of the best
	per    float64 // raw score of one unit of cost
	sheet  *sheet  // has the memory of the slices
}

// A sheet is memory for one state, used again by the cycle after the next. kube-scheduler runs the scheduling cycles of all its pods one
// after the other, so nobody asks for the state of a cycle when the next has begun; who does so later yet finds none.
type sheet struct {
	few  []int32
	cost []float64
	tie  []float32
	best []int32
	of   atomic.Pointer[state] // whose it is
}

// state returns a state in this sheet for n costs, which are not set; the state that had it is there no more.
func (m *sheet) state(n int) *state {
	s := &state{sheet: m}
	m.of.Store(s)
	m.cost, m.tie = slices.Grow(m.cost[:0], n)[:n], slices.Grow(m.tie[:0], n)[:n]
	s.cost, s.tie = m.cost, m.tie
	return s
}

// at returns where the cost of the i-th server of the view stands, or -1.
func (s *state) at(i int) int {
	if s.few == nil || i < 0 {
		return i
	}
	if k, ok := slices.BinarySearch(s.few, int32(i)); ok {
		return k
	}
	return -1
}

// Clone implements the framework's StateData.
func (s *state) Clone() fwk.StateData { return s }

// read returns what PreScore left in a cycle, or nil. The cycle is nearly always the last one, and to see that is
// cheaper than to look it up: this runs for every node.
func (p *Plugin) read(cs fwk.CycleState) *state {
	if s := p.last.Load(); s != nil && s.cycle == cs {
		return s
	}
	d, err := cs.Read(stateKey)
	if err != nil {
		return nil
	}
	if s := d.(*state); s.sheet.of.Load() == s {
		return s
	}
	return nil
}

// before tells which of two nodes of the same raw score is preferred: by the cost before rounding, then as
// the scorer breaks ties, then by name.
func (s *state) before(a, b string) bool {
	if s != nil {
		i, j := s.known(a), s.known(b)
		switch {
		case i < 0 || j < 0:
			// A cost of an earlier cycle may be unknown by now, which then loses.
			if i >= 0 || j >= 0 {
				return i >= 0
			}
		case s.cost[i] != s.cost[j]:
			return s.cost[i] < s.cost[j]
		case s.tie[i] != s.tie[j]:
			return s.tie[i] < s.tie[j]
		}
	}
	return a < b
}

// first returns the place of the preferred node in the scores of all candidates, or -1 where they are of others too or none
// has a cost: to ask before about every node of the lowest raw score takes as long as the rest of a normalization.
func (s *state) first(scores fwk.NodeScoreList) int {
	if s == nil || len(s.best) == 0 || len(scores) != s.among {
		return -1
	}
	if k := int(s.best[0]); scores[k].Name == s.name {
		return k
	}
	return -1
}

// known returns where the cost of a server stands, or -1 where it is not known.
func (s *state) known(name string) int {
	if i := s.at(s.view.Index(name)); i >= 0 && !math.IsNaN(s.cost[i]) {
		return i
	}
	return -1
}

// PreScore predicts what the pod would cost on every candidate. It reads memory only. It returns Skip when
// no candidate's cost is known, or when the prediction as a whole fails: the other plugins then decide.
func (p *Plugin) PreScore(ctx context.Context, cs fwk.CycleState, pod *v1.Pod, nodes []fwk.NodeInfo) *fwk.Status {
	start := time.Now()
	d := p.demand(pod)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last.Store(nil) // its memory may be another's from now on
	s, t, err := p.predict(ctx, d, nodes, start)
	p.metrics.preScored(time.Since(start), &t, err)
	if err != nil {
		klog.FromContext(ctx).Error(err, "LeastWatt steps aside", "pod", klog.KObj(pod))
		return fwk.NewStatus(fwk.Skip, err.Error())
	}
	p.note(ctx, pod, d, &t, start)
	if p.shadow != nil {
		p.watched = shadowed{uid: pod.UID, demand: d, asked: true}
		if t.known > 0 {
			p.watched.best, p.watched.known = p.work.nodes[t.best[0]], true
		}
	}
	if t.known == 0 {
		return fwk.NewStatus(fwk.Skip, fmt.Sprintf("the cost is known of none of %d nodes", len(nodes)))
	}
	s.cycle = cs
	cs.Write(stateKey, s)
	p.last.Store(s)
	return nil
}

// fewest is up to how many candidates are looked at alone, without those beside them: kube-scheduler asks about the
// one node that it has just filled while it reuses what it knows of the others.
const fewest = 8

// tally is what came out for the candidates of one cycle.
type tally struct {
	candidates, known, over int
	assumed                 int // of known: by what pods request
	unknown                 [reasons]int
	best                    []int // places of the best known, best first
	lost                    []int // places of the first unknown
}

func (p *Plugin) predict(ctx context.Context, d scoring.Demand, nodes []fwk.NodeInfo, now time.Time) (*state, tally, error) {
	t := tally{candidates: len(nodes)}
	w := &p.work
	w.look(p.site.View())
	w.hear()
	w.round++
	few := len(nodes) <= fewest
	w.few = w.few[:0]
	w.seatAll(ctx, p.parallel, nodes)
	for _, i := range w.seated {
		if i < 0 {
			t.unknown[notWatched]++
		} else if few {
			w.few = append(w.few, i)
		}
	}
	all, err := p.score(ctx, d, now)
	if err != nil {
		return nil, t, err
	}
	n, m := len(w.nodes), &w.sheets[w.round%2]
	if few {
		slices.Sort(w.few)
		m.few = append(slices.Grow(m.few[:0], fewest), slices.Compact(w.few)...) // never nil
		n = len(m.few)
	}
	w.lent = true
	s := m.state(n)
	s.view, s.places, s.found, s.among = w.view, w.places, w.found, len(nodes)
	if few {
		s.few = m.few
	}
	for k := range s.cost {
		i := k
		if s.few != nil {
			i = int(s.few[k])
		}
		if w.marks[i].round != w.round {
			s.cost[k], s.tie[k] = math.NaN(), 0
			continue
		}
		c := &all[i]
		s.cost[k], s.tie[k] = c.value, c.tie
		switch {
		case math.Abs(c.value) <= math.MaxFloat64:
			t.known++
			if c.assumed {
				t.assumed++
			}
			if most := p.args.ExplainCandidates; len(t.best) < most || before(all, i, t.best[most-1]) {
				t.rank(all, i, most)
			}
		case c.value > 0:
			t.over++
		default:
			t.unknown[c.reason]++
			if len(t.lost) < p.args.ExplainCandidates {
				t.lost = append(t.lost, i)
			}
		}
	}
	if t.known > 0 {
		s.per, s.name = rawPer(all[t.best[0]].unit), w.nodes[t.best[0]].Name
	}
	m.best = m.best[:0]
	for _, k := range t.best {
		m.best = append(m.best, w.marks[k].candidate)
	}
	s.best = m.best
	return s, t, nil
}

// rank inserts a place among the best few, where it belongs.
func (t *tally) rank(all []price, i, few int) {
	k := len(t.best)
	if k == few {
		k--
	} else {
		t.best = append(t.best, i)
	}
	for ; k > 0 && before(all, i, t.best[k-1]); k-- {
		t.best[k] = t.best[k-1]
	}
	t.best[k] = i
}

// Score returns the cost of the pod on a node: marginal milliwatts, or finer parts of other units, absolute,
// lower is better. It cannot fail.
func (p *Plugin) Score(_ context.Context, cs fwk.CycleState, _ *v1.Pod, info fwk.NodeInfo) (int64, *fwk.Status) {
	s := p.read(cs)
	if s == nil {
		return rawUnknown, nil
	}
	i := s.at(s.places.find(info.GetGeneration(), info.Node(), s.found))
	if i < 0 {
		return rawUnknown, nil
	}
	return raw(s.cost[i], s.per), nil
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
