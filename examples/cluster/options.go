package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/scoring/simulate/trace"
)

// options are the command's flags.
type options struct {
	nodes int
	pods  int
	load  float64
	seed  uint64
	keep  bool
	json  bool

	replay       string // a trace, or "embedded"
	replayFormat string
	steps        int

	bench       bool
	repetitions int
	profiles    string
	initPods    int
	contest     string
	sensors     string
	poll        time.Duration
	watching    bool
}

// Values of -sensors.
const (
	sensorsOfServers    = "bmc"
	sensorsOfPrometheus = "prometheus"
)

const usage = `Starts a real Kubernetes control plane on loopback with simulated servers, places the same
pods with the default scheduler and with LeastWatt, and prints what each placement draws beside
the physical lower bound. The first run builds the control plane, which takes some minutes;
where KUBEBUILDER_ASSETS names a folder, etcd and kube-apiserver are taken from there.

`

// parseOptions reads the command line. It has written what is wrong to stderr when it fails.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("cluster", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	f.IntVar(&o.nodes, "nodes", 24, "servers; 500 with -bench")
	f.IntVar(&o.pods, "pods", 120, "pods to place; 2000 with -bench")
	f.Float64Var(&o.load, "load", 0.4, "CPU that the pods use together, as a share of all servers' CPU")
	f.Uint64Var(&o.seed, "seed", 1, "decides the servers, their differences and the pods")
	f.BoolVar(&o.keep, "keep", false, "leave the cluster up until Ctrl-C and print the kubeconfig's path")
	f.BoolVar(&o.json, "json", false, "print one JSON object on stdout; progress goes to stderr")
	f.StringVar(&o.replay, "replay", "", "run this trace (or \"embedded\"; .gz is read), shortened to -pods pods, through the scheduler, and check that the simulator predicts its energy within 2 %")
	f.StringVar(&o.replayFormat, "replay-format", "batch", "format of -replay's trace: "+strings.Join(trace.Formats(), ", "))
	f.IntVar(&o.steps, "steps", 24, "moments at which pods come and go with -replay")
	f.BoolVar(&o.bench, "bench", false, "measure the scheduler's milliseconds per pod with and without the plugin instead")
	f.IntVar(&o.repetitions, "repetitions", 3, "how often -bench measures each scheduler")
	f.StringVar(&o.profiles, "profiles", "", "folder into which -bench writes profiles of CPU and heap of every scheduler it measures, for go tool pprof")
	f.IntVar(&o.initPods, "init-pods", 0, "pods that run before -bench measures, one a node in turn")
	f.StringVar(&o.contest, "contest", "both", "profiles that -bench measures: default, batchable, both, or installed, in which the plugin replaces the two scores that spread")
	f.StringVar(&o.sensors, "sensors", sensorsOfPrometheus, "what -bench has the sensors read by: prometheus (one server that has scraped them) or bmc (a BMC and an exporter for each server, emulated on this machine)")
	f.DurationVar(&o.poll, "poll", 10*time.Second, "how often -bench has the sensors read")
	f.BoolVar(&o.watching, "watching", false, "have -bench measure the plugin in shadow mode too, which does its work and has no say")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.bench {
		if !given["nodes"] {
			o.nodes = 500
		}
		if !given["pods"] {
			o.pods = 2000
		}
	}
	if o.replay != "" {
		if !given["nodes"] {
			o.nodes = 12
		}
		if !given["pods"] {
			o.pods = 60
		}
	}
	err := o.validate(f.Args())
	if err == nil && o.replay != "" && (o.keep || o.bench) {
		err = errors.New("-replay goes with neither -keep nor -bench")
	}
	if err == nil && o.bench && (o.keep || o.json) {
		err = errors.New("-bench goes with neither -keep nor -json")
	}
	for _, name := range []string{"repetitions", "profiles", "init-pods", "contest", "sensors", "poll", "watching"} {
		if err == nil && !o.bench && given[name] {
			err = fmt.Errorf("-%s needs -bench", name)
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "%v\nrun with -help for the flags\n", err)
	}
	return o, err
}

func (o *options) validate(rest []string) error {
	const mostPods, mostRepetitions, mostSteps = 20000, 100, 1000
	mostNodes := 2000
	if o.bench {
		mostNodes = 5000 // no kubelet is simulated
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(rest) > 0 {
		bad("unexpected argument %q", rest[0])
	}
	if o.nodes < 1 || o.nodes > mostNodes {
		bad("-nodes is %d: want 1 to %d", o.nodes, mostNodes)
	}
	if o.pods < 1 || o.pods > mostPods {
		bad("-pods is %d: want 1 to %d", o.pods, mostPods)
	}
	if !(o.load > 0 && o.load <= 1) || math.IsNaN(o.load) {
		bad("-load is %v: want more than 0, at most 1, which is all CPU of all servers", o.load)
	}
	if o.steps < 2 || o.steps > mostSteps {
		bad("-steps is %d: want 2 to %d", o.steps, mostSteps)
	}
	if o.repetitions < 1 || o.repetitions > mostRepetitions {
		bad("-repetitions is %d: want 1 to %d", o.repetitions, mostRepetitions)
	}
	if o.initPods < 0 || o.initPods > mostPods {
		bad("-init-pods is %d: want 0 to %d", o.initPods, mostPods)
	}
	if !slices.Contains([]string{"default", "batchable", "both", "installed"}, o.contest) {
		bad("-contest is %q: want default, batchable, both or installed", o.contest)
	}
	if o.sensors != sensorsOfServers && o.sensors != sensorsOfPrometheus {
		bad("-sensors is %q: want %s or %s", o.sensors, sensorsOfServers, sensorsOfPrometheus)
	}
	if o.poll < time.Second || o.poll > 30*time.Second {
		bad("-poll is %v: want 1s to 30s", o.poll)
	}
	return errors.Join(errs...)
}
