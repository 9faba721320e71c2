package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/metadata"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	"k8s.io/component-base/metrics/legacyregistry"
	freshness "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver/metrics"
	adapter "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"

	"github.com/leastwatt/leastwatt/k8s/metrics"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

// run serves until ctx ends.
func run(ctx context.Context, args []string) error {
	fs := pflag.NewFlagSet("metrics-adapter", pflag.ContinueOnError)
	var f flags
	f.add(fs)
	base := &adapter.AdapterBase{Name: "leastwatt-metrics-adapter", FlagSet: fs}
	if err := hasten(base); err != nil {
		return err
	}
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
	if f.config == "" && !f.profiles {
		return errors.New("no configuration: give --leastwatt-config, --leastwatt-profiles or both")
	}
	if err := logsapi.ValidateAndApply(logging, nil); err != nil {
		return err
	}
	return f.serve(ctx, base)
}

// hasten raises the library's limit of 5 requests a second to the API server, which are many Secrets of BMCs at the start, and
// one for each autoscaler of pods by label every 15 seconds.
func hasten(base *adapter.AdapterBase) error {
	fs := base.Flags()
	for name, value := range map[string]string{"client-qps": "100", "client-burst": "200"} {
		if err := fs.Set(name, value); err != nil {
			return err
		}
		f := fs.Lookup(name)
		f.DefValue, f.Changed = value, false
	}
	return nil
}

// flags are ours, beside the library's.
type flags struct {
	config, namespace       string
	profiles, metricsServer bool
	grace                   time.Duration
}

func (f *flags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.config, "leastwatt-config", "", "The file that describes the sensors and models of the servers.")
	fs.BoolVar(&f.profiles, "leastwatt-profiles", false, "Use the cluster's NodeProfiles and PowerModels; the file of --leastwatt-config, if one is given, counts where they say nothing.")
	fs.StringVar(&f.namespace, "leastwatt-secrets-namespace", "", "The one namespace in which the Secrets that NodeProfiles name are read. Without it none are.")
	fs.BoolVar(&f.metricsServer, "leastwatt-metrics-server", false, "With --leastwatt-profiles, read CPU in use from metrics.k8s.io where no sensor of a profile tells it.")
	fs.DurationVar(&f.grace, "startup-grace", 10*time.Second, "How long to wait for the first readings before serving.")
}

// serve reads the sensors of the cluster's nodes and answers for them.
func (f *flags) serve(ctx context.Context, base *adapter.AdapterBase) error {
	rest, err := base.ClientConfig()
	if err != nil {
		return err
	}
	var c *config.Config
	o := metrics.Options{Pods: new(kepler.Pods)}
	if f.config != "" {
		if c, err = config.Load(f.config); err != nil {
			return err
		}
		c.Wakes = f.profiles // profiles may tell what it takes to wake a server
		o.MaxAge, o.Scorer = c.Scoring.MaxAge, c.NewPowerScorer()
	}
	site, err := f.newSite(c, rest, o.Pods)
	if err != nil {
		return err
	}
	objects, err := metadata.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("reach the cluster: %w", err)
	}
	o.Objects = metrics.NewObjects(objects)
	p := metrics.New(site, o)
	if err := legacyregistry.Registerer().Register(metrics.NewCollector(p)); err != nil {
		return err
	}
	if err := freshness.RegisterMetrics(legacyregistry.Register); err != nil {
		return err
	}
	base.WithCustomMetrics(p)
	base.WithExternalMetrics(p)
	if site.ready != nil {
		server, err := base.Server()
		if err != nil {
			return err
		}
		check := healthz.NamedCheck("leastwatt-profiles", func(*http.Request) error { return site.ready() })
		if err := server.GenericAPIServer.AddReadyzChecks(check); err != nil {
			return err
		}
	}

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	failed := make(chan error, 1)
	wg.Go(func() {
		if err := site.run(ctx); err != nil {
			failed <- err
			cancel()
		}
	})
	// Discovery is asked for once and then rarely: what the sensors give should show in it.
	wait, done := context.WithTimeout(ctx, f.grace)
	await(wait, p)
	done()
	err = base.Run(ctx)
	select {
	case err = <-failed: // is why the rest ended
	default:
	}
	return err
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
