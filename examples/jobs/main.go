// Jobs takes batch jobs over HTTP, decides where and when each runs, and starts them as Kubernetes Jobs, or only plans.
//
//	jobs -demo                                     # runs by itself: emulated nodes, an embedded grid, a day in half a minute
//	jobs -nodes nodes.csv -grid neso               # plans on the nodes of a file (KubeEnergyScheduler's columns)
//	jobs -kubernetes -namespace batch -grid …      # runs jobs in a cluster
//
// POST /jobs takes one job or many, in JSON ({"id","cpu","mem","duration","tag","deadline","priority"}: cores, GiB, seconds) or as
// KubeEnergyScheduler's CSV, and answers when they are on the disk. GET /jobs lists, PUT /strategy {"strategy":"spacetime"} switches between
// the strategies of package scoring/batch and spacetime, which also chooses the time by a forecast of the grid. GET /metrics is for
// Prometheus, POST /metrics-ingest?node=NAME takes Scaphandre's text, GET /events streams what the page at / shows.
// Folder -data keeps jobs.db (SQLite), decisions.csv and samples.csv.
//
// With -kubernetes it needs the verbs create, get, list and watch on jobs.batch in its namespace, and list and watch on nodes; in a
// cluster it uses its service account. -listen other than loopback needs -token-file.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/leastwatt/leastwatt/examples/internal/gridsource"
	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
)

