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
		j := &s.p.Jobs[i]
		pl := s.feasible(j)
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
		plan.Placements[i] = s.late(&s.p.Jobs[i])
		s.take(&s.p.Jobs[i], &plan.Placements[i], -1)
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
		missing := func(t int) float64 {
			if s.p.Sites[site].Capacity[t] < j.Size-tiny(j.Size) {
				return math.Inf(1)
			}
			return max(0, j.Size-s.free[site][t]) * weight[site][t]
		}
		for t := from; t < until; t++ {
			v := 0.0
			for k := t; k < t+j.Length && v < value; k++ {
				v += missing(k)
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
	pl.each(j, func(t int) {
		for s.free[pl.Site][t] < j.Size-tiny(j.Size) {
			weight[pl.Site][t]++
			need := j.Size - s.free[pl.Site][t]
			pick := -1
			for k := range plan.Placements {
				if o := &plan.Placements[k]; o.Site == pl.Site && o.covers(&s.p.Jobs[k], t) && (pick < 0 || better(s.p.Jobs[k].Size, s.p.Jobs[pick].Size, need)) {
					pick = k
				}
			}
			if pick < 0 {
				return // rounding: nothing is there to lift
			}
			s.take(&s.p.Jobs[pick], &plan.Placements[pick], 1)
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

func (p *Placement) covers(j *Job, t int) bool {
	if p.Slots != nil {
		return slices.Contains(p.Slots, t)
	}
	return p.Start <= t && t < p.Start+j.Length
}
