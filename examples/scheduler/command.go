package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/cli/globalflag"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/component-base/version/verflag"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"github.com/leastwatt/leastwatt/k8s/metricsserver"
	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
)

// flags are ours, beside kube-scheduler's.
type flags struct {
	config   string
	page     pageOptions
	profiles profileOptions
}

func (f *flags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.config, "leastwatt-config", "", "The file that describes the sensors and models of the servers, for the plugin "+
		scheduler.Name+". A profile's pluginConfig may name another.")
	fs.BoolVar(&f.profiles.use, "leastwatt-profiles", false, "Use the cluster's NodeProfiles and PowerModels; the file of --leastwatt-config, if one is given, counts where they say nothing.")
	fs.StringVar(&f.profiles.namespace, "leastwatt-secrets-namespace", "", "The one namespace in which the Secrets that NodeProfiles name are read. Without it none are.")
	fs.BoolVar(&f.profiles.metricsServer, "leastwatt-metrics-server", false, "With --leastwatt-profiles, read CPU in use from metrics.k8s.io where no sensor of a profile tells it.")
	fs.IntVar(&f.page.port, "leastwatt-secure-port", 0, "The port on which to serve "+scheduler.DecisionsPath+
		" over HTTPS, with the certificate, authentication and authorization of --secure-port, and on its addresses. 0 serves it nowhere.")
}

// newCommand returns kube-scheduler's command with the plugin and its flags. It is put together from what
// kube-scheduler exports, because the command that kube-scheduler makes itself keeps its authentication to
// itself, and the decisions are to be served behind it.
func newCommand() (*cobra.Command, error) {
	opts, own := options.NewOptions(), &flags{profiles: profileOptions{kube: kube{ready: make(chan struct{})}}}
	cmd := &cobra.Command{
		Use: "scheduler",
		Long: "Scheduler is a kube-scheduler with the plugins " + scheduler.Name + ", which places each pod where it is predicted to add the fewest watts, " +
			scheduler.CapName + ", which keeps nodes and groups of nodes below a power, and " + scheduler.SpreadName + ", which spreads a share of a workload.",
		Args: cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return opts.ComponentGlobalsRegistry.Set() // feature gates
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			verflag.PrintAndExitIfRequested()
			gates := opts.ComponentGlobalsRegistry.FeatureGateFor(basecompatibility.DefaultKubeComponent)
			if err := logsapi.ValidateAndApply(opts.Logs, gates); err != nil {
				return err
			}
			cliflag.PrintFlags(cmd.Flags())
			ctx, cancel := context.WithCancel(server.SetupSignalContext())
			defer cancel()
			return run(ctx, opts, own)
		},
	}
	sets := opts.Flags
	own.add(sets.FlagSet("leastwatt"))
	verflag.AddFlags(sets.FlagSet("global"))
	globalflag.AddGlobalFlags(sets.FlagSet("global"), cmd.Name(), logs.SkipLoggingConfigurationFlags())
	for _, fs := range sets.FlagSets {
		cmd.Flags().AddFlagSet(fs)
	}
	cliflag.SetUsageAndHelpFunc(cmd, *sets, 0)
	summary := newSummary()
	summary.SetUsageFunc(new(cobra.Command).UsageFunc())
	summary.SetHelpFunc(new(cobra.Command).HelpFunc())
	cmd.AddCommand(summary)
	for _, name := range []string{"config", "leastwatt-config"} {
		if err := cmd.MarkFlagFilename(name, "yaml", "yml"); err != nil {
			return nil, err
		}
	}
	return cmd, nil
}

func run(ctx context.Context, opts *options.Options, own *flags) error {
	decisions := new(scheduler.Decisions)
	plugins, err := scheduler.NewAll(own.profiles.open, scheduler.Options{Config: own.config, Registerer: legacyregistry.Registerer(), Decisions: decisions})
	if err != nil {
		return err
	}
	if opts.InformerName == nil {
		if opts.InformerName, err = cache.NewInformerName("kube-scheduler"); err != nil {
			return err
		}
	}
	cc, sched, err := app.Setup(ctx, opts, withPlugins(plugins)...)
	if err != nil {
		return err
	}
	own.profiles.kube.set(cc.KubeConfig)
	opts.ComponentGlobalsRegistry.AddMetrics()
	if own.page.port != 0 {
		if err := own.page.serve(ctx, cc, decisions); err != nil {
			return fmt.Errorf("serve %s: %w", scheduler.DecisionsPath, err)
		}
	}
	return app.Run(ctx, cc, sched)
}

// cluster returns the API server for sources of type metrics.k8s.io without a url: the one that kubectl would ask, else
// the cluster that this program runs in.
func cluster() (*rest.Config, error) {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
}

func withPlugins(all map[string]scheduler.Factory) (out []app.Option) {
	for name, factory := range all {
		out = append(out, app.WithPlugin(name, factory))
	}
	return out
}

// open makes what the plugin decides with from a file, the cluster's objects or both.
func (o *profileOptions) open(path string) (scheduler.Setup, error) {
	if path == "" && !o.use {
		return scheduler.Setup{}, errors.New("no configuration: give --leastwatt-config, config in the plugin's arguments, or --leastwatt-profiles")
	}
	var c *config.Config
	if path != "" {
		var err error
		if c, err = config.Load(path); err != nil {
			return scheduler.Setup{}, err
		}
	}
	log := slog.New(logr.ToSlogHandler(klog.Background()))
	// Several files poll apart from each other, and are told apart, also those of one name in two folders.
	metrics := prometheus.WrapRegistererWith(prometheus.Labels{"config": path}, legacyregistry.Registerer())
	s := scheduler.Setup{Scorer: scoring.Waking{Power: scoring.EnvelopePower{}, Horizon: time.Hour}}
	if c != nil {
		c.Wakes = o.use // profiles may tell what it takes to wake a server
		s.Scorer = c.NewScorer()
	}
	// Files that differ in what is to be kept low, and not in sensors, have them read once.
	next := opened{config: c}
	if i := slices.IndexFunc(o.opened, func(x opened) bool { return c != nil && x.config != nil && x.config.SameSensors(c) }); i >= 0 {
		next.site, next.profiles = o.opened[i].site, o.opened[i].profiles
	}
	if o.use {
		site, err := o.newSite(c, log, metrics, next.profiles)
		if err != nil {
			return scheduler.Setup{}, err
		}
		s.Site, next.profiles = site, site.Provider
	} else {
		site, err := c.NewSite(config.SiteOptions{Logger: log, Registerer: metrics, Types: []sensorsconfig.Type{metricsserver.Type(cluster)}, With: next.site})
		if err != nil {
			return scheduler.Setup{}, err
		}
		s.Site, next.site = site, site
	}
	o.opened = append(o.opened, next)
	return s, nil
}
