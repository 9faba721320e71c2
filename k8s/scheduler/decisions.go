package scheduler

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// A Candidate is a node's part in a decision.
type Candidate struct {
	scoring.Candidate

	// Score is what the plugin gave the node, 0 to 100; -1 if it was not asked.
	Score int64
}

// A Decision is one pod's way to a node, as far as this plugin had a say in it.
type Decision struct {
	Time      time.Time
	Profile   string
	Namespace string
	Name      string
	UID       types.UID
	Demand    scoring.Demand

	// Candidates is the number of nodes that could take the pod, and Known, OverCapacity and Unknown how
	// many of them were what. All are 0 when the plugin was not asked: there was one candidate, or the
	// scheduler reused scores of an earlier pod.
	Candidates, Known, OverCapacity int
	Unknown                         map[string]int // by reason

	// Best explains the best candidates, best first, by this plugin alone.
	Best []Candidate

	// UnknownNodes tells of some of the unknown candidates, as many as of the best, why they are. Their rank
	// is 0.
	UnknownNodes []Candidate

	// Chosen is the node that the scheduler chose, with the help of its other plugins; "" if none was.
	Chosen string

	// ChosenCandidate explains the chosen node; nil if it is not known. Its rank counts only when it is
	// among Best and is 0 otherwise.
	ChosenCandidate *Candidate

	// Shadow says that the plugin only watched.
	Shadow bool

	// Undone says that the pod did not get there after all, and was queued again.
	Undone bool
}

// Decisions keeps the last decisions of all profiles. The zero value keeps none until a plugin asks for
// more. It is safe for concurrent use.
type Decisions struct {
	mu   sync.Mutex
	ring []record // guarded by mu
	next int      // guarded by mu: where the next decision goes
	size int      // guarded by mu: how many are kept at most
	most int      // guarded by mu: how many candidates each explains at most
	made int      // guarded by mu: how many there ever were
}

// A record is a decision before it is explained, which costs more than most are worth.
type record struct {
	Decision
	scorer scoring.Scorer
	best   []scoring.Node
	lost   []scoring.Node // some of the unknown
	scores []int64        // beside best; empty before NormalizeScore
	chosen scoring.Node
	known  bool // chosen is filled in
}

// clone returns a copy that the ring, which uses its memory again, does not change.
func (r record) clone() record {
	r.best, r.lost, r.scores = slices.Clone(r.best), slices.Clone(r.lost), slices.Clone(r.scores)
	return r
}

// maxKept is how many candidates the kept decisions explain at most, all together: each takes about 450 bytes, for one that
// is known and one that is not.
const maxKept = 50000

func errKept(decisions, candidates int) error {
	return fmt.Errorf("keepDecisions × explainCandidates is %d × %d: want at most %d, which is 23 MB", decisions, candidates, maxKept)
}

// keep makes room for n decisions of so many candidates; it never takes room away. The decisions of all profiles are kept
// in one place, so the most of each counts.
func (d *Decisions) keep(n, candidates int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a, b := max(n, d.size), max(candidates, d.most); a*b > maxKept {
		return fmt.Errorf("of all profiles together, %w", errKept(a, b))
	}
	d.most = max(d.most, candidates)
	if n > d.size {
		// In order, oldest first, so that the ring can grow at its end.
		d.ring = append(slices.Clone(d.ring[d.next:]), d.ring[:d.next]...)
		d.size, d.next = n, len(d.ring)
	}
	return nil
}

// slot returns the place of the next record, with its memory to be used again, or nil if none are kept.
func (d *Decisions) slot() *record {
	if d.size == 0 {
		return nil
	}
	d.made++
	if len(d.ring) < d.size {
		d.ring = append(d.ring, record{})
		d.next = len(d.ring) % d.size
		return &d.ring[len(d.ring)-1]
	}
	r := &d.ring[d.next]
	d.next = (d.next + 1) % d.size
	*r = record{best: r.best[:0], lost: r.lost[:0], scores: r.scores[:0]}
	return r
}

