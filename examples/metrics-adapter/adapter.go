package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	freshness "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver/metrics"
	adapter "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"

	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/k8s/metrics"
	"github.com/leastwatt/leastwatt/k8s/metricsserver"
	"github.com/leastwatt/leastwatt/scoring/config"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

// run serves until ctx ends.
func run(ctx context.Context, args []string) error {
	fs := pflag.NewFlagSet("metrics-adapter", pflag.ContinueOnError)
	var (
		path  = fs.String("leastwatt-config", "", "The file that describes the sensors and models of the servers.")
		first = fs.Duration("startup-grace", 10*time.Second, "How long to wait for the first readings before serving.")
	)
	base := &adapter.AdapterBase{Name: "leastwatt-metrics-adapter", FlagSet: fs}
	logging := logsapi.NewLoggingConfiguration()
	logsapi.AddFlags(logging, fs)
	logs.AddFlags(fs, logs.SkipLoggingConfigurationFlags())
	if err := base.Flags().Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil
		}
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if *path == "" {
		return errors.New("no configuration: give --leastwatt-config")
	}
	if err := logsapi.ValidateAndApply(logging, nil); err != nil {
		return err
	}
	return serve(ctx, base, *path, *first)
}

// serve reads the sensors of the cluster's nodes and answers for them.
func serve(ctx context.Context, base *adapter.AdapterBase, path string, first time.Duration) error {
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	log := slog.New(logr.ToSlogHandler(klog.Background()))
	pods := new(kepler.Pods)
	site, err := c.NewSite(config.SiteOptions{Logger: log, Registerer: legacyregistry.Registerer(), Pods: pods,
		Types: []sensorsconfig.Type{metricsserver.Type(base.ClientConfig)}})
	if err != nil {
		return err
	}
	rest, err := base.ClientConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("reach the cluster: %w", err)
	}
	objects, err := metadata.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("reach the cluster: %w", err)
	}
	p := metrics.New(site, metrics.Options{MaxAge: c.Scoring.MaxAge, Scorer: c.NewScorer(), Pods: pods, Objects: metrics.NewObjects(objects)})
	if err := legacyregistry.Registerer().Register(metrics.NewCollector(p)); err != nil {
		return err
	}
	if err := freshness.RegisterMetrics(legacyregistry.Register); err != nil {
		return err
	}
	base.WithCustomMetrics(p)
	base.WithExternalMetrics(p)

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = site.Run(ctx) }) // ends with ctx only
	wg.Go(func() { _ = endpoints.WatchNodes(ctx, client, site) })
	// Discovery is asked for once and then rarely: what the sensors give should show in it.
	wait, done := context.WithTimeout(ctx, first)
	await(wait, p)
	done()
	return base.Run(ctx)
}

// await returns when the provider has metrics, or ctx ends.
func await(ctx context.Context, p *metrics.Provider) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(p.ListAllExternalMetrics()) == 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
