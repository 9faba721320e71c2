package scheduler

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"slices"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
)

// Raw scores are costs: milliwatts, or see rawPer. Lower is better, and they are absolute, so that
// kube-scheduler may mix those of one cycle with those of the next. Two values are no costs.
const (
	rawUnknown = math.MaxInt64     // too little is known of the node
	rawOver    = math.MaxInt64 - 1 // the node is known to be over capacity
	rawMost    = 1 << 53           // the largest cost, above or below 0
)

// Scores after normalization. Costs share what lies between.
const (
	levelUnknown = fwk.MinScore
	levelOver    = levelUnknown + 1
	levelWorst   = levelOver + 1
	levelBest    = fwk.MaxScore
	levelTied    = levelBest - 1 // as cheap as the best, which is preferred for leaving others free
)

// ScoreExtensions implements the framework's ScorePlugin.
func (p *Plugin) ScoreExtensions() fwk.ScoreExtensions { return p }

// NormalizeScore turns costs into scores from 0 to 100. The cheapest node alone gets 100; of nodes that are
// equally cheap it is the one that is open already and fullest. A cheaper node never gets a lower score
// than a dearer one, and distinct costs get distinct scores while there are scores left. A node over
// capacity gets 1, one that is not known 0. So do all when the prediction failed as a whole, and all
// of a cycle that is not the last one that PreScore saw.
func (p *Plugin) NormalizeScore(ctx context.Context, cs fwk.CycleState, pod *v1.Pod, scores fwk.NodeScoreList) *fwk.Status {
	if s := p.last.Load(); s != nil && s.cycle == cs {
		p.conclude(ctx, s, pod, scores)
	} else {
		unknown(scores)
	}
	if p.shadow != nil {
		for i := range scores {
			scores[i].Score = 0 // no part in the choice
		}
	}
	return nil
}

// conclude normalizes the scores of a cycle, and keeps what came out.
func (p *Plugin) conclude(ctx context.Context, s *state, pod *v1.Pod, scores fwk.NodeScoreList) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.settle()
	if s.err != nil {
		p.stepAside(ctx, pod, s.err)
		unknown(scores)
		return
	}
	t := p.tally(s, scores)
	best := -1
	if len(t.best) > 0 {
		best = t.best[0].k
	}
	normalize(scores, best)
	p.metrics.count(&t)
	p.note(ctx, pod, s, &t)
	p.decisions.scored(pod, t.best, scores)
	if p.shadow != nil && len(t.best) > 0 {
		p.watched.best, p.watched.known = p.work.nodes[t.best[0].i], true
	}
}

// unknown makes all scores those of nodes that are not known.
func unknown(scores fwk.NodeScoreList) {
	for i := range scores {
		scores[i].Score = levelUnknown
	}
}

// normalize normalizes raw scores. The best is the place of one of the lowest, or -1: then it is the first of them by name.
func normalize(scores fwk.NodeScoreList, best int) {
	lo, hi, first, tied := int64(rawMost+1), int64(-rawMost-1), -1, false
	for i := range scores {
		raw := scores[i].Score
		if raw < rawOver {
			raw = min(max(raw, -rawMost), rawMost)
			scores[i].Score = raw
		}
		switch {
		case scores[i].Name == "":
			// The framework leaves an entry empty when an earlier cycle, from which it reuses
			// scores, had skipped the plugin.
			scores[i].Score = rawUnknown
		case raw >= rawOver:
		case raw < lo:
			lo, first, tied = raw, i, false
			hi = max(hi, raw)
		case raw == lo:
			if tied = true; best < 0 && scores[i].Name < scores[first].Name {
				first = i
			}
		default:
			hi = max(hi, raw)
		}
	}
	if best < 0 || scores[best].Score != lo {
		best = first
	}
	l := levels{lo: lo, hi: hi, top: levelTied}
	if tied {
		l.top-- // the tied ones have their own
	}
	l.collect(scores)
	for i := range scores {
		switch raw := scores[i].Score; {
		case i == best:
			scores[i].Score = levelBest
		case raw == rawUnknown:
			scores[i].Score = levelUnknown
		case raw == rawOver:
			scores[i].Score = levelOver
		case raw == lo:
			scores[i].Score = levelTied
		default:
			scores[i].Score = l.of(raw)
		}
	}
}