// latest returns the last record if it is of the pod.
func (d *Decisions) latest(uid types.UID) *record {
	if len(d.ring) == 0 {
		return nil
	}
	if r := &d.ring[(d.next+len(d.ring)-1)%len(d.ring)]; r.UID == uid {
		return r
	}
	return nil
}

// number returns the number of the last record if it is of the pod, else 0.
func (d *Decisions) number(uid types.UID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.latest(uid) == nil {
		return 0
	}
	return d.made
}

// numbered returns the record of a number, or nil where it is not kept.
func (d *Decisions) numbered(i int) *record {
	back := d.made - i // from the newest
	if i <= 0 || back < 0 || back >= len(d.ring) {
		return nil
	}
	return &d.ring[(d.next+2*len(d.ring)-1-back)%len(d.ring)]
}

func (p *Plugin) decision(pod *v1.Pod, demand scoring.Demand, at time.Time) Decision {
	return Decision{Time: at, Profile: p.profile, Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, Demand: demand, Shadow: p.shadow != nil}
}

// note keeps what came out for the candidates of a pod, and logs it at debug level.
func (p *Plugin) note(ctx context.Context, pod *v1.Pod, s *state, t *tally) {
	log := klog.FromContext(ctx).V(4)
	r := record{Decision: p.decision(pod, s.demand, s.began), scorer: p.scorer}
	r.Candidates, r.Known, r.OverCapacity = t.candidates, t.known, t.over
	for k, n := range t.unknown {
		if n > 0 {
			if r.Unknown == nil {
				r.Unknown = make(map[string]int)
			}
			r.Unknown[reason(k).String()] = n
		}
	}
	p.decisions.mu.Lock()
	defer p.decisions.mu.Unlock()
	into := p.decisions.latest(pod.UID)
	if into == nil || into.Chosen != "" || into.Undone {
		into = p.decisions.slot()
	}
	if into == nil {
		if !log.Enabled() {
			return
		}
		into = &record{}
	}
	r.best, r.lost, r.scores = into.best[:0], into.lost[:0], into.scores[:0]
	for _, b := range t.best {
		r.best = append(r.best, still(&p.work.nodes[b.i]))
	}
	for _, i := range t.lost {
		r.lost = append(r.lost, still(&p.work.nodes[i]))
	}
	*into = r
	if log.Enabled() {
		e := into.explain(ctx)
		log.Info("Predicted", "pod", klog.KObj(pod), "cpu", e.Demand.CPU, "gpus", e.Demand.GPUs, "candidates", e.Candidates, "known", e.Known,
			"overCapacity", e.OverCapacity, "unknown", e.Unknown)
		for i := range e.Best {
			c := &e.Best[i]
			log.Info("Candidate", "pod", klog.KObj(pod), "node", c.Node, "rank", c.Rank, "wattsBefore", float64(c.Before),
				"wattsAfter", float64(c.After), "cost", c.Cost.Value, "unit", c.Cost.Unit.String(), "source", c.Source, "age", c.Age, "model", c.Model, "reason", c.Reason)
		}
		for i := range e.UnknownNodes {
			log.Info("Unknown", "pod", klog.KObj(pod), "node", e.UnknownNodes[i].Node, "reason", e.UnknownNodes[i].Reason)
		}
	}
}

// still returns a server as it is now, whatever electricity costs there later.
func still(n *scoring.Node) scoring.Node {
	s := *n
	s.Meter = n.Meter.Still()
	return s
}

// scored notes the scores of the best candidates.
func (d *Decisions) scored(pod *v1.Pod, best []ranked, list fwk.NodeScoreList) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.latest(pod.UID)
	if r == nil || r.Chosen != "" {
		return
	}
	r.scores = r.scores[:0]
	for _, b := range best {
		score := int64(-1)
		if b.k >= 0 {
			score = list[b.k].Score
		}
		r.scores = append(r.scores, score)
	}
}

