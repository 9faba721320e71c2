package batch

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// A Rebalancer proposes moves of running jobs. Plan reserves nothing: c is as it was when Plan returns. It
// is not safe for concurrent use.
type Rebalancer interface {
	Plan(ctx context.Context, now time.Duration, running []Running, c *Cluster) ([]Move, error)
}

// Running is a job on a node. Job.Demand.Lifetime is how much longer it is expected to run.
type Running struct {
	Job  Job
	Node int
}

// A Move takes a running job to another node. Running is an index into the jobs given. Moves are to be carried
// out in order: a later one may need the room that an earlier one leaves.
type Move struct {
	Running int
	To      int
	Saves   power.Joules // expected, the cost of the move taken off
}

// RebalanceOptions tune a rebalancer. The zero value works.
type RebalanceOptions struct {
	// Share is the largest share of the running jobs that is moved in an hour; 0 means 0.01. What is not
	// used is kept for at most an hour.
	Share float64

	// Cost is the energy that one move costs, for example to start the job again.
	Cost power.Joules

	// Horizon is how far ahead a saving counts, for jobs that run longer or for an unknown time; 0 means 12 hours.
	Horizon time.Duration
}

// NewRebalancer returns a rebalancer with Leastwatt's objective. It first drains servers that can be switched
// off, where that saves most for each move, and then moves the jobs that run in the wrong place for
// the longest time. A drained server may be replaced by a more efficient one that is off and has to be woken for it: whoever carries out
// the moves lets jobs run where they are until that is ready. Pinned jobs stay.
func NewRebalancer(o RebalanceOptions) Rebalancer {
	if o.Share == 0 {
		o.Share = 0.01
	}
	if o.Horizon <= 0 {
		o.Horizon = 12 * time.Hour
	}
	return &rebalancer{opts: o}
}

type rebalancer struct {
	opts   RebalanceOptions
	last   time.Duration
	called bool
	budget float64
}

// sources bounds how many nodes a plan takes jobs from, targets how many it looks at for each job, and replacements how many that are off for
// each node in use, so that a plan for thousands of nodes stays within milliseconds.
const (
	sources      = 64
	targets      = 64
	replacements = 6
)

func (r *rebalancer) Plan(ctx context.Context, now time.Duration, running []Running, c *Cluster) ([]Move, error) {
	perHour := r.opts.Share * float64(len(running))
	if r.called && now > r.last {
		r.budget = min(r.budget+perHour*(now-r.last).Hours(), max(perHour, 1))
	}
	r.called, r.last = true, now
	if r.budget < 1 {
		return nil, nil
	}
	t := &trial{c: c, now: now, opts: &r.opts, running: running, at: make([]int, len(running)), life: make([]float64, len(running)),
		promise: make([]float64, len(running)), on: make([][]int, c.Len()),
		saved: map[int]nodeState{}}
	defer t.undo()
	for k := range running {
		t.at[k] = running[k].Node
		t.life[k] = t.lasting(k)
		t.promise[k] = running[k].Job.Demand.CPU * t.life[k]
		t.on[running[k].Node] = append(t.on[running[k].Node], k)
	}
	left := int(r.budget)
	for left > 0 {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		t.rank()
		singles := t.singles()
		if c.switchOff {
			d := t.drain(max(left, int(perHour)))
			if len(d.moves) > 0 && (len(singles) == 0 || d.perMove() > singles[0].saves) {
				if len(d.moves) > left {
					break // worth saving up for
				}
				for _, m := range d.moves {
					t.carryOut(m)
				}
				left -= len(d.moves)
				continue
			}
		}
		if len(singles) == 0 {
			break
		}
		// A move may have used up what the next one wanted: each is worked out again, and waits for the next pass if
		// it has lost half of what it promised.
		carried := false
		for _, s := range singles {
			if left == 0 {
				break
			}
			m, saves := t.worth(s.moves[0].Running)
			if saves > s.saves/2 {
				t.carryOut(m)
				left--
				carried = true
			}
		}
		if !carried {
			break
		}
	}
	r.budget -= float64(len(t.moves))
	return t.moves, nil
}

// A proposal is moves that belong together.
type proposal struct {
	moves []Move
	saves float64 // joules
}

func (p *proposal) perMove() float64 {
	if len(p.moves) == 0 {
		return 0
	}
	return p.saves / float64(len(p.moves))
}

type nodeState struct {
	free  Resources
	use   float64
	jobs  int32
	until time.Duration
	off   bool
}

// A trial carries out moves on the cluster to see what follows, and takes them back.
type trial struct {
	c       *Cluster
	now     time.Duration
	opts    *RebalanceOptions
	running []Running
	at      []int
	life    []float64 // seconds for which a saving by moving each job lasts
	promise []float64 // core-seconds that moving it concerns
	on      [][]int   // running jobs per node
	moves   []Move
	saved   map[int]nodeState
	dear    []int // nodes to take from, the dearest first
	idle    []int // nodes without jobs that may replace others, the most efficient first
	cheap   []int // nodes to give to, the cheapest first
}

func (t *trial) keep(i int) {
	if _, ok := t.saved[i]; !ok {
		t.saved[i] = nodeState{t.c.free[i].clone(), t.c.use[i], t.c.jobs[i], t.c.until[i], t.c.nodes[i].Off}
	}
}

