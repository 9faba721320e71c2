// Simulate asks what each placement strategy would draw on a trace and a set of servers, and prints the answer beside the lower
// bound that no placement can beat.
//
// Without flags it runs an embedded synthetic workload on embedded servers in seconds. With -trace it draws jobs from a published
// trace (or replays it with -load 0), with -nodes it takes other servers, with -out it writes tables, a database and a report.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
	"github.com/leastwatt/leastwatt/scoring/simulate/trace"
)

// options are the flags.
type options struct {
	nodes, trace, format, fragments, strategies string
	load                                        float64
	off, told, declared, asJSON, sweep, quiet   bool
	seed                                        uint64
	out, loads, weights                         string
	gpus                                        float64
	hours, warmup                               float64
	longest, wake                               time.Duration
	moves                                       float64
	memory                                      float64
	every                                       time.Duration
	intensity, price, pue                       float64
	seeds                                       int
	optimum                                     optimum
	evaluation                                  evaluation
	gridOptions

	columns      string // of the format csv
	mix          string // of the embedded workload
	skipped      int    // rows of the trace
	fitted       bool
	daily, burst float64
	peak         time.Duration
}

func main() {
	var o options
	f := flag.NewFlagSet("simulate", flag.ContinueOnError)
	f.StringVar(&o.nodes, "nodes", "embedded:24", "servers: embedded:N, or a CSV of SPECpower curves, openb nodes or KubeEnergyScheduler nodes; FILE:N draws N of them")
	f.StringVar(&o.trace, "trace", "", "file (or the folder of openb, PlanetLab or SURF) to draw jobs from; .gz and .zip are read; empty is an embedded synthetic workload, see -mix")
	f.StringVar(&o.mix, "mix", mixed, "jobs of the embedded workload: "+mixed+" or "+mixedLikeKES+", whose generator's kinds these are")
	f.StringVar(&o.format, "format", "openb", "format of the trace: "+strings.Join(append(trace.Formats(), "surf", "csv"), ", "))
	f.StringVar(&o.columns, "columns", "", "columns of the format csv: arrival=NAME,duration=NAME,cpu=NAME,timeunit=1s and so on (see trace.ParseColumns)")
	f.StringVar(&o.fragments, "fragments", "", "the second file of SURF's format: use over time")
	f.StringVar(&o.strategies, "strategies", "all", "comma-separated names, or all")
	f.Float64Var(&o.load, "load", 0.5, "mean share of all cores that jobs reserve; 0 replays the trace with its own arrivals")
	f.Float64Var(&o.daily, "daily", 0, "amplitude of the daily swing of arrivals, 0 to 1")
	f.DurationVar(&o.peak, "peak", 0, "when in the day arrivals are most")
	f.Float64Var(&o.burst, "burst", 1, "mean number of jobs that arrive at one instant")
	f.BoolVar(&o.fitted, "fitted", false, "take the daily swing and the bursts of arrivals from the trace")
	f.BoolVar(&o.off, "off", false, "switch servers without jobs off")
	f.BoolVar(&o.told, "told", false, "tell strategies lifetimes, uses and models instead of letting them learn")
	f.BoolVar(&o.declared, "declared", false, "keep the requests that a trace declares; without it jobs request the mean of what they use")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object")
	f.BoolVar(&o.sweep, "sweep", false, "run -seeds seeds at each of -loads and -weights, and report means and 95 % intervals")
	f.BoolVar(&o.quiet, "quiet", false, "no progress bar")
	f.Uint64Var(&o.seed, "seed", 1, "seed of everything that is drawn at random")
	f.IntVar(&o.seeds, "seeds", 5, "how many seeds -sweep runs, from -seed on")
	f.StringVar(&o.loads, "loads", "0.3,0.5,0.7", "loads that -sweep runs")
	f.StringVar(&o.weights, "weights", "", "leastwatt's weights that -sweep runs, or one that -evaluate does: ON/OFF/IDLE, as 0.5/0.7/4,0/0/4; empty is the default")
	f.Float64Var(&o.gpus, "gpus", 0, "GPUs of each embedded or SPECpower server; where no server has any, those that jobs ask for are left out")
	f.StringVar(&o.out, "out", "", "folder for run_log.csv, schedule_log.csv, summary.csv, results.db and report.html; with -sweep for sweep.csv, summary.csv and results.db")
	f.Float64Var(&o.hours, "hours", 24, "hours that are measured")
	f.Float64Var(&o.warmup, "warmup", 12, "hours before that are not")
	f.DurationVar(&o.longest, "longest", 24*time.Hour, "cut lifetimes to this when drawing from a trace; 0 does not")
	f.DurationVar(&o.wake, "wake", 0, "how long a server needs from off to ready")
	f.Float64Var(&o.moves, "moves", 0, "share of the running jobs that Leastwatt may move in an hour")
	f.Float64Var(&o.memory, "memory", 0, "GiB a core of embedded and SPECpower servers; 0 does not limit")
	f.DurationVar(&o.every, "every", 0, "decide in batches at this interval; 0 decides at each arrival")
	f.Float64Var(&o.intensity, "intensity", 300, "grid carbon intensity, gCO2eq/kWh")
	f.Float64Var(&o.price, "price", 0.15, "price of electricity per kWh")
	o.evaluation.flags(f)
	f.Float64Var(&o.pue, "pue", 1, "power usage effectiveness, without sites")
	o.gridOptions.define(f)
	if err := f.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		os.Exit(2)
	}
	if f.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "simulate: unexpected argument %q; files are named by -trace and -nodes\n", f.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	progress := io.Writer(os.Stderr)
	if o.quiet {
		progress = io.Discard
	}
	if err := run(ctx, &o, os.Stdout, progress); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

