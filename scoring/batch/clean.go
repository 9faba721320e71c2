package batch

import (
	"context"
	"math"
	"slices"
	"time"
)

// A score says for each node what a job costs there, lower is better; NaN is unknown. It fills b.cost.
type score func(b *scoredClean, j *Job, now time.Duration, c *Cluster)

// scoredClean places one job at a time by a score, over all nodes that could ever take it.
type scoredClean struct {
	clean
	name  string
	score score

	can              []bool // the node could take the job if it were empty
	cost             []float64
	grams, wait, use []float64
	sorted           []float64
}

func (b *scoredClean) Name() string { return b.name }

// longestWait is for how long ciaware waits for a node that is in use while another is free.
const longestWait = time.Hour

func (b *scoredClean) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	var p Plan
	b.look(c, now, 1)
	b.can, b.cost = slices.Grow(b.can[:0], c.Len())[:c.Len()], slices.Grow(b.cost[:0], c.Len())[:c.Len()]
	for _, k := range queue(jobs, &p) {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		j := &jobs[k]
		for i := range c.nodes {
			n := &c.nodes[i]
			b.can[i] = !n.Down && (j.Node == "" || j.Node == n.Name) && j.Requests.Fits(&n.Allocatable)
		}
		b.score(b, j, now, c)
		best, free := -1, -1 // of all, and of those with room now
		for i, v := range b.cost {
			if !b.can[i] {
				continue
			}
			if best < 0 || before(v, b.cost[best]) {
				best = i
			}
			if c.Fits(i, j) && (free < 0 || before(v, b.cost[free])) {
				free = i
			}
		}
		if free < 0 {
			p.wait(c, jobs, k)
			continue
		}
		if best != free && before(b.cost[best], b.cost[free]) {
			until, latest := c.until[best], b.latest(j, now)
			if until > now && until <= j.Submitted+longestWait && (latest < 0 || until <= latest) {
				p.Waiting = append(p.Waiting, Wait{Job: k, Reason: Reason{Until: until}})
				continue
			}
		}
		p.place(c, now, jobs, k, free)
	}
	return p, nil
}

// before orders costs with unknown after all known.
func before(a, b float64) bool {
	return a < b || b != b && a == a
}

// robust scales values to 0–1 by their 5th and 95th percentile, over the nodes that can take the job. Where these are equal all are 0.
// Unknown stays unknown.
func (b *scoredClean) robust(v []float64) {
	b.sorted = b.sorted[:0]
	for i, x := range v {
		if b.can[i] && x == x {
			b.sorted = append(b.sorted, x)
		}
	}
	if len(b.sorted) == 0 {
		return
	}
	slices.Sort(b.sorted)
	last := float64(len(b.sorted) - 1)
	lo, hi := b.sorted[int(math.Round(0.05*last))], b.sorted[int(math.Round(0.95*last))]
	for i, x := range v {
		switch {
		case x != x:
		case hi > lo:
			v[i] = min(1, max(0, (x-lo)/(hi-lo)))
		default:
			v[i] = 0
		}
	}
}

// hours is how long a job is expected to run; an unknown lifetime counts as an hour, the same everywhere.
func hours(j *Job) float64 {
	if j.Demand.Lifetime <= 0 {
		return 1
	}
	return j.Demand.Lifetime.Hours()
}

func utilization(c *Cluster, i int, extra float64) float64 {
	if c.work[i] > 0 {
		return (c.use[i] + extra) / c.work[i]
	}
	return 0
}

// ciAware is KubeEnergyScheduler's policy with its units put right: the grams that the job adds (watts added × lifetime × intensity, PUE and k),
// the time until the node has room, and the node's utilization, each scaled robustly over the candidates, weighted and added.
func ciAware(b *scoredClean, j *Job, now time.Duration, c *Cluster) {
	n := c.Len()
	b.grams, b.wait, b.use = slices.Grow(b.grams[:0], n)[:n], slices.Grow(b.wait[:0], n)[:n], slices.Grow(b.use[:0], n)[:n]
	for i := range n {
		b.grams[i] = c.added(i, j.Demand.CPU) / 1000 * hours(j) * b.now(b.of[i])
		b.wait[i] = 0
		if !c.Fits(i, j) {
			b.wait[i] = max(0, c.until[i]-now).Seconds()
		}
		b.use[i] = utilization(c, i, j.Demand.CPU)
	}
	b.robust(b.grams)
	b.robust(b.wait)
	b.robust(b.use)
	for i := range n {
		b.cost[i] = b.opts.CostWeight*b.grams[i] + b.opts.WaitWeight*b.wait[i] + b.opts.UseWeight*b.use[i]
	}
}

