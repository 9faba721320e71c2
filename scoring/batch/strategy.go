package batch

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// A Strategy decides where pending jobs go.
//
// Plan considers the jobs, in the order given within one priority, as of now. It reserves on c what it
// assigns; a caller that does not carry out an assignment releases it. Every job is either assigned or
// waiting. Plan does no input or output, returns when ctx is done, and decides the same from the same
// history of calls. It is not safe for concurrent use. The error concerns the call; what stops one
// job is that job's reason.
type Strategy interface {
	// Name is the strategy's name in lower case, as flags and reports use it.
	Name() string
	Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error)
}

// A Plan says what becomes of each job.
type Plan struct {
	Assigned []Assignment
	Waiting  []Wait
}

// An Assignment gives a job a node. Job and Node are indices into the jobs given and the cluster.
type Assignment struct {
	Job, Node int

	// For, if above 0, is how long a job that may be suspended is to run now; it then goes back to the queue with what
	// is left of it.
	For time.Duration
}

// A Wait says why a job has no node yet.
type Wait struct {
	Job    int
	Reason Reason
}

// A Reason is why a job waits.
type Reason struct {
	// Never says that no node of the cluster could take the job even if it were empty, or that the job is not
	// valid: Err says why.
	Never bool
	// Short names the resource that most nodes lack.
	Short string
	// Until, if after the now that Plan was given, says that the job is held on purpose, and when it wants to be asked about again. Asking
	// earlier does no harm.
	Until time.Duration
	// Planned is when it is planned to start, as far as that is known now; 0 where nothing is planned.
	Planned time.Duration
	// Err is set where a job is not valid.
	Err error
}

// String explains the reason in words.
func (r Reason) String() string {
	switch {
	case r.Err != nil:
		return r.Err.Error()
	case r.Never && r.Short != "":
		return fmt.Sprintf("larger than any node: %s", r.Short)
	case r.Never:
		return "no node could ever take it"
	case r.Planned > 0:
		return fmt.Sprintf("held, planned for %v", r.Planned)
	case r.Until > 0 && r.Short == "":
		return fmt.Sprintf("held until %v", r.Until)
	case r.Short != "":
		return fmt.Sprintf("no node has enough %s free", r.Short)
	}
	return "no node is free"
}

// place assigns job k of the plan and reserves its node.
func (p *Plan) place(c *Cluster, now time.Duration, jobs []Job, k, node int) {
	c.Reserve(node, &jobs[k], now)
	p.Assigned = append(p.Assigned, Assignment{Job: k, Node: node})
}

// wait records why job k stays.
func (p *Plan) wait(c *Cluster, jobs []Job, k int) {
	p.Waiting = append(p.Waiting, Wait{Job: k, Reason: c.reason(&jobs[k])})
}

// reason finds out why no node takes a job.
func (c *Cluster) reason(j *Job) Reason {
	if err := j.Validate(); err != nil {
		return Reason{Never: true, Err: err}
	}
	if j.Node != "" && c.Find(j.Node) < 0 {
		return Reason{Never: true, Err: fmt.Errorf("job %q: no node is named %q", j.Name, j.Node)}
	}
	largest := c.largest
	if short := j.Requests.Short(&largest); short != "" {
		return Reason{Never: true, Short: short}
	}
	if !c.CanEver(j) {
		return Reason{Never: true}
	}
	if !c.special(j) { // as most often, and for many jobs at once
		cpu, mem := j.Requests.CPU, j.Requests.Memory
		n, m := 0, 0
		freeMem := c.freeMem[:len(c.freeCPU)]
		for i, free := range c.freeCPU {
			a, b := 0, 0
			if cpu > free+fitSlack {
				a = 1
			}
			if mem > freeMem[i] {
				b = 1
			}
			if n += a; mem == 0 && a > 0 { // that is all it can lack
				break
			}
			m += b &^ a
		}
		switch {
		case n == 0 && m == 0:
			return Reason{}
		case m > n:
			return Reason{Short: "memory"}
		}
		return Reason{Short: "cpu"}
	}
	most, short := 0, ""
	var cpu, memory, gpu int
	var other map[string]int
	count := func(name string, n *int) {
		if *n++; *n > most || *n == most && name < short {
			most, short = *n, name
		}
	}
	for i := range c.nodes {
		switch name := j.Requests.Short(&c.free[i]); name {
		case "":
		case "cpu":
			count(name, &cpu)
		case "memory":
			count(name, &memory)
		case "gpu":
			count(name, &gpu)
		default:
			if other == nil {
				other = map[string]int{}
			}
			n := other[name]
			count(name, &n)
			other[name] = n
		}
	}
	return Reason{Short: short}
}

// queue returns the order in which to consider jobs: priority first, then as given; jobs that are not valid are left to
// wait.
func queue(jobs []Job, p *Plan) []int {
	order := make([]int, 0, len(jobs))
	sorted := true
	for k := range jobs {
		if err := jobs[k].Validate(); err != nil {
			p.Waiting = append(p.Waiting, Wait{Job: k, Reason: Reason{Never: true, Err: err}})
			continue
		}
		if n := len(order); n > 0 && jobs[k].Priority > jobs[order[n-1]].Priority {
			sorted = false
		}
		order = append(order, k)
	}
	if !sorted {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(jobs[b].Priority, jobs[a].Priority) })
	}
	return order
}

