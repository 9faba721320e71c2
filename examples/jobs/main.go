// Jobs takes batch jobs over HTTP, decides where and when each runs, and starts them as Kubernetes Jobs, or only plans.
//
//	jobs -demo                                     # runs by itself: emulated nodes, an embedded grid, a day in half a minute
//	jobs -nodes nodes.csv                          # plans on the nodes of a file (KubeEnergyScheduler's columns); zone GB needs no -grid
//	jobs -kubernetes -namespace batch -grid …      # runs jobs in a cluster
//	jobs -push https://jobs.example -scrape n1=http://127.0.0.1:8080/metrics -token-file FILE   # beside Scaphandre on a node elsewhere
//
// POST /jobs takes one job or many, in JSON ({"id","cpu","mem","duration","tag","deadline","priority","suspendable"}: cores, GiB, seconds) or as
// KubeEnergyScheduler's CSV, and answers when they are on the disk. GET /jobs lists, PUT /strategy {"strategy":"spacetime"} switches between
// the strategies of package scoring/batch and spacetime, which also chooses the time by a forecast of the grid, and stops jobs that are
// "suspendable" in dirty hours and lets them go on later, in time for their deadline. GET /metrics is for
// Prometheus, POST /metrics-ingest?node=NAME takes Scaphandre's text, GET /events streams what the page at / shows. What the service knows of the
// grid it tells others in the GET routes of the Green Software Foundation's carbon-aware-sdk, /locations and below /emissions/.
// Folder -data keeps jobs.db (SQLite), decisions.csv and samples.csv.
//
// With -kubernetes it takes jobs also while there is no API server, and starts them when there is. It needs the verbs create, get, list, watch and
// patch on jobs.batch in its namespace, and list and watch on nodes; in a cluster it uses its service account. -listen other than loopback needs -token-file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/leastwatt/leastwatt/examples/internal/gridsource"
	"github.com/leastwatt/leastwatt/examples/internal/kubeclient"
	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
)

// options are the flags.
type options struct {
	demo, asJSON, kubernetes        bool
	suspendable                     bool // the jobs of the demonstration
	listen, data, tokenFile         string
	nodes, sites                    string
	grid                            gridsource.Flags
	strategy, scrape, push, pushCA  string
	kubeconfig, namespace, template string
	length, longest                 time.Duration
	tick, scrapeEvery, lookEvery    time.Duration
	keep                            retention
	margin                          float64
	slack                           time.Duration
	idleWatts, peakWatts            float64
	demoJobs                        int
	speed                           float64
	machines                        []Machine // instead of -nodes, of the demonstration
	places                          []Site
	endpoints                       map[string]scaphandre.Endpoint
	source                          grid.Source
	now                             func() time.Time
	listening                       func(url string)
	during                          func(ctx context.Context, e *Engine) error // ends the program when it returns
}

