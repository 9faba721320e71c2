package batch

import (
	"context"
	"fmt"
	"math"
	"time"
)

// MinMin schedules tasks on machines that run one task at a time (Ibarra and Kim, "Heuristic algorithms for scheduling independent
// tasks on nonidentical processors", Journal of the ACM 24, 1977; as Min-Min in Braun et al., Journal of Parallel and Distributed
// Computing 61, 2001). etc[t][m] is the time of task t on machine m, +Inf where it cannot run; ready[m] is when machine m is
// free. It repeatedly takes the task whose least completion time is smallest and gives it that machine.
// It returns the machine of each task (-1 where it can run nowhere) and the makespan. Ties go to lower numbers.
func MinMin(etc [][]float64, ready []float64) ([]int, float64, error) {
	return listSchedule(etc, ready, false)
}

// MaxMin is [MinMin] but for taking the task whose least completion time is largest.
func MaxMin(etc [][]float64, ready []float64) ([]int, float64, error) {
	return listSchedule(etc, ready, true)
}

func listSchedule(etc [][]float64, ready []float64, largest bool) ([]int, float64, error) {
	free := append([]float64(nil), ready...)
	var span float64
	for m, r := range free {
		if !(r >= 0 && r <= math.MaxFloat64) {
			return nil, 0, fmt.Errorf("machine %d is ready at %v", m, r)
		}
		span = max(span, r)
	}
	at := make([]int, len(etc)) // of each task: its best machine, or -1
	end := make([]float64, len(etc))
	done := make([]bool, len(etc))
	find := func(t int) {
		at[t], end[t] = -1, math.Inf(1)
		for m, d := range etc[t] {
			if c := free[m] + d; c < end[t] {
				at[t], end[t] = m, c
			}
		}
	}
	for t := range etc {
		if len(etc[t]) != len(free) {
			return nil, 0, fmt.Errorf("task %d has %d times for %d machines", t, len(etc[t]), len(free))
		}
		for m, d := range etc[t] {
			if !(d >= 0) {
				return nil, 0, fmt.Errorf("task %d takes %v on machine %d", t, d, m)
			}
		}
		find(t)
	}
	for {
		best := -1
		for t := range etc {
			if done[t] || at[t] < 0 {
				continue
			}
			if best < 0 || !largest && end[t] < end[best] || largest && end[t] > end[best] {
				best = t
			}
		}
		if best < 0 {
			return at, span, nil
		}
		done[best] = true
		m := at[best]
		free[m] = end[best]
		span = max(span, end[best])
		for t := range etc {
			if !done[t] && at[t] == m {
				find(t)
			}
		}
	}
}

// completion is Min-Min or Max-Min on servers that run many jobs at once: a job that fits completes after the
// server's wake-up and its own lifetime over the speed of a core; one that fits nowhere waits.
type completion struct {
	repeated
	name    string
	largest bool
}

func newCompletion(name string) *completion {
	return &completion{name: name, largest: name == "maxmin", repeated: repeated{cost: completes, more: true, life: true}}
}

// completes returns after how many seconds a job ends on a node.
func completes(c *Cluster, j *Job, i int) float64 {
	t := max(j.Demand.Lifetime.Seconds(), 1) / c.speed[i]
	if n := &c.nodes[i]; n.Off {
		t += n.Wake.Seconds()
	}
	return t
}

func (m *completion) Name() string { return m.name }

func (m *completion) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	return rounds(ctx, now, jobs, c, m.cheapest, m.largest)
}

// cheapest returns the node where a job completes first, and in how many seconds.
func (m *completion) cheapest(j *Job, c *Cluster) (int, float64) {
	if t := m.ranking(j, c); t != nil {
		i, best := t.best()
		if best >= unknownCost {
			best = math.Inf(1)
		}
		return i, best
	}
	life := max(j.Demand.Lifetime.Seconds(), 1)
	at, best, unknown := -1, math.Inf(1), -1
	s := c.scan(j)
	speed := c.speed[:len(s.fitCPU)]
	for i, fit := range s.fitCPU {
		if life/speed[i] >= best && best < math.Inf(1) { // waking takes no time away
			continue
		}
		if s.cpu > fit || s.mem > s.freeMem[i] || s.special && !c.fitsSpecial(i, j) {
			continue
		}
		t := completes(c, j, i)
		if t < best {
			at, best = i, t
		} else if unknown < 0 && unranked(t) {
			unknown = i
		}
	}
	if at < 0 {
		at = unknown
	}
	return at, best
}

// rounds repeatedly finds each job's cheapest node and places the job whose cheapest is cheapest of all (or dearest), within
// the highest priority first. Only jobs whose node was just used look again. cheapest returns a node, or -1, and its cost.
func rounds(ctx context.Context, now time.Duration, jobs []Job, c *Cluster, cheapest func(*Job, *Cluster) (int, float64), largest bool) (Plan, error) {
	var p Plan
	order := queue(jobs, &p)
	if len(order) == 1 {
		if i, _ := cheapest(&jobs[order[0]], c); i >= 0 {
			p.place(c, now, jobs, order[0], i)
		} else {
			p.wait(c, jobs, order[0])
		}
		return p, nil
	}
	at := make([]int, len(jobs))
	best := make([]float64, len(jobs))
	find := func(k int) { at[k], best[k] = cheapest(&jobs[k], c) }
	for from := 0; from < len(order); {
		to := from
		for to < len(order) && jobs[order[to]].Priority == jobs[order[from]].Priority {
			to++
		}
		group := order[from:to]
		for _, k := range group {
			find(k)
		}
		for len(group) > 0 {
			if ctx.Err() != nil {
				return p, ctx.Err()
			}
			pick := 0
			for g, k := range group {
				b := group[pick]
				if at[k] >= 0 && (at[b] < 0 || !largest && best[k] < best[b] || largest && best[k] > best[b]) {
					pick = g
				}
			}
			k := group[pick]
			if at[k] < 0 { // nothing fits any more
				for _, k := range group {
					p.wait(c, jobs, k)
				}
				break
			}
			node := at[k]
			p.place(c, now, jobs, k, node)
			group = append(group[:pick:pick], group[pick+1:]...)
			for _, k := range group {
				if at[k] == node {
					find(k)
				}
			}
		}
		from = to
	}
	return p, nil
}