// A rule ranks the nodes for one job at a time; greedy is the strategy that follows it.
type rule interface {
	// choose returns the node for a job, or -1. Ties go to the earlier name.
	choose(j *Job, now time.Duration, c *Cluster) int
}

type greedy struct {
	name string
	rule rule
	one  []Assignment // room for plans of one job, many at a time
}

func (g *greedy) usesEnds(*Cluster) bool { return false }

// UsesEnds reports whether a strategy may go by until when nodes are in use, which [Cluster.SetUntil] tells. For one that does not, nobody needs to find
// that out.
func UsesEnds(s Strategy, c *Cluster) bool {
	u, ok := s.(interface{ usesEnds(*Cluster) bool })
	return !ok || u.usesEnds(c)
}

// Forgets reports whether a strategy keeps nothing of jobs that fit on no node, so that nobody needs to ask it about them again before something is
// released. Of a strategy from elsewhere it says no.
func Forgets(s Strategy) bool {
	f, ok := s.(interface{ forgets() bool })
	return ok && f.forgets()
}

func (g *greedy) forgets() bool { return true }

func (g *greedy) Name() string { return g.name }

func (g *greedy) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	return g.plan(ctx, now, jobs, c, false)
}

// plan ends with the first job that waits, if all shall find room or none.
func (g *greedy) plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster, all bool) (Plan, error) {
	var p Plan
	if len(jobs) == 1 && jobs[0].Validate() == nil { // as where jobs arrive one by one
		if i := g.rule.choose(&jobs[0], now, c); i >= 0 {
			if len(g.one) == 0 {
				g.one = make([]Assignment, 128)
			}
			p.Assigned, g.one = g.one[:0:1], g.one[1:]
			p.place(c, now, jobs, 0, i)
		} else {
			p.wait(c, jobs, 0)
		}
		return p, nil
	}
	// In a full cluster most jobs of a long queue fit nowhere. A job that asks for at least as much as
	// one that has failed in this call fails too, since nothing is released meanwhile.
	var f misfits
	for n, k := range queue(jobs, &p) {
		if n&255 == 255 && ctx.Err() != nil {
			return p, ctx.Err()
		}
		j := &jobs[k]
		if short, ok := f.covers(j); ok {
			r := Reason{Short: short}
			if !c.CanEver(j) {
				r = c.reason(j)
			}
			p.Waiting = append(p.Waiting, Wait{Job: k, Reason: r})
			continue
		}
		i := -1
		if c.mayFit(j) {
			i = g.rule.choose(j, now, c)
		}
		if i < 0 {
			if all {
				p.Waiting = append(p.Waiting, Wait{Job: k})
				return p, nil
			}
			p.wait(c, jobs, k)
			f.add(j, p.Waiting[len(p.Waiting)-1].Reason.Short)
			continue
		}
		p.place(c, now, jobs, k, i)
	}
	return p, nil
}

// misfits are jobs that fit nowhere, none of which asks for at least as much as another.
type misfits struct {
	jobs  []*Job
	short []string // what they lack
}

// maxMisfits bounds what is kept: a look at all of them is cheaper than one at all nodes.
const maxMisfits = 8

// covers tells whether one of the misfits asks for no more than a job does, and what that lacks.
func (f *misfits) covers(j *Job) (string, bool) {
	for k, o := range f.jobs {
		if atLeast(j, o) {
			return f.short[k], true
		}
	}
	return "", false
}

// add takes a job in that is not covered, in place of those that it covers.
func (f *misfits) add(j *Job, short string) {
	if j.Node != "" {
		return
	}
	n := 0
	for k, o := range f.jobs {
		if !atLeast(o, j) {
			f.jobs[n], f.short[n] = o, f.short[k]
			n++
		}
	}
	n = min(n, maxMisfits-1)
	f.jobs, f.short = append(f.jobs[:n], j), append(f.short[:n], short)
}

func atLeast(j, f *Job) bool {
	if j.Requests.CPU < f.Requests.CPU || j.Requests.Memory < f.Requests.Memory || j.Requests.GPU < f.Requests.GPU {
		return false
	}
	for name, v := range f.Requests.Other {
		if j.Requests.Other[name] < v {
			return false
		}
	}
	return true
}

// least returns the node with the least cost among those where the job fits. A cost that is not a number ranks
// behind every number, and the job still gets a node: unknown never wins and never blocks.
func least(c *Cluster, j *Job, cost func(i int) float64) int {
	best, bestCost, unknown := -1, math.Inf(1), -1
	cpu, mem, special := j.Requests.CPU, j.Requests.Memory, c.special(j)
	for i, free := range c.fitCPU {
		if cpu > free || mem > c.freeMem[i] || special && !c.fitsSpecial(i, j) {
			continue
		}
		switch v := cost(i); {
		case v < bestCost:
			best, bestCost = i, v
		case unranked(v):
			if unknown < 0 {
				unknown = i
			}
		}
	}
	if best < 0 {
		return unknown
	}
	return best
}