// levels gives each cost above lo a level from top down to levelWorst, the cheaper the higher. Few
// distinct costs (the usual case: pods of one kind on servers of some kinds) are placed in proportion,
// but always apart. Many are gathered into buckets that are finest next to the cheapest; those next to it
// get a level each and the others share. Neither sorts all scores: this runs for every pod.
type levels struct {
	lo, hi, top int64

	n     int // distinct costs in table
	many  bool
	cost  [tableSize]int64
	level [tableSize]uint8 // 0 is a free place

	bucket [buckets]uint8
}

const (
	tableSize = 512 // a few times the number of levels, so that probes are short

	// Buckets are linear below 2·fine, then fine per power of two.
	fine    = 32
	buckets = 51 * fine // differences are at most 2·rawMost = 2^54
)

func (l *levels) collect(scores fwk.NodeScoreList) {
	room := int(l.top - levelWorst + 1)
	for i := range scores {
		if raw := scores[i].Score; raw > l.lo && raw < rawOver {
			if k := l.find(raw); l.level[k] == 0 {
				if l.n == room {
					l.many = true
					break
				}
				l.cost[k], l.level[k] = raw, 1
				l.n++
			}
		}
	}
	if l.many {
		l.spreadBuckets(scores)
	} else if l.n > 0 {
		l.spreadCosts()
	}
}

// find returns the place of a cost in the table, or the free place where it would go.
func (l *levels) find(raw int64) int {
	k := int(uint64(raw) * 0x9e3779b97f4a7c15 >> 55) // Fibonacci hashing: Knuth, The Art of Computer Programming 3, 6.4
	for l.level[k] != 0 && l.cost[k] != raw {
		k = (k + 1) % tableSize
	}
	return k
}

func (l *levels) spreadCosts() {
	places := make([]int, 0, 128)
	for k := range l.level {
		if l.level[k] != 0 {
			places = append(places, k)
		}
	}
	slices.SortFunc(places, func(a, b int) int { return cmp.Compare(l.cost[a], l.cost[b]) })
	scale := float64(l.top-levelWorst) / float64(l.hi-l.lo)
	last := l.top + 1
	for i, k := range places {
		level := levelWorst + int64(float64(l.hi-l.cost[k])*scale+0.5)
		level = max(min(level, last-1), levelWorst+int64(len(places)-1-i))
		l.level[k], last = uint8(level), level
	}
}

func (l *levels) spreadBuckets(scores fwk.NodeScoreList) {
	for i := range scores {
		if raw := scores[i].Score; raw > l.lo && raw < rawOver {
			l.bucket[bucket(uint64(raw-l.lo))] = 1
		}
	}
	used := int64(0)
	for _, u := range l.bucket {
		used += int64(u)
	}
	i := int64(0)
	for k, u := range l.bucket {
		if u != 0 {
			l.bucket[k] = uint8(l.share(i, used))
			i++
		}
	}
}

// share returns the level of the i-th of n buckets, best first.
func (l *levels) share(i, n int64) int64 {
	room := l.top - levelWorst
	if n-1 <= room {
		return l.top - i*room/max(n-1, 1)
	}
	own := room / 2
	if i <= own {
		return l.top - i
	}
	return l.top - own - (i-own)*(room-own)/(n-1-own)
}

// bucket is monotone: a larger difference has the same or a later bucket.
func bucket(d uint64) int {
	if d < 2*fine {
		return int(d)
	}
	shift := bits.Len64(d) - 6 // leaves fine ≤ d>>shift < 2·fine
	return shift*fine + int(d>>shift)
}

func (l *levels) of(raw int64) int64 {
	if l.many {
		return int64(l.bucket[bucket(uint64(raw-l.lo))])
	}
	return int64(l.level[l.find(raw)])
}
