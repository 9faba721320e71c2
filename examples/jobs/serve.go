package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/examples/internal/gridsource"
	"github.com/leastwatt/leastwatt/examples/internal/kubeclient"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

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
		machines, eo.Dispatch = nil, dispatcher // its nodes are told when the API server has told them
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
	decisions, err := openLog(store, o.data, "decisions", decisionColumns...)
	if err != nil {
		return err
	}
	samples, err := openLog(store, o.data, "samples", "Node", "Kind", "Value", "Source", "Timestamp")
	if err != nil {
		return err
	}
	samples.most = 256 << 20
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	unfinished := len(engine.queue) + len(engine.active)
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(engine), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	serves, err := handler(engine, o.token(), registry)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer wg.Wait()
	defer cancel(nil)
	server := &http.Server{Handler: serves, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	end := func(what string, f func() error) {
		wg.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	known := make(chan struct{}) // is closed when the machines are known
	if dispatcher == nil {
		close(known)
	}
	taken := make(chan struct{})  // is closed when the engine has taken them over, whose sites' grids are then looked at
	looked := make(chan struct{}) // is closed after the first look at the grid
	end("deciding", func() error {
		select { // of no machines all running jobs would be lost
		case <-known:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := engine.takeOver(ctx); err != nil {
			return err
		}
		close(taken)
		// Without an outlook nothing is held back: what waits or was suspended before a restart would start at once.
		select {
		case <-looked:
		case <-time.After(firstLook):
			log.Warn("the grid has not answered: deciding without an outlook", "after", firstLook)
		case <-ctx.Done():
			return ctx.Err()
		}
		return engine.Run(ctx, o.tick)
	})
	end("decisions.csv", func() error { return decisions.run(ctx, time.Second) })
	end("samples.csv", func() error { return samples.run(ctx, time.Second) })
	if o.keep != (retention{}) {
		end("retention", func() error { return engine.retain(ctx, o.keep, 10*time.Minute, samples.written.Load) })
	}
	end("grid", func() error {
		select {
		case <-taken:
			return o.lookAgain(ctx, engine, log, sync.OnceFunc(func() { close(looked) }))
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if len(o.endpoints) > 0 {
		wg.Go(func() { scrape(ctx, engine, o.endpoints, o.scrapeEvery, log) })
	}
	if dispatcher != nil {
		end("Kubernetes", func() error {
			return dispatcher.run(ctx, engine, complete, sync.OnceFunc(func() { close(known) }))
		})
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

// firstLook is how long decisions wait for the first outlook after a start.
const firstLook = 30 * time.Second

// lookAgain renews the outlook at an interval, and says when it has.
func (o *options) lookAgain(ctx context.Context, e *Engine, log *slog.Logger, looked func()) error {
	t := time.NewTicker(o.lookEvery)
	defer t.Stop()
	history := teller{log: log, fault: "grid history", again: "the grid's history is there again"}
	outlook := teller{log: log, fault: "grid", again: "the grid's outlook is there again"}
	for {
		if feed, ok := e.source.(*gridsource.Feed); ok {
			err := feed.Refresh(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			history.tell(err)
		}
		e.Look(ctx)
		if ctx.Err() == nil && e.source != nil {
			outlook.tell(e.outlook.Load().err())
		}
		looked()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		case <-e.look:
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
	case o.grid.Grid != "":
		source, err = o.grid.Open(log, o.now)
	case len(profiles) > 0:
		b := make(byZone)
		for zone, text := range profiles {
			if b[zone], err = grid.ParseProfile(text, grid.AverageLifeCycle, 1, o.now); err != nil {
				return nil, nil, nil, fmt.Errorf("%s: %w", o.nodes, err)
			}
		}
		source = b
	case source == nil:
		source, err = o.grid.Open(log, o.now)
	}
	return machines, sites, source, err
}

func (o *options) dispatcher(log *slog.Logger) (*kubeDispatcher, error) {
	config, err := kubeclient.Config(o.kubeconfig)
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
