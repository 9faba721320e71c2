package scheduler

import (
	fwk "k8s.io/kube-scheduler/framework"
)

// tally is what came out for the candidates of one cycle.
type tally struct {
	candidates, known, over int
	assumed                 int // of known: by what pods request
	unknown                 [reasons]int
	best                    []ranked // the best known, best first
	lost                    []int    // places in the view of the first unknown
}

// ranked is one of the best candidates.
type ranked struct {
	i   int   // place in the view
	k   int   // place in the list of scores
	raw int64 // as it is in that list
}

// tally counts what the scores of a cycle are, all by the state of that cycle. The list may have scores of nodes that were asked about in
// an earlier cycle.
func (p *Plugin) tally(s *state, list fwk.NodeScoreList) tally {
	t := tally{candidates: len(list)}
	n := 0
	for i := range s.asked { // in the order of their names, and of memory
		if s.asked[i].Load() != s.round {
			continue
		}
		n++
		if raw := s.tags[i].raw; raw < rawOver && raw > p.enough(&t) {
			t.known++
		} else {
			p.add(&t, s, i, raw)
		}
	}
	if n != len(list) {
		t = p.tallyByName(s, list)
	}
	t.find(p, list)
	return t
}

// tallyByName counts what the scores are where some are of an earlier cycle. To look a name up takes as long as all the rest, so it is done
// for those alone that it tells something of.
func (p *Plugin) tallyByName(s *state, list fwk.NodeScoreList) tally {
	t := tally{candidates: len(list)}
	for k := range list {
		raw := list[k].Score
		switch {
		case list[k].Name == "": // see normalize
			t.unknown[otherReason]++
		case raw < rawOver && raw > p.enough(&t):
			t.known++
		default:
			p.add(&t, s, p.work.view.Index(list[k].Name), raw)
		}
	}
	return t
}

// enough returns above which cost nothing is to be told of a server but that it is known: the best are more than those that are told.
func (p *Plugin) enough(t *tally) int64 {
	if last := len(t.best) - 1; last+1 == p.args.ExplainCandidates && p.args.sources == fromSensors {
		return t.best[last].raw
	}
	return rawMost
}

// skipped counts what is known of the candidates of a cycle in which Score is not asked.
func (p *Plugin) skipped(s *state, nodes []fwk.NodeInfo) tally {
	t := tally{candidates: len(nodes)}
	for _, info := range nodes {
		i, raw := p.work.view.Index(info.Node().Name), int64(rawUnknown)
		if i >= 0 && s.of[i].version != 0 {
			raw = s.raw(&s.of[i])
		}
		p.add(&t, s, i, raw)
	}
	return t
}

// add counts the i-th server, or one that the view lacks, by its raw score.
func (p *Plugin) add(t *tally, s *state, i int, raw int64) {
	most := p.args.ExplainCandidates
	switch {
	case raw == rawOver:
		t.over++
	case raw >= rawUnknown && i < 0:
		t.unknown[notWatched]++
	case raw >= rawUnknown:
		t.unknown[s.of[i].reason]++
		if len(t.lost) < most {
			t.lost = append(t.lost, i)
		}
	default:
		t.known++
		if i < 0 {
			return // it has left since
		}
		if s.of[i].assumed {
			t.assumed++
		}
		r := ranked{i: i, k: -1, raw: raw}
		if len(t.best) == most {
			if !s.before(r, t.best[most-1]) {
				return
			}
			t.best = t.best[:most-1]
		}
		t.best = append(t.best, r)
		for k := len(t.best) - 1; k > 0 && s.before(r, t.best[k-1]); k-- {
			t.best[k-1], t.best[k] = r, t.best[k-1]
		}
	}
}

// before tells which of two servers is preferred: by the raw score, then by the cost before rounding, then as the scorer breaks ties,
// then by name. A score of an earlier cycle may be of one whose cost is unknown by now, which then loses against its like.
func (s *state) before(a, b ranked) bool {
	if a.raw != b.raw {
		return a.raw < b.raw
	}
	x, y := &s.of[a.i], &s.of[b.i]
	switch {
	case x.known() != y.known():
		return x.known()
	case x.known() && x.value != y.value:
		return x.value < y.value
	case x.known() && x.tie != y.tie:
		return x.tie < y.tie
	}
	return a.i < b.i // they are in the order of their names
}

// find looks for the places of the best in the list of scores.
func (t *tally) find(p *Plugin, list fwk.NodeScoreList) {
	if len(t.best) == 0 {
		return
	}
	worst, left := t.best[len(t.best)-1].raw, len(t.best)
	for k := range list {
		if list[k].Score > worst {
			continue
		}
		for b := range t.best {
			if r := &t.best[b]; r.k < 0 && r.raw == list[k].Score && p.work.nodes[r.i].Name == list[k].Name {
				r.k = k
				left--
				break
			}
		}
		if left == 0 {
			return
		}
	}
}
