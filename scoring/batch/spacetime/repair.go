package spacetime

import (
	"math"
	"slices"
)

// repair places the jobs that found no room in time. Each goes where the least has to give way, and what gives way looks for room
// anew; slots that were fought over become dearer, so that the same jobs do not push each other for ever (the breakout method, Morris
// 1993). What is still left then is placed late.
func (s *solver) repair(plan *Plan, left []int) {
	weight := make([][]float64, len(s.free))
	for i := range weight {
		weight[i] = slices.Repeat([]float64{1}, len(s.free[i]))
	}
	var lost []int
	for steps := 20*len(left) + 4*len(plan.Placements); len(left) > 0; steps-- {
		i := left[0]
		left = left[1:]
		j := &s.jobs[i]
		pl := s.feasible(i)
		if i >= s.real { // that was lifted: it goes where there is room, or is left out
			if plan.Placements[i] = pl; pl.Site >= 0 {
				s.take(j, &pl, -1)
			}
			continue
		}
		if pl.Site < 0 && steps > 0 {
			if pl = s.contested(j, weight); pl.Site >= 0 {
				left = append(left, s.evict(plan, j, &pl, weight)...)
			}
		}
		if plan.Placements[i] = pl; pl.Site < 0 {
			lost = append(lost, i)
			continue
		}
		s.take(j, &pl, -1)
	}
	for _, i := range lost {
		plan.Placements[i] = s.late(&s.jobs[i])
		s.take(&s.jobs[i], &plan.Placements[i], -1)
	}
}

// contested returns the placement in time for which the least weight of others has to give way; Site is -1 where the job is larger than
// the site itself in every window.
func (s *solver) contested(j *Job, weight [][]float64) Placement {
	best, value := Placement{Site: -1}, math.Inf(1)
	for site, e := range j.Energy {
		if !runs(e) {
			continue
		}
		from, until := s.window(j, site)
		missing := func(t int, size float64) float64 {
			if s.p.Sites[site].Capacity[t] < size-tiny(size) {
				return math.Inf(1)
			}
			return max(0, size-s.free[site][t]) * weight[site][t]
		}
		for t := from; t < until; t++ {
			v := missing(t+j.Length-1, j.Size*j.last())
			for k := t; k < t+j.Length-1 && v < value; k++ {
				v += missing(k, j.Size)
			}
			if v < value {
				value, best = v, Placement{Site: site, Start: t}
			}
		}
	}
	if best.Site >= 0 && j.Suspend {
		for k := range j.Length {
			best.Slots = append(best.Slots, best.Start+k)
		}
	}
	return best
}

// evict frees room for a placement by lifting jobs that overlap it, the smallest that suffices first, else the largest, and returns them.
func (s *solver) evict(plan *Plan, j *Job, pl *Placement, weight [][]float64) (out []int) {
	pl.Each(j, func(t int, share float64) {
		for s.free[pl.Site][t] < j.Size*share-tiny(j.Size) {
			weight[pl.Site][t]++
			need := j.Size*share - s.free[pl.Site][t]
			pick, least := -1, 0.0
			for k := range plan.Placements {
				o := &plan.Placements[k]
				if o.Site != pl.Site || t < o.Start || o.Slots == nil && t >= o.Start+s.jobs[k].Length {
					continue
				}
				if size := s.jobs[k].Size * o.share(&s.jobs[k], t); size > 0 && (pick < 0 || better(size, least, need)) {
					pick, least = k, size
				}
			}
			if pick < 0 {
				return // rounding: nothing is there to lift
			}
			s.take(&s.jobs[pick], &plan.Placements[pick], 1)
			plan.Placements[pick] = Placement{Site: -1}
			out = append(out, pick)
		}
	})
	return out
}

func better(size, than, need float64) bool {
	if (size >= need) != (than >= need) {
		return size >= need
	}
	return (size < than) == (size >= need)
}

// share is what a placement takes of a slot.
func (p *Placement) share(j *Job, t int) float64 {
	switch end := p.Start + j.Length - 1; {
	case p.Slots != nil && slices.Contains(p.Slots, t) || p.Slots == nil && t == end:
		return j.last()
	case p.Slots == nil && p.Start <= t && t < end:
		return 1
	}
	return 0
}
