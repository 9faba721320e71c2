package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserveroptions "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/compat"
	"github.com/leastwatt/leastwatt/k8s/controllers"
	"github.com/leastwatt/leastwatt/k8s/metricsserver"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
)

// flags are what the program is told.
type flags struct {
	kubeconfig, config, namespace, health, metrics string
	leaseName, leaseNamespace                      string
	elect, metricsServer                           bool
	interval, learned                              time.Duration

	// lease, renew and retry are how leaders are elected, as kube-controller-manager has them.
	lease, renew, retry time.Duration

	wao, waoInsecure, waoLabels            bool
	waoLabelsModel, peaksFile, peaksConfig string
	waoFormat                              string

	registry prometheus.Registerer
	log      *slog.Logger // nil is klog's

	// qps and burst limit requests to the API server.
	qps   float32
	burst int

	workers int
}

func (f *flags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "The file that leads to the API server; by default the pod's service account.")
	fs.StringVar(&f.config, "leastwatt-config", "", "A configuration file of sensors and models, for what no NodeProfile or PowerModel says.")
	fs.StringVar(&f.namespace, "secrets-namespace", "", "The one namespace in which Secrets are read, by name alone. Without it none are read.")
	fs.StringVar(&f.health, "health-probe-bind-address", ":8081", "Where to serve /healthz and /readyz.")
	fs.StringVar(&f.metrics, "metrics-bind-address", ":8080", "Where to serve /metrics; 0 is nowhere.")
	fs.BoolVar(&f.elect, "leader-elect", false, "Let one of several replicas work; needs --leader-elect-namespace or --secrets-namespace.")
	fs.StringVar(&f.leaseNamespace, "leader-elect-namespace", "", "The namespace of the leader's lease; by default that of --secrets-namespace.")
	fs.StringVar(&f.leaseName, "leader-elect-name", "leastwatt-controller", "The name of the leader's lease: controllers that have the same one lead in turn, so give each installation of a namespace its own.")
	fs.DurationVar(&f.lease, "leader-elect-lease-duration", 15*time.Second, "After how long without a renewal of the leader's lease another replica may lead.")
	fs.DurationVar(&f.renew, "leader-elect-renew-deadline", 10*time.Second, "How long the leader tries to renew its lease before it gives up, and ends; less than the lease's duration.")
	fs.DurationVar(&f.retry, "leader-elect-retry-period", 2*time.Second, "Between two tries to get or renew the lease.")
	fs.DurationVar(&f.interval, "interval", 30*time.Second, "Between two reads of a node's sensors for its status, where --leastwatt-config does not say.")
	fs.DurationVar(&f.learned, "learned-every", time.Hour, "After how long what was learned of a server is put anew into the status of its NodeProfile, so that restarts do not lose it; 0 keeps nothing.")
	fs.BoolVar(&f.metricsServer, "metrics-server", false, "Read CPU in use from metrics.k8s.io where no sensor tells it.")
	fs.BoolVar(&f.wao, "wao", false, "Read WAO's NodeConfigs and NodeConfigTemplates, of the groups "+groups(compat.WAOGroups)+".")
	fs.BoolVar(&f.waoInsecure, "wao-insecure-skip-verify", false, "Verify no certificate of what WAO's objects name, as WAO does.")
	fs.StringVar(&f.waoFormat, "wao-cpu-usage-format", string(compat.Raw), "The argument cpuUsageFormat of WAO's scheduler plugin, which its objects do not tell: in what its models want CPU in use, Raw (cores) or Percent.")
	fs.BoolVar(&f.waoLabels, "wao-labels", false, "Read the node labels of WAO's first version: ambient/max, tensorflow/host and the others.")
	fs.StringVar(&f.waoLabelsModel, "wao-labels-model", "", "The model's name of nodes without the label tensorflow/name.")
	fs.StringVar(&f.peaksFile, "peaks-file", "", "PEAKS' node power models: a KubeSchedulerConfiguration, the plugin's arguments, or the models alone, in JSON or YAML.")
	fs.StringVar(&f.peaksConfig, "peaks-configmap", "", "The same in a ConfigMap, as NAMESPACE/NAME.")
	fs.IntVar(&f.workers, "workers", 4, "How many nodes' profiles are worked on at once.")
	fs.Float32Var(&f.qps, "kube-api-qps", 100, "Requests a second to the API server.")
	fs.IntVar(&f.burst, "kube-api-burst", 200, "Requests at once to the API server.")
}

func groups(all []schema.GroupVersion) string {
	var names []string
	for _, g := range all {
		names = append(names, g.Group)
	}
	return strings.Join(names, " and ")
}

func newCommand() *cobra.Command {
	f := &flags{registry: ctrlmetrics.Registry}
	cmd := &cobra.Command{Use: "controller", Short: "Controller keeps NodeProfiles and tells how their sensors and models do.", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
			if err != nil {
				return fmt.Errorf("--kubeconfig: %w", err)
			}
			return f.run(cmd.Context(), c)
		}}
	f.add(cmd.Flags())
	return cmd
}

