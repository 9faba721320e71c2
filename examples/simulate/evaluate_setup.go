package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// A scenario is one cell of an evaluation: a trace, servers, a load, and what the strategy may know and do.
type scenario struct {
	trace     string
	jobs      []simulate.Job
	machines  []machine
	identical bool // one machine for all servers, another for each seed
	servers   int
	load      float64
	off       bool
	told      bool    // lifetimes and models are known
	moves     float64 // share of the running jobs that may be moved in an hour
	memory    float64 // GiB a core; 0 does not limit
	warmup    time.Duration
	hours     time.Duration
	longest   time.Duration // cuts lifetimes; 0 does not
	weights   *batch.Weights
}

// mode names how the servers are run, as the tables do.
func (c *scenario) mode() string {
	if c.off {
		return "off"
	}
	return "on"
}

// strategyOf makes a strategy of batch's, or one of the scorers that facts on placement are told of.
func (c *scenario) strategyOf(name string, seed uint64) (batch.Strategy, error) {
	switch name {
	case "marginal":
		return batch.FromScorer(name, rise{}), nil
	case "marginal+idle":
		return batch.FromScorer(name, risePlusIdle{}), nil
	case "envelope":
		return batch.FromScorer(name, scoring.EnvelopePower{SwitchOff: c.off}), nil
	}
	return batch.New(name, batch.Options{Seed: seed, Weights: c.weights})
}

// run simulates one strategy with one seed. Servers, jobs and errors of models depend on the seed alone, so strategies are compared on
// the same.
func (c *scenario) run(ctx context.Context, name string, seed uint64) (*simulate.Result, error) {
	o := &options{memory: c.memory}
	rnd := rand.New(rand.NewPCG(seed, 0x6e6f646573))
	from := c.machines
	if c.identical {
		k := rnd.IntN(len(from))
		from = from[k : k+1]
	}
	nodes := draw(from, c.servers, rnd, o)
	s, err := c.strategyOf(name, seed)
	if err != nil {
		return nil, err
	}
	cfg := simulate.Config{Nodes: nodes, Strategy: s, SwitchOff: c.off, From: c.warmup, To: c.warmup + c.hours, Bound: true, Seed: seed}
	if c.told {
		cfg.Lifetimes, cfg.Uses = simulate.Told, simulate.Told
	} else {
		learnModels(&cfg, seed)
	}
	if c.moves > 0 {
		cfg.Rebalancer = batch.NewRebalancer(batch.RebalanceOptions{Share: c.moves})
	}
	var cores float64
	for i := range nodes {
		cores += nodes[i].Capacity.Cores
	}
	g := simulate.Generator{Shapes: withGPUs(c.jobs, nodes), Load: c.load, Cores: cores, Until: cfg.To, Stationary: true, Longest: c.longest, Seed: seed}
	return simulate.Run(ctx, cfg, g.Workload())
}

// learnModels lets the strategy begin with models that are wrong by a tenth for each server, and read sensors every minute.
func learnModels(cfg *simulate.Config, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x6d6f64656c))
	cfg.Believe = func(_ string, p *power.Piecewise) *power.Piecewise {
		q, err := p.Scale(math.Exp(0.1 * r.NormFloat64()))
		if err != nil {
			return nil
		}
		return q
	}
	cfg.Sensors = &simulate.Sensors{Every: time.Minute, UseNoise: 0.02, WattNoise: 0.02, Learn: true}
}

// rise is the difference of a curve at two loads, without the power of switching a server on: what the published formulas see.
type rise struct{}

func (rise) Score(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	on := slices.Clone(nodes)
	for i := range on {
		on[i].Off = false
	}
	return scoring.MarginalPower{}.Score(ctx, d, on)
}

// risePlusIdle adds the whole idle power of a server without jobs, on or off.
type risePlusIdle struct{}

func (risePlusIdle) Score(ctx context.Context, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	costs, err := rise{}.Score(ctx, d, nodes)
	for i := range costs {
		if p, ok := nodes[i].Predictor.(*power.Piecewise); ok && nodes[i].State.Utilization == 0 {
			costs[i].Value += float64(p.Idle() - nodes[i].OffPower)
		}
	}
	return costs, err
}

// A run is one simulation of an evaluation.
type evalRun struct {
	cell *scenario
	name string
	seed uint64
}

// cellMean is what a strategy does in a cell in the mean over the seeds.
type cellMean struct {
	over, half float64 // energy over bound and half its 95 % interval
	wait       time.Duration
	unplaced   int
	moves      int
}