func (t *trial) undo() {
	for i, s := range t.saved {
		t.c.free[i], t.c.use[i], t.c.jobs[i], t.c.until[i], t.c.nodes[i].Off = s.free, s.use, s.jobs, s.until, s.off
		t.c.refresh(i)
	}
}

func (t *trial) carryOut(m Move) {
	k := m.Running
	t.shift(k, m.To)
	t.moves = append(t.moves, m)
}

// shift takes job k to another node within the trial.
func (t *trial) shift(k, to int) {
	from := t.at[k]
	t.keep(from)
	t.keep(to)
	t.c.Release(from, &t.running[k].Job)
	t.c.Reserve(to, &t.running[k].Job, t.now)
	t.on[from] = slices.DeleteFunc(t.on[from], func(x int) bool { return x == k })
	t.on[to] = append(t.on[to], k)
	t.at[k] = to
}

// rank orders the nodes that are in use by what a core costs there.
func (t *trial) rank() {
	c := t.c
	t.dear, t.cheap, t.idle = t.dear[:0], t.cheap[:0], t.idle[:0]
	slope := make([]float64, c.Len())
	for i := range c.nodes {
		if c.env[i] == nil || c.nodes[i].Down {
			continue
		}
		if c.switchOff && c.jobs[i] == 0 {
			slope[i] = t.filled(i)
			t.idle = append(t.idle, i)
			continue
		}
		u := c.use[i] / c.work[i]
		slope[i] = c.env[i].Slope(max(0, u-1e-9)) / c.work[i]
		if c.jobs[i] > 0 {
			t.dear = append(t.dear, i)
		}
		if c.freeCPU[i] > fitSlack {
			t.cheap = append(t.cheap, i)
		}
	}
	slices.SortStableFunc(t.idle, func(a, b int) int { return cmp.Compare(slope[a], slope[b]) })
	t.idle = t.idle[:min(len(t.idle), replacements)]
	slices.SortStableFunc(t.dear, func(a, b int) int { return cmp.Compare(slope[b], slope[a]) })
	for _, i := range t.cheap {
		slope[i] = c.env[i].Slope(c.use[i]/c.work[i]) / c.work[i]
	}
	slices.SortStableFunc(t.cheap, func(a, b int) int { return cmp.Compare(slope[a], slope[b]) })
	t.dear = t.dear[:min(len(t.dear), sources)]
	t.cheap = t.cheap[:min(len(t.cheap), targets)]
}

func (t *trial) lasts(k int) float64 { return t.life[k] }

// lasting is for how long a saving by moving job k lasts, in seconds.
func (t *trial) lasting(k int) float64 {
	l := t.running[k].Job.Demand.Lifetime
	if l <= 0 || l > t.opts.Horizon {
		l = t.opts.Horizon
	}
	return l.Seconds()
}

// watts is what taking the use of node i from a to b adds: half the true difference now, half along the envelope.
func (t *trial) watts(i int, a, b float64) float64 {
	w := t.c.work[i]
	return float64(t.c.curve[i].Rise(a/w, b/w)+t.c.env[i].Rise(a/w, b/w)) / 2
}

// target finds the cheapest node for job k that is in use and not its own, and the watts it adds there.
func (t *trial) target(k int) (int, float64) {
	j := &t.running[k].Job
	best, least := -1, math.Inf(1)
	for _, i := range t.cheap {
		if i == t.at[k] || !t.c.Fits(i, j) || t.c.switchOff && t.c.jobs[i] == 0 {
			continue
		}
		if w := t.watts(i, t.c.use[i], t.c.use[i]+j.Demand.CPU); w < least {
			best, least = i, w
		}
	}
	return best, least
}

// perSource bounds how many jobs of one node are looked at: those whose size and remaining life promise most.
const perSource = 32

// singles returns for each of the dear nodes the move of one job that saves most, the best first.
func (t *trial) singles() []proposal {
	var out []proposal
	for _, i := range t.dear {
		jobs := t.on[i]
		if len(jobs) > perSource {
			jobs = slices.Clone(jobs)
			slices.SortFunc(jobs, func(a, b int) int {
				if d := cmp.Compare(t.promise[b], t.promise[a]); d != 0 {
					return d
				}
				return a - b
			})
			jobs = jobs[:perSource]
		}
		var best proposal
		for _, k := range jobs {
			j := &t.running[k].Job
			if j.Pinned || j.Node != "" {
				continue
			}
			if m, saves := t.worth(k); saves > best.saves {
				best = proposal{[]Move{m}, saves}
			}
		}
		if len(best.moves) > 0 {
			out = append(out, best)
		}
	}
	slices.SortStableFunc(out, func(a, b proposal) int { return cmp.Compare(b.saves, a.saves) })
	return out
}

// worth returns the best move of job k and what it saves, in joules; 0 or less if there is none that pays.
func (t *trial) worth(k int) (Move, float64) {
	to, adds := t.target(k)
	if to < 0 {
		return Move{}, 0
	}
	i, d := t.at[k], t.running[k].Job.Demand.CPU
	freed := t.watts(i, max(0, t.c.use[i]-d), t.c.use[i])
	saves := (freed-adds)*t.lasts(k) - float64(t.opts.Cost)
	return Move{Running: k, To: to, Saves: power.Joules(saves)}, saves
}