// run runs the controllers until ctx ends.
func (f *flags) run(ctx context.Context, c *rest.Config) error {
	leases := cmp.Or(f.leaseNamespace, f.namespace)
	if f.elect && leases == "" {
		return errors.New("--leader-elect needs --leader-elect-namespace or --secrets-namespace, where its lease is")
	}
	c = rest.CopyConfig(c)
	c.QPS, c.Burst = f.qps, f.burst
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	log := cmp.Or(f.log, slog.New(logr.ToSlogHandler(klog.Background())))
	mgr, err := ctrl.NewManager(c, ctrl.Options{
		Scheme: scheme, Logger: klog.Background(),
		Cache:                   cache.Options{DefaultTransform: profiles.Slim},
		Client:                  client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		LeaderElection:          f.elect,
		LeaderElectionID:        f.leaseName,
		LeaderElectionNamespace: leases, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: &f.lease, RenewDeadline: &f.renew, RetryPeriod: &f.retry,
		HealthProbeBindAddress: f.health,
		Metrics:                metricsserveroptions.Options{BindAddress: f.metrics},
		Controller:             ctrlconfig.Controller{SkipNameValidation: new(true)}, // of tests, which run several in one process
	})
	if err != nil {
		return err
	}
	p, err := f.provider(c, log)
	if err != nil {
		return err
	}
	o := controllers.Options{Logger: log, Workers: f.workers, Registerer: f.registry, Learned: f.learned}
	if f.learned <= 0 {
		o.Learned = -1
	}
	wao, err := f.compat(ctx, mgr, &o)
	if err != nil {
		return err
	}
	direct, err := client.NewWithWatch(c, client.Options{Scheme: scheme, HTTPClient: mgr.GetHTTPClient(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return err
	}
	late := newLater(mgr.GetRESTMapper(), wao, reader(direct), log, func(ctx context.Context) (*controllers.Added, error) {
		if wao != nil {
			o.Watches = append(o.Watches, wao.Watches()...)
		}
		return controllers.Add(ctx, mgr, p, o)
	})
	if err := mgr.Add(late); err != nil {
		return err
	}
	synced := func(r *http.Request) error {
		short, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(short) {
			return errors.New("the cluster's objects are not read yet")
		}
		return nil
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("resources", late.ready), mgr.AddReadyzCheck("cache", synced)); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s))
}

func (f *flags) provider(c *rest.Config, log *slog.Logger) (*profiles.Provider, error) {
	o := profiles.Options{Interval: f.interval, Keep: min(f.learned, 5*time.Minute), Types: []sensorsconfig.Type{metricsserver.Type(func() (*rest.Config, error) { return c, nil })}, Logger: log, Registerer: f.registry}
	if f.config != "" {
		var err error
		if o.Config, err = config.Load(f.config); err != nil {
			return nil, err
		}
	}
	if f.namespace != "" {
		k, err := kubernetes.NewForConfig(c)
		if err != nil {
			return nil, err
		}
		o.Secrets = profiles.SecretsOf(k, f.namespace)
	}
	if f.metricsServer {
		s, err := metricsserver.New(c, metricsserver.Options{})
		if err != nil {
			return nil, err
		}
		o.Sources = []sensors.SensorSource{s}
	}
	return profiles.New(o)
}

// compat adds what other systems left, as the flags say, and returns what reads WAO's objects, whose groups are not known yet; nil is nothing.
func (f *flags) compat(ctx context.Context, mgr ctrl.Manager, o *controllers.Options) (wao *compat.WAO, err error) {
	if f.wao {
		format, err := compat.ParseCPUUsageFormat(f.waoFormat)
		if err != nil {
			return nil, fmt.Errorf("--wao-cpu-usage-format: %w", err)
		}
		wao = &compat.WAO{Namespace: f.namespace, InsecureSkipVerify: f.waoInsecure, CPUUsageFormat: format}
		o.Makers = append(o.Makers, wao)
	}
	if f.waoLabels {
		o.Makers = append(o.Makers, &compat.Labels{Model: f.waoLabelsModel})
	}
	var peaks *compat.Peaks
	switch namespace, name, ok := strings.Cut(f.peaksConfig, "/"); {
	case f.peaksFile != "" && f.peaksConfig != "":
		return nil, errors.New("--peaks-file and --peaks-configmap exclude each other")
	case f.peaksFile != "":
		peaks = compat.PeaksFile(f.peaksFile)
	case ok:
		peaks = compat.PeaksConfigMap(mgr.GetAPIReader(), namespace, name)
	case f.peaksConfig != "":
		return nil, fmt.Errorf("--peaks-configmap is %q: want NAMESPACE/NAME", f.peaksConfig)
	default:
		return wao, nil
	}
	if _, err := peaks.PowerModels(ctx); err != nil && f.peaksFile != "" { // a mistake is better told at once
		return nil, err
	} // a ConfigMap may come, go and be mistyped by others, which is told at each change, and stands in the way of nothing else
	o.Makers, o.Models = append(o.Makers, peaks), append(o.Models, peaks)
	return wao, nil
}