// matrix simulates every strategy in every cell for every seed, in parallel, and returns means[cell][strategy].
func matrix(ctx context.Context, cells []*scenario, names []string, seeds []uint64, progress io.Writer) ([][]cellMean, error) {
	var runs []evalRun
	for _, c := range cells {
		for _, n := range names {
			for _, s := range seeds {
				runs = append(runs, evalRun{c, n, s})
			}
		}
	}
	done := make([]outcome, len(runs))
	err := inParallel(ctx, len(runs), progress, func(ctx context.Context, k int) (string, error) {
		r, err := runs[k].cell.run(ctx, runs[k].name, runs[k].seed)
		if err != nil {
			return "", fmt.Errorf("%s, load %v, seed %d: %w", runs[k].cell.trace, runs[k].cell.load, runs[k].seed, err)
		}
		r.Nodes, r.Series = nil, nil
		done[k] = outcome{result: r}
		return runs[k].name, nil
	})
	if err != nil {
		return nil, err
	}
	out := make([][]cellMean, len(cells))
	at := 0
	for i := range cells {
		for range names {
			group := done[at : at+len(seeds)]
			at += len(seeds)
			var m cellMean
			m.over, m.half = mean95(group, (*simulate.Result).OverBound)
			w, _ := mean95(group, func(r *simulate.Result) float64 { return r.MeanWait.Seconds() })
			m.wait = time.Duration(w * float64(time.Second))
			for _, g := range group {
				m.unplaced += g.result.Unplaced
				m.moves += g.result.Moves
			}
			out[i] = append(out[i], m)
		}
	}
	return out, nil
}

// A corpus is the traces and servers of an evaluation.
type corpus struct {
	machines []machine
	names    []string
	jobs     map[string][]simulate.Job
}

func (c *corpus) add(name string, jobs []simulate.Job) {
	c.names = append(c.names, name)
	c.jobs[name] = jobs
}

// split returns the traces that goals speak of and further ones, for the held-out check.
func (c *corpus) split() (inner, outer []string) {
	n := min(4, len(c.names))
	return c.names[:n], c.names[n:]
}

// halfOf returns the jobs that arrived in the first or the second half of a trace, by number.
func halfOf(jobs []simulate.Job, second bool) []simulate.Job {
	sorted := slices.SortedStableFunc(slices.Values(jobs), func(a, b simulate.Job) int { return cmp.Compare(a.Arrival, b.Arrival) })
	if second {
		return sorted[len(sorted)/2:]
	}
	return sorted[:len(sorted)/2]
}

// every returns every second machine, from the first or the second on.
func every(from []machine, odd bool) []machine {
	var out []machine
	for i, m := range from {
		if (i%2 == 1) == odd {
			out = append(out, m)
		}
	}
	return out
}

// published reads the servers and traces under a folder laid out as ../shared/data is.
func published(dir string) (*corpus, error) {
	file := filepath.Join(dir, "specpower", "specpower_ssj2008_curves.csv")
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-evaluate reads published servers and traces, or say -evaluate embedded: %w", err)
	}
	c := &corpus{jobs: map[string][]simulate.Job{}}
	if c.machines, err = specMachines(file, data); err != nil {
		return nil, err
	}
	for _, t := range []struct{ name, format, file, fragments string }{
		{"openb", "openb", "openb/openb_pod_list_default.csv", ""},
		{"azure", "batch-hours", "jobs/azure-100k.csv.gz", ""},
		{"surf", "surf", "surf/surf_week_tasks.csv.gz", "surf/surf_week_fragments_10min.csv.gz"},
		{"planetlab", "planetlab", "planetlab/planetlab_20110303.csv.gz", ""},
		{"planetlab-later", "planetlab", "planetlab/planetlab_20110325.csv.gz", ""},
		{"mustang", "batch-hours", "jobs/mustang-trace-2015-100k.csv.gz", ""},
		{"pai", "batch", "jobs/pai_1k.csv", ""},
		{"hpc2n", "swf", "swf/hpc2n_sample_alea.swf", ""},
	} {
		o := &options{trace: filepath.Join(dir, filepath.FromSlash(t.file)), format: t.format}
		if t.fragments != "" {
			o.fragments = filepath.Join(dir, filepath.FromSlash(t.fragments))
		}
		jobs, err := loadJobs(o)
		if err != nil {
			return nil, err
		}
		jobs = slices.DeleteFunc(jobs, func(j simulate.Job) bool { return j.Duration <= 0 || j.Requests.CPU <= 0 })
		if t.format == "planetlab" {
			// PlanetLab tells no sizes: machines of 4 to 32 cores, in turn.
			for i := range jobs {
				jobs[i].Requests.CPU *= [...]float64{4, 8, 8, 16, 16, 32}[i%6]
			}
		}
		c.add(t.name, jobs)
	}
	return c, nil
}

// embedded is the same without any file: the embedded servers, and three synthetic traces, one of them of jobs that take a large part of a server.
func embedded() *corpus {
	c := &corpus{machines: embeddedMachines(), jobs: map[string][]simulate.Job{}}
	jobs := synthetic()
	c.add("synthetic", jobs)
	long := slices.Clone(jobs)
	for i := range long {
		long[i].Duration *= 6
		long[i].Requests.CPU = min(4, long[i].Requests.CPU)
	}
	c.add("longer", long)
	coarse := slices.Clone(jobs)
	for i := range coarse {
		coarse[i].Duration *= 3
		coarse[i].Requests.CPU = 16 * float64(1+i%4)
	}
	c.add("coarse", coarse)
	return c
}