// intensities puts the scaled cost of a kilowatt-hour at each node into b.grams.
func (b *scoredClean) intensities(c *Cluster) {
	b.grams = slices.Grow(b.grams[:0], c.Len())[:c.Len()]
	for i := range b.grams {
		b.grams[i] = b.now(b.of[i])
	}
	b.robust(b.grams)
}

// carbonScaler is utilization + λ·ci', which KubeEnergyScheduler names after CarbonScaler.
func carbonScaler(b *scoredClean, j *Job, _ time.Duration, c *Cluster) {
	b.intensities(c)
	for i := range b.cost {
		b.cost[i] = utilization(c, i, j.Demand.CPU) + b.opts.Lambda*b.grams[i]
	}
}

// ecovisor is utilization / (1 + λ·ci'), the highest first, which KubeEnergyScheduler names after Ecovisor: the fullest server of the
// cleanest site.
func ecovisor(b *scoredClean, j *Job, _ time.Duration, c *Cluster) {
	b.intensities(c)
	for i := range b.cost {
		b.cost[i] = -utilization(c, i, j.Demand.CPU) / (1 + b.opts.Lambda*b.grams[i])
	}
}

// greenAlgorithms is the carbon footprint of Lannelongue, Grealey and Inouye (Green Algorithms, Advanced Science 2021): runtime × (cores ×
// watts a core × use + GB × 0.3725 W) × PUE × intensity. The watts of a core are the server's full power over its cores.
func greenAlgorithms(b *scoredClean, j *Job, _ time.Duration, c *Cluster) {
	const wattsPerGB = 0.3725
	for i := range b.cost {
		b.cost[i] = math.NaN()
		if p := c.curve[i]; p != nil && c.nodes[i].Capacity.Cores > 0 {
			watts := j.Demand.CPU*float64(p.At(1))/c.nodes[i].Capacity.Cores + j.Requests.Memory/1e9*wattsPerGB
			b.cost[i] = watts / 1000 * hours(j) * b.now(b.of[i])
		}
	}
}

// threshold delays work while a kilowatt-hour costs more than a threshold at every site, as Compute Gardener does for one, and places
// what it releases as Kubernetes does, at the sites below the threshold. Nothing is held without a known cost.
type threshold struct {
	clean
}

func (*threshold) Name() string { return "threshold" }

func (b *threshold) Plan(ctx context.Context, now time.Duration, jobs []Job, c *Cluster) (Plan, error) {
	var p Plan
	day := max(1, int(24*time.Hour/b.grid.Slot()))
	b.look(c, now, day)
	limit := b.opts.Threshold
	if limit == 0 {
		limit = b.mean()
	}
	clean, unknown := make([]bool, len(b.sites)), false
	for s := range b.sites {
		clean[s] = b.now(s) <= limit
		unknown = unknown || math.IsNaN(b.now(s))
	}
	for _, k := range queue(jobs, &p) {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		j := &jobs[k]
		latest := b.latest(j, now)
		if latest < 0 {
			latest = j.Submitted + b.opts.MaxDelay
		}
		if !unknown && !slices.Contains(clean, true) && now < latest {
			p.Waiting = append(p.Waiting, Wait{Job: k, Reason: Reason{Until: min(b.nextSlot(now), latest)}})
			continue
		}
		i := least(c, j, func(i int) float64 {
			v := -kubernetesScore(requested(c.freeCPU[i], j.Requests.CPU, c.perCPU[i]), requested(c.freeMem[i], j.Requests.Memory, c.perMem[i]))
			if !clean[b.of[i]] {
				v += 1e6 // only where no clean site has room
			}
			return v
		})
		if i < 0 {
			p.wait(c, jobs, k)
			continue
		}
		p.place(c, now, jobs, k, i)
	}
	return p, nil
}

// mean is the mean of all known costs ahead, or +Inf.
func (b *threshold) mean() float64 {
	sum, n := 0.0, 0
	for _, a := range b.ahead {
		for _, v := range a {
			if v == v {
				sum, n = sum+v, n+1
			}
		}
	}
	if n == 0 {
		return math.Inf(1)
	}
	return sum / float64(n)
}