// outcome is one strategy's run.
type outcome struct {
	result  *simulate.Result
	records []simulate.Record
	load    float64
	seed    uint64
	weights *batch.Weights // nil is the default
	share   float64        // of the oracle's saving; NaN without sites
}

func run(ctx context.Context, o *options, out, progress io.Writer) error {
	names := batch.Names()
	if o.strategies != "all" {
		names = strings.Split(o.strategies, ",")
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := o.gridOptions.load(o.seed, o.nodes); err != nil {
		return err
	}
	if o.world != nil && o.strategies == "all" {
		names = append(names, batch.CarbonNames()...)
	}
	for _, n := range names {
		if o.world == nil && slices.Contains(batch.CarbonNames(), n) {
			return fmt.Errorf("-strategies %s: it goes by the grid: say -sites, -carbon or -prices (-sites embedded has three made-up grids)", n)
		}
		if _, err := batch.New(n, o.options(o.seed, false)); err != nil {
			return err
		}
	}
	if o.evaluation.dir != "" {
		w, err := parseWeights(o.weights)
		if err != nil {
			return err
		}
		if len(w) > 1 {
			return fmt.Errorf("-weights %s: -evaluate takes one", o.weights)
		}
		o.evaluation.seeds, o.evaluation.longest, o.evaluation.weights = o.seeds, o.longest, w[0]
		return o.evaluation.evaluate(ctx, o, out, progress)
	}
	jobs, err := loadJobs(o)
	if err != nil {
		return err
	}
	if o.skipped > 0 {
		fmt.Fprintf(progress, "%s: %d jobs; %d rows are incomplete and left out\n", o.trace, len(jobs), o.skipped)
	}
	if o.sweep {
		return sweep(ctx, o, names, jobs, out, progress)
	}
	var tasks []task
	for _, n := range names {
		tasks = append(tasks, task{name: n, load: o.load, seed: o.seed})
	}
	if o.world != nil {
		tasks = append(tasks, task{name: atOnce, load: o.load, seed: o.seed}, task{name: overTime, load: o.load, seed: o.seed, oracle: true},
			task{name: overTime, load: o.load, seed: o.seed, oracle: true, atOnce: true})
	}
	done, err := runAll(ctx, o, jobs, tasks, progress)
	if err != nil {
		return err
	}
	if o.world != nil {
		n := len(names)
		o.shares(done[:n], done[n].result, done[n+1].result, done[n+2].result)
		done = done[:n]
	}
	if o.out != "" {
		if err := writeAll(ctx, o, done); err != nil {
			return err
		}
		fmt.Fprintln(progress, "wrote", filepath.Join(o.out, "report.html"))
	}
	if o.asJSON {
		return writeJSON(out, o, done)
	}
	return writeTable(out, o, done)
}

// check returns an error that names the flag whose number makes no sense.
func (o *options) check() error {
	for _, f := range []struct {
		name           string
		v, least, most float64
	}{
		{"load", o.load, 0, 100}, {"hours", o.hours, 0, 1e6}, {"warmup", o.warmup, 0, 1e6}, {"daily", o.daily, 0, 1}, {"burst", o.burst, 0, 1e6},
		{"gpus", o.gpus, 0, 1e6}, {"memory", o.memory, 0, 1e9}, {"moves", o.moves, 0, 1}, {"intensity", o.intensity, 0, 1e9},
		{"price", o.price, -1e9, 1e9}, {"pue", o.pue, 1, 99}, {"carbon-price", o.carbonPrice, 0, 1e9}, {"threshold", o.threshold, -1e9, 1e9},
	} {
		if !(f.v >= f.least && f.v <= f.most) {
			return fmt.Errorf("-%s %v: want %v to %v", f.name, f.v, f.least, f.most)
		}
	}
	if o.threshold != 0 && !o.on() {
		return fmt.Errorf("-threshold %v: it is what the grid costs: say -sites, -carbon or -prices", o.threshold)
	}
	if o.hours == 0 && (o.load > 0 || o.sweep) {
		return errors.New("-hours 0: want above 0")
	}
	for _, f := range []struct {
		name string
		v    time.Duration
	}{{"longest", o.longest}, {"wake", o.wake}, {"every", o.every}} {
		if f.v < 0 {
			return fmt.Errorf("-%s %v: want 0 or more", f.name, f.v)
		}
	}
	return nil
}

type task struct {
	name string
	load float64
	seed uint64

	weights *batch.Weights
	oracle  bool // it is told what the grid will be
	atOnce  bool // nothing has a deadline, so that it may choose the place alone
}

// runAll simulates tasks on all processors; the outcomes are in the order of the tasks.
func runAll(ctx context.Context, o *options, jobs []simulate.Job, tasks []task, progress io.Writer) ([]outcome, error) {
	out := make([]outcome, len(tasks))
	err := inParallel(ctx, len(tasks), progress, func(ctx context.Context, k int) (string, error) {
		r, err := runOne(ctx, o, jobs, tasks[k])
		if err == nil {
			out[k] = *r
		}
		return tasks[k].name, err
	})
	return out, err
}

// inParallel calls do for 0 … n−1 on all processors, until one fails, and shows how far it is with the names that do returns.
func inParallel(ctx context.Context, n int, progress io.Writer, do func(ctx context.Context, k int) (string, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	finished := 0
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for k := range next {
				name, err := do(ctx, k)
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				finished++
				bar(progress, finished, n, name)
				mu.Unlock()
			}
		})
	}
	for k := range n {
		select {
		case next <- k:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

func bar(w io.Writer, done, all int, name string) {
	const width = 30
	n := width * done / all
	fmt.Fprintf(w, "\r[%s%s] %d/%d %-20s", strings.Repeat("█", n), strings.Repeat("·", width-n), done, all, name)
	if done == all {
		fmt.Fprintln(w)
	}
}

func writeJSON(out io.Writer, o *options, done []outcome) error {
	type row struct {
		Name              string   `json:"name"`
		EnergyKWh         float64  `json:"energyKWh"`
		BoundKWh          float64  `json:"boundKWh"`
		OverBound         float64  `json:"overBound"`
		CarbonKg          float64  `json:"carbonKg"`
		Cost              float64  `json:"cost"`
		OracleShare       *float64 `json:"oracleShare,omitempty"` // with sites
		MissedDeadlines   int      `json:"missedDeadlines"`
		Suspended         int      `json:"suspended"`
		MeanWaitSeconds   float64  `json:"meanWaitSeconds"`
		P95WaitSeconds    float64  `json:"p95WaitSeconds"`
		TurnaroundSeconds float64  `json:"meanTurnaroundSeconds"`
		MakespanSeconds   float64  `json:"makespanSeconds"`
		Finished          int      `json:"finished"`
		Waiting           int      `json:"waiting"`
		Unplaced          int      `json:"unplaced"`
		SwitchOns         int      `json:"switchOns"`
		Moves             int      `json:"moves"`
		SolveMillisPerJob float64  `json:"solveMillisPerJob"`
	}
	doc := struct {
		Strategies []row    `json:"strategies"`
		Oracle     *optimum `json:"oracle,omitempty"`
	}{Strategies: []row{}}
	if o.world != nil {
		doc.Oracle = &o.optimum
	}
	for _, d := range done {
		r := d.result
		k := r.Energy.KilowattHours()
		var share *float64
		if o.world != nil {
			share = new(d.share)
		}
		doc.Strategies = append(doc.Strategies, row{Name: r.Strategy, EnergyKWh: k, BoundKWh: r.Bound.KilowattHours(), OverBound: r.OverBound(),
			CarbonKg: o.kilograms(r), Cost: o.money(r), OracleShare: share, MissedDeadlines: r.Missed, Suspended: r.Suspended, MeanWaitSeconds: r.MeanWait.Seconds(), P95WaitSeconds: r.P95Wait.Seconds(),
			TurnaroundSeconds: r.MeanTurnaround.Seconds(), MakespanSeconds: r.Makespan.Seconds(), Finished: r.Finished, Waiting: r.Waiting,
			Unplaced: r.Unplaced, SwitchOns: r.SwitchOns, Moves: r.Moves, SolveMillisPerJob: solveMillis(r)})
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

func solveMillis(r *simulate.Result) float64 {
	return float64(r.SolveTime) / 1e6 / float64(max(r.Arrived, 1))
}