// options are the flags.
type options struct {
	demo, asJSON, kubernetes        bool
	listen, data, tokenFile         string
	nodes, sites, grid, credentials string
	strategy, scrape                string
	kubeconfig, namespace, template string
	length                          time.Duration
	tick, scrapeEvery, lookEvery    time.Duration
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
	f.Float64Var(&o.speed, "speed", 7200, "how much faster than real the clock of -demo runs")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address to serve at; other than loopback needs -token-file")
	f.StringVar(&o.data, "data", "leastwatt-jobs", "folder for jobs.db, decisions.csv and samples.csv")
	f.StringVar(&o.tokenFile, "token-file", "", "file with the bearer token that clients must have; read again when it changes")
	f.StringVar(&o.nodes, "nodes", "", "nodes: CSV name,cpu,mem,ci_profile[,site_id[,peak_power_w]]; with -kubernetes only models and sites are taken from it")
	f.StringVar(&o.sites, "sites", "", "sites: CSV id,PUE,k,ci_region, the region being a zone of the grid; without it a site's name is its zone")
	f.StringVar(&o.grid, "grid", "", gridsource.Usage+"; empty takes the profiles of -nodes, if any")
	f.StringVar(&o.credentials, "grid-credentials-file", "", "file with the grid provider's token, or user:password")
	f.StringVar(&o.strategy, "strategy", "", "strategy at the start; empty is the last one, at first "+SpaceTime)
	f.StringVar(&o.scrape, "scrape", "", "Scaphandre's exporters to ask: NODE=URL,NODE=URL")
	f.DurationVar(&o.scrapeEvery, "scrape-interval", 15*time.Second, "how often they are asked")
	f.DurationVar(&o.lookEvery, "grid-interval", 5*time.Minute, "how often the forecast is renewed")
	f.DurationVar(&o.tick, "tick", 200*time.Millisecond, "how often is looked for what is due")
	f.Float64Var(&o.margin, "margin", 1.2, "latest start = deadline - duration x margin")
	f.DurationVar(&o.slack, "slack", 24*time.Hour, "how long a job without a deadline may be held")
	f.BoolVar(&o.kubernetes, "kubernetes", false, "run jobs as Kubernetes Jobs")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster; empty is KUBECONFIG, then the pod's service account")
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
	if o.demo {
		program = demo
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

// run serves until ctx is done.
func run(ctx context.Context, o *options, out io.Writer, log *slog.Logger) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	began := time.Now()
	machines, sites, source, err := o.inventory(log)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.data, 0o755); err != nil {
		return err
	}
	unlock, err := lock(o.data)
	if err != nil {
		return err
	}
	defer unlock()
	store, err := openStore(ctx, o.data)
	if err != nil {
		return err
	}
	storing, stopStoring := context.WithCancel(context.WithoutCancel(ctx))
	var stored, wg sync.WaitGroup
	stored.Go(func() { store.Run(storing) })
	defer func() { // after everybody who stores something has ended
		stopStoring()
		stored.Wait()
		err = errors.Join(err, store.Close())
	}()

	eo := EngineOptions{Margin: o.margin, Slack: cmp.Or(o.slack, time.Nanosecond), Now: o.now, Logger: log}
	var dispatcher *kubeDispatcher
	complete := withModels(machines, o.idleWatts, o.peakWatts)
	if o.kubernetes {
		if dispatcher, err = o.dispatcher(log); err != nil {
			return err
		}
		list, err := dispatcher.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("listing nodes: %w", err)
		}
		nodes := machinesOf(pointers(list.Items))
		machines, eo.Dispatch = complete(nodes), dispatcher
	} else if len(machines) == 0 {
		return errors.New("there are no nodes: give -nodes FILE, -kubernetes or -demo")
	}
	fleet, err := newFleet(ctx, machines, sites)
	if err != nil {
		return err
	}
	engine, err := newEngine(ctx, store, fleet, source, o.strategy, eo)
	if err != nil {
		return err
	}
	if o.strategy != "" {
		if err := engine.SetStrategy(ctx, o.strategy); err != nil {
			return err
		}
	}
	decisions, err := openLog(store, o.data, "decisions", "JobID", "AssignedNode", "Strategy", "CIscore", "Timestamp", "Site", "EnergyKWh", "Intensity", "Reason")
	if err != nil {
		return err
	}
	samples, err := openLog(store, o.data, "samples", "Node", "Kind", "Value", "Source", "Timestamp")
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	unfinished := len(engine.queue) + len(engine.active)
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(engine), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	ctx, cancel := context.WithCancelCause(ctx)
	defer wg.Wait()
	defer cancel(nil)
	server := &http.Server{Handler: handler(engine, o.token(), registry), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	end := func(what string, f func() error) {
		wg.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	end("deciding", func() error { return engine.Run(ctx, o.tick) })
	end("decisions.csv", func() error { return decisions.run(ctx, time.Second) })
	end("samples.csv", func() error { return samples.run(ctx, time.Second) })
	end("grid", func() error { return o.lookAgain(ctx, engine, log) })
	if len(o.endpoints) > 0 {
		wg.Go(func() { scrape(ctx, engine, o.endpoints, o.scrapeEvery, log) })
	}
	if dispatcher != nil {
		end("Kubernetes", func() error { return dispatcher.run(ctx, engine, complete) })
	}
	end("serving", func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	wg.Go(func() {
		<-ctx.Done()
		closing, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		if err := server.Shutdown(closing); err != nil {
			_ = server.Close()
		}
	})
	url := "http://" + listener.Addr().String()
	if o.listening != nil {
		o.listening(url)
	} else {
		fmt.Fprintf(out, "serving %s, %d jobs unfinished, ready after %v\n", url, unfinished, time.Since(began).Round(time.Millisecond))
	}
	if o.during != nil {
		end("demonstration", func() error {
			err := o.during(ctx, engine)
			cancel(err)
			return err
		})
	}
	var after <-chan time.Time
	if o.length > 0 {
		after = time.After(o.length)
	}
	select {
	case <-ctx.Done():
	case <-after:
		cancel(nil)
	}
	wg.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// lookAgain renews the outlook at an interval.
func (o *options) lookAgain(ctx context.Context, e *Engine, log *slog.Logger) error {
	t := time.NewTicker(o.lookEvery)
	defer t.Stop()
	for {
		if feed, ok := e.source.(*gridsource.Feed); ok {
			if err := feed.Refresh(ctx); err != nil && ctx.Err() == nil {
				log.Warn("grid history", "error", err)
			}
		}
		e.Look(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// inventory reads the nodes, sites and the grid signal that the flags name.
func (o *options) inventory(log *slog.Logger) (machines []Machine, sites []Site, source grid.Source, err error) {
	machines, sites, source = o.machines, o.places, o.source
	var profiles map[string]string
	if o.nodes != "" {
		if machines, sites, profiles, err = loadMachines(o.nodes, o.sites); err != nil {
			return nil, nil, nil, err
		}
	}
	if o.scrape != "" {
		if o.endpoints, err = parseScrape(o.scrape); err != nil {
			return nil, nil, nil, err
		}
	}
	switch {
	case o.grid != "":
		source, err = gridsource.Open(o.grid, gridsource.Options{CredentialsFile: o.credentials, Logger: log})
	case len(profiles) > 0:
		b := make(byZone)
		for zone, text := range profiles {
			if b[zone], err = grid.ParseProfile(text, grid.AverageLifeCycle, 1, o.now); err != nil {
				return nil, nil, nil, fmt.Errorf("%s: %w", o.nodes, err)
			}
		}
		source = b
	}
	return machines, sites, source, err
}

func (o *options) dispatcher(log *slog.Logger) (*kubeDispatcher, error) {
	config, err := clientConfig(o.kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	template := stressNG
	if o.template != "" {
		if template, err = os.ReadFile(o.template); err != nil {
			return nil, err
		}
	}
	return newKubeDispatcher(client, o.namespace, template, log)
}

func clientConfig(file string) (*rest.Config, error) {
	if file == "" && os.Getenv("KUBECONFIG") == "" {
		if c, err := rest.InClusterConfig(); err == nil {
			return c, nil
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
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

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}