// chose notes the node that the scheduler chose; n is what was known of it, or nil. The number is that of the decision when the pod was
// tried as one of a group, or 0.
func (p *Plugin) chose(pod *v1.Pod, node string, n *scoring.Node, tried int) {
	d := p.decisions
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.latest(pod.UID)
	if t := d.numbered(tried); t != nil && t.UID == pod.UID && t.Chosen == "" {
		r, t.Undone = t, false
	}
	if r == nil || r.Chosen != "" || r.Undone {
		if r = d.slot(); r == nil {
			return
		}
		r.Decision, r.scorer = p.decision(pod, p.demand(pod), time.Now()), p.scorer
	}
	r.Chosen = node
	if n != nil {
		r.chosen, r.known = still(n), true
	}
	p.told.put(*r)
}

// undone notes that a pod did not get to its node; no node is noted where another plugin reserved nothing, before us.
func (d *Decisions) undone(pod *v1.Pod, node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.ring {
		if r := &d.ring[i]; r.UID == pod.UID && (r.Chosen == node || r.Chosen == "") {
			r.Undone = true
		}
	}
}

// Last returns the decisions that are kept, newest first, explained.
func (d *Decisions) Last(ctx context.Context) []Decision {
	return d.last(ctx, math.MaxInt, "")
}

// none tells whether no decision is kept.
func (d *Decisions) none() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ring) == 0
}

// last returns up to n of them, whose NAMESPACE/NAME holds a text. It copies those alone, one at a time: the scheduler waits
// meanwhile.
func (d *Decisions) last(ctx context.Context, n int, pod string) []Decision {
	d.mu.Lock()
	from := d.made
	d.mu.Unlock()
	var out []Decision
	for i := from; i > 0 && len(out) < n; i-- {
		r, ok, more := d.at(i, pod)
		if !more {
			break
		}
		if ok {
			out = append(out, r.explain(ctx))
		}
	}
	return out
}

// at returns a copy of the i-th decision that there ever was, if its name holds a text; more is false where neither it nor
// one before it is kept.
func (d *Decisions) at(i int, pod string) (r record, ok, more bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.numbered(i)
	if x == nil {
		return record{}, false, false
	}
	if !strings.Contains(x.Namespace+"/"+x.Name, pod) {
		return record{}, false, true
	}
	return x.clone(), true, true
}

func (r *record) explain(ctx context.Context) Decision {
	e, scorer := r.Decision, r.scorer
	if len(r.best) > 0 {
		scorer = scoring.Among(scorer, r.best) // what decided the unit of all
	}
	// An error concerns the call (its ctx has ended): the counts still tell something.
	best, _ := scoring.Explain(ctx, scorer, r.Demand, r.best, r.Time)
	e.Best = make([]Candidate, len(best))
	for i := range best {
		e.Best[i] = Candidate{Candidate: best[i], Score: -1}
		if i < len(r.scores) {
			e.Best[i].Score = r.scores[i]
		}
		if r.known && best[i].Node == e.Chosen {
			e.ChosenCandidate = &e.Best[i]
		}
	}
	lost, _ := scoring.Explain(ctx, scorer, r.Demand, r.lost, r.Time)
	for i := range lost {
		lost[i].Rank = 0
		e.UnknownNodes = append(e.UnknownNodes, Candidate{Candidate: lost[i], Score: -1})
	}
	if !r.known || e.ChosenCandidate != nil {
		return e
	}
	nodes := []scoring.Node{r.chosen}
	if len(r.best) > 0 {
		nodes = append(nodes, r.best[0]) // to be compared with
	}
	all, _ := scoring.Explain(ctx, scorer, r.Demand, nodes, r.Time)
	for i := range all {
		if all[i].Node == e.Chosen {
			e.ChosenCandidate = &Candidate{Candidate: all[i], Score: -1}
			e.ChosenCandidate.Rank = 0
		}
	}
	return e
}
