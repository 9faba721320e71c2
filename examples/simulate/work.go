package main

import (
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
	"github.com/leastwatt/leastwatt/scoring/simulate/trace"
)

// loadJobs reads the trace, or makes the embedded synthetic one.
func loadJobs(o *options) ([]simulate.Job, error) {
	if o.trace == "" {
		if o.fitted {
			return nil, errors.New("-fitted takes the arrivals of a trace: name one with -trace")
		}
		if o.load == 0 {
			return nil, errors.New("-load 0 replays a trace: name one with -trace")
		}
		switch o.mix {
		case "", mixed:
			return synthetic(), nil
		case mixedLikeKES:
			return simulate.KubeEnergyMix(1000, 1), nil
		}
		return nil, fmt.Errorf("-mix %s: want %s or %s", o.mix, mixed, mixedLikeKES)
	}
	file := o.trace
	if st, err := os.Stat(file); err == nil && st.IsDir() {
		switch o.format {
		case "planetlab":
			jobs, err := machines(file)
			if err != nil {
				return nil, err
			}
			return o.prepared(file, jobs)
		case "openb":
			file = filepath.Join(file, "openb_pod_list_default.csv")
		case "surf":
			o.fragments = filepath.Join(file, "surf_week_fragments_10min.csv.gz")
			file = filepath.Join(file, "surf_week_tasks.csv.gz")
		}
	}
	r, err := open(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var res *trace.Result
	if o.format == "surf" {
		if o.fragments == "" {
			return nil, errors.New("the format surf needs -fragments, the file of use over time")
		}
		f, err := open(o.fragments)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if res, err = trace.SURF(file, r, o.fragments, f); err != nil {
			return nil, err
		}
	} else if o.format == "csv" {
		c, err := trace.ParseColumns(o.columns)
		if err != nil {
			return nil, fmt.Errorf("-format csv needs -columns: %w", err)
		}
		if res, err = c.Read(file, r); err != nil {
			return nil, err
		}
	} else if res, err = trace.Read(o.format, file, r); err != nil {
		return nil, err
	}
	o.skipped = res.Skipped
	return o.prepared(file, res.Jobs)
}

// prepared makes what was read ready to draw from.
func (o *options) prepared(file string, jobs []simulate.Job) ([]simulate.Job, error) {
	if !o.declared {
		jobs = trace.Sized(jobs)
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("%s: no jobs", file)
	}
	if o.fitted {
		g, err := simulate.Fit(jobs)
		if err != nil {
			return nil, fmt.Errorf("-fitted: %s: %w", file, err)
		}
		o.daily, o.peak, o.burst = g.Daily, g.Peak, g.Burst
	}
	return jobs, nil
}

// machines reads a folder of PlanetLab's as it is published: a file for each machine.
func machines(dir string) ([]simulate.Job, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var jobs []simulate.Job
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := filepath.Join(dir, e.Name())
		r, err := open(name)
		if err != nil {
			return nil, err
		}
		j, err := trace.PlanetLabMachine(name, r, 1)
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

type file struct {
	io.Reader
	close []io.Closer
}

func (f *file) Close() error {
	var errs []error
	for _, c := range f.close {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// open opens a file, a .gz, or a .zip that holds one file.
func open(name string) (io.ReadCloser, error) {
	if strings.HasSuffix(name, ".zip") {
		z, err := zip.OpenReader(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(z.File) != 1 {
			_ = z.Close()
			return nil, fmt.Errorf("%s holds %d files: want one", name, len(z.File))
		}
		r, err := z.File[0].Open()
		if err != nil {
			_ = z.Close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return &file{r, []io.Closer{r, z}}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(name, ".gz") {
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &file{z, []io.Closer{f}}, nil
}

// Values of -mix.
const (
	mixed        = "small-medium-large"
	mixedLikeKES = "kubeenergyscheduler"
)

// synthetic draws the shapes of the embedded workload.
func synthetic() []simulate.Job {
	jobs, _ := simulate.Mix(simulate.SmallMediumLarge(), 1000, 1) // these kinds are valid
	return jobs
}

// runOne simulates one strategy.
func runOne(ctx context.Context, o *options, jobs []simulate.Job, t task) (*outcome, error) {
	nodes, err := loadNodes(o, t.seed)
	if err != nil {
		return nil, err
	}
	how := o.options(t.seed, t.oracle)
	how.Weights = t.weights
	s, err := batch.New(t.name, how)
	if err != nil {
		return nil, err
	}
	cfg := simulate.Config{Nodes: nodes, Strategy: s, SwitchOff: o.off, Every: o.every, PUE: o.pue, Bound: true, Seed: t.seed}
	if o.world != nil {
		if err := o.world.settle(nodes); err != nil {
			return nil, err
		}
		cfg.PUE = 0
	}
	if o.told {
		cfg.Lifetimes, cfg.Uses = simulate.Told, simulate.Told
	} else {
		// Models are learned: the strategy begins with the truth wrong by a tenth for each server, and reads sensors every minute.
		r := rand.New(rand.NewPCG(t.seed, 0x6d6f64656c))
		cfg.Believe = func(_ string, p *power.Piecewise) *power.Piecewise {
			q, err := p.Scale(math.Exp(0.1 * r.NormFloat64()))
			if err != nil {
				return nil
			}
			return q
		}
		cfg.Sensors = &simulate.Sensors{Every: time.Minute, UseNoise: 0.02, WattNoise: 0.02, Learn: true}
	}
	if t.name == "leastwatt" && o.moves > 0 {
		cfg.Rebalancer = batch.NewRebalancer(batch.RebalanceOptions{Share: o.moves})
	}
	jobs = withGPUs(jobs, nodes)
	work := simulate.Jobs(jobs)
	if t.load > 0 {
		var cores float64
		for i := range nodes {
			cores += nodes[i].Capacity.Cores
		}
		cfg.From = time.Duration(o.warmup * float64(time.Hour))
		cfg.To = cfg.From + time.Duration(o.hours*float64(time.Hour))
		g := simulate.Generator{Shapes: jobs, Load: t.load, Cores: cores, Until: cfg.To, Stationary: true, Longest: o.longest, Seed: t.seed,
			Daily: o.daily, Peak: o.peak, Burst: o.burst}
		work = g.Workload()
	}
	if o.world != nil {
		// All that arrives is carried out and paid, however late it runs.
		cfg.From, cfg.To = 0, o.until(cfg.To, jobs)
		cfg.Sites = o.world.simulated(cfg.To)
		cfg.Lifetimes = simulate.Told // who sets a deadline says how long the work takes
		if !t.atOnce {
			work = o.due(work)
		}
	}
	out := &outcome{load: t.load, seed: t.seed, weights: t.weights}
	if o.out != "" {
		cfg.Trace = max(time.Minute, cfg.To/400)
		if cfg.To == 0 {
			cfg.Trace = 10 * time.Minute
		}
		cfg.OnJob = func(r simulate.Record) {
			j := *r.Job // it is the simulator's
			j.Profile = nil
			r.Job = &j
			out.records = append(out.records, r)
		}
	}
	if out.result, err = simulate.Run(ctx, cfg, work); err != nil {
		return nil, err
	}
	return out, nil
}

// withGPUs returns the jobs without what they ask of GPUs where no server has any.
func withGPUs(jobs []simulate.Job, nodes []simulate.Node) []simulate.Job {
	if slices.ContainsFunc(nodes, func(n simulate.Node) bool { return n.Allocatable.GPU > 0 }) {
		return jobs
	}
	out := slices.Clone(jobs)
	for i := range out {
		out[i].Requests.GPU = 0
	}
	return out
}