func main() {
	var o options
	f := flag.NewFlagSet("jobs", flag.ContinueOnError)
	f.BoolVar(&o.demo, "demo", false, "run by itself on emulated nodes with an embedded grid")
	f.BoolVar(&o.asJSON, "json", false, "with -demo, print one JSON object")
	f.DurationVar(&o.length, "for", 0, "end after this time; 0 does not, and -demo ends when its jobs are done")
	f.IntVar(&o.demoJobs, "jobs", 60, "how many jobs -demo has")
	f.DurationVar(&o.longest, "longest", 5*time.Hour, "how long jobs of -demo are at most")
	f.BoolVar(&o.suspendable, "suspendable", false, "the jobs of -demo may be suspended and go on later")
	f.Float64Var(&o.speed, "speed", 7200, "how much faster than real the clock of -demo runs")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address to serve at; other than loopback needs -token-file")
	f.StringVar(&o.data, "data", "leastwatt-jobs", "folder for jobs.db, decisions.csv and samples.csv")
	f.StringVar(&o.tokenFile, "token-file", "", "file with the bearer token that clients must have; read again when it changes")
	f.StringVar(&o.nodes, "nodes", "", "nodes: CSV name,cpu,mem,ci_profile[,site_id[,peak_power_w]]; a header may have another order, and no ci_profile; with -kubernetes only models and sites are taken from it")
	f.StringVar(&o.sites, "sites", "", "sites: CSV id,PUE,k,ci_region, the region being a zone of the grid; without it a site's name is its zone")
	o.grid.Define(f, "takes the profiles of -nodes, or ")
	f.StringVar(&o.strategy, "strategy", "", "strategy at the start; empty is the last one, at first "+SpaceTime)
	f.StringVar(&o.scrape, "scrape", "", "Scaphandre's exporters to ask: NODE=URL,NODE=URL")
	f.StringVar(&o.push, "push", "", "URL of a job service: only push to it what the exporters of -scrape say, with the token of -token-file; -listen has /healthz and /readyz")
	f.StringVar(&o.pushCA, "push-ca-file", "", "file with the authorities that sign it; empty is the system's")
	f.DurationVar(&o.scrapeEvery, "scrape-interval", 15*time.Second, "how often they are asked")
	f.DurationVar(&o.keep.age, "keep-samples", 30*24*time.Hour, "how long samples of nodes are kept in jobs.db; 0 is for ever")
	f.Int64Var(&o.keep.rows, "keep-sample-rows", 5_000_000, "how many samples are kept in jobs.db; 0 does not limit. samples.csv goes on at 256 MiB as a new file; the one before stays as samples.1.csv")
	f.DurationVar(&o.lookEvery, "grid-interval", 5*time.Minute, "how often the forecast is renewed")
	f.DurationVar(&o.tick, "tick", 200*time.Millisecond, "how often is looked for what is due")
	f.Float64Var(&o.margin, "margin", 1.2, "latest start = deadline - duration x margin")
	f.DurationVar(&o.slack, "slack", 24*time.Hour, "how long a job without a deadline may be held")
	f.BoolVar(&o.kubernetes, "kubernetes", false, "run jobs as Kubernetes Jobs")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", kubeclient.Usage)
	f.StringVar(&o.namespace, "namespace", "default", "namespace of the Jobs")
	f.StringVar(&o.template, "template", "", "file with a batch/v1 Job to run for each job; empty is stress-ng")
	f.Float64Var(&o.idleWatts, "idle-watts", 2, "idle watts a core of Kubernetes nodes that -nodes has not")
	f.Float64Var(&o.peakWatts, "peak-watts", 8, "peak watts a core of those")
	if err := f.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	program := run
	switch {
	case o.demo:
		program = demo
	case o.push != "":
		program = push
	}
	if err := program(ctx, &o, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "jobs:", err)
		os.Exit(1)
	}
}

func (o *options) check() error {
	switch {
	case !(o.margin >= 1):
		return fmt.Errorf("-margin %v: want 1 or more", o.margin)
	case o.keep.age < 0 || o.keep.rows < 0:
		return fmt.Errorf("-keep-samples %v, -keep-sample-rows %d: want 0 or more", o.keep.age, o.keep.rows)
	case o.slack < 0:
		return fmt.Errorf("-slack %v: want 0 or more", o.slack)
	case o.tick <= 0 || o.scrapeEvery <= 0 || o.lookEvery <= 0:
		return errors.New("-tick, -scrape-interval and -grid-interval: want more than 0")
	case !(o.idleWatts >= 0 && o.peakWatts >= o.idleWatts):
		return fmt.Errorf("-idle-watts %v and -peak-watts %v: want 0 or more, and the peak above", o.idleWatts, o.peakWatts)
	}
	if o.tokenFile == "" {
		host, _, err := net.SplitHostPort(o.listen)
		if err != nil {
			return fmt.Errorf("-listen %q: want HOST:PORT", o.listen)
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("-listen %s can be reached from other machines: give -token-file, or a loopback address", o.listen)
		}
	}
	return nil
}

// token returns what tells the present bearer token, or nil where none is asked for.
func (o *options) token() func() (string, error) {
	if o.tokenFile == "" {
		return nil
	}
	return func() (string, error) {
		b, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return "", err
		}
		t := strings.TrimSpace(string(b))
		if t == "" {
			return "", errors.New("the token file is empty")
		}
		return t, nil
	}
}
