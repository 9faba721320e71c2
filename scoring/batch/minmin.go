package batch

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
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

func (*completion) forgets() bool { return true }

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
// the highest priority first. Only jobs whose node was just used look again, or all if that node was off, since nobody waits for it any more. Jobs that
// are alike look once. cheapest returns a node, or -1, and its cost.
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
	for from := 0; from < len(order); {
		to := from
		for to < len(order) && jobs[order[to]].Priority == jobs[order[from]].Priority {
			to++
		}
		if err := round(ctx, now, jobs, order[from:to], c, &p, cheapest, largest); err != nil {
			return p, err
		}
		from = to
	}
	return p, nil
}

// alike is jobs that differ in nothing that a node's cost depends on: they have the same cheapest node.
type alike struct {
	jobs []int // places in the group, in order
	at   int   // node, or -1
	best float64
}

// round places the jobs of one priority.
func round(ctx context.Context, now time.Duration, jobs []Job, group []int, c *Cluster, p *Plan, cheapest func(*Job, *Cluster) (int, float64), largest bool) error {
	type shape struct {
		cpu, mem, gpu, demand float64
		life                  time.Duration
		node                  string
	}
	var kinds []alike
	known := map[shape]int{}
	for g, k := range group {
		j := &jobs[k]
		s := shape{j.Requests.CPU, j.Requests.Memory, j.Requests.GPU, j.Demand.CPU, j.Demand.Lifetime, j.Node}
		n, ok := known[s]
		if !ok || len(j.Requests.Other) > 0 {
			n = len(kinds)
			kinds = append(kinds, alike{})
			if len(j.Requests.Other) == 0 {
				known[s] = n
			}
		}
		kinds[n].jobs = append(kinds[n].jobs, g)
	}
	find := func(a *alike) { a.at, a.best = cheapest(&jobs[group[a.jobs[0]]], c) }
	for n := range kinds {
		find(&kinds[n])
	}
	for len(kinds) > 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pick := 0
		for n := range kinds {
			a, b := &kinds[n], &kinds[pick]
			if a.at >= 0 && (b.at < 0 || !largest && a.best < b.best || largest && a.best > b.best || a.best == b.best && a.jobs[0] < b.jobs[0]) {
				pick = n
			}
		}
		a := &kinds[pick]
		if a.at < 0 { // nothing fits any more
			break
		}
		node := a.at
		woken := c.nodes[node].Off
		p.place(c, now, jobs, group[a.jobs[0]], node)
		if a.jobs = a.jobs[1:]; len(a.jobs) == 0 {
			kinds = slices.Delete(kinds, pick, pick+1)
		}
		for n := range kinds {
			if kinds[n].at == node || woken {
				find(&kinds[n])
			}
		}
	}
	waits := make([]Wait, 0, len(group))
	for n := range kinds {
		r := c.reason(&jobs[group[kinds[n].jobs[0]]])
		for _, g := range kinds[n].jobs {
			waits = append(waits, Wait{Job: g, Reason: r})
		}
	}
	slices.SortFunc(waits, func(a, b Wait) int { return cmp.Compare(a.Job, b.Job) })
	for n := range waits {
		waits[n].Job = group[waits[n].Job]
	}
	p.Waiting = append(p.Waiting, waits...)
	return nil
}
