// Shift is the controller that starts work when the grid is clean: pods with the scheduling gate leastwatt.github.io/shift, and Jobs and
// CronJobs that are suspended and have the label leastwatt.github.io/shift=true. Package k8s/shift tells what it promises.
//
//	shift -demo                                             # on a control plane of its own, with a clock that runs fast
//	shift -policies policies.yaml                           # in a cluster, or with -kubeconfig; zone GB needs no -grid
//	shift -release-overdue                                  # releases what must start, and ends: for a CronJob beside it
//
// It needs a ClusterRole with
//
//	pods: get, list, watch, patch             jobs.batch, cronjobs.batch: get, list, watch, patch
//	configmaps: get, create, update           events.events.k8s.io: create, patch
//	with -kueue: workloads.kueue.x-k8s.io: get, list, watch, patch; admissionchecks.kueue.x-k8s.io: list, watch; workloads/status, admissionchecks/status: patch
//
// with -tell-zone in the namespace of -tell-configmap also configmaps: create, and get and delete of that name,
// and in its own namespace, for leader election, leases.coordination.k8s.io: get, create, update, and events: create, patch. The webhook that refuses new work of
// namespaces whose budget is used up ("over: refuse"), and warns who makes work in the others, answers at /refuse of -webhook-port in every replica; it needs a
// ValidatingWebhookConfiguration for CREATE of pods, jobs and cronjobs, and a certificate in -webhook-cert-dir. Its failurePolicy should be Ignore: what comes in
// while the webhook is down is held by the same budget. With Fail nobody makes any pod in that time.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/leastwatt/leastwatt/examples/internal/gridsource"
	"github.com/leastwatt/leastwatt/examples/internal/kubeclient"
	"github.com/leastwatt/leastwatt/k8s/shift"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// options are the flags.
type options struct {
	demo, overdue, kueue, elect bool
	kubeconfig                  string
	lease, namespace            string // of the leader
	policies, arrivals          string
	grid                        gridsource.Flags
	metricsAddr, healthAddr     string
	webhookHost                 string // empty is every address
	webhookPort                 int
	webhookCerts                string
	interval, length            time.Duration
	tells                       intensityMap
	speed                       float64
	source                      grid.Source // instead of -grid, of the demonstration and tests
	now                         func() time.Time
	registered                  bool // the metrics of another controller of this process are there
}

// defaultLease is the name of the leader's Lease.
const defaultLease = "leastwatt-shift"

func main() {
	var o options
	f := flag.NewFlagSet("shift", flag.ContinueOnError)
	f.BoolVar(&o.demo, "demo", false, "run on a control plane of its own (built at the first time), with a fast clock")
	f.DurationVar(&o.length, "for", 0, "end after this time; 0 does not, and -demo ends when all work has started")
	f.Float64Var(&o.speed, "speed", 3600, "how much faster than real the clock of -demo runs")
	f.BoolVar(&o.overdue, "release-overdue", false, "release what must start by now, and end")
	f.BoolVar(&o.kueue, "kueue", false, "also care for Kueue's AdmissionChecks with controllerName "+shift.CheckController)
	f.StringVar(&o.kubeconfig, "kubeconfig", "", kubeclient.Usage)
	f.BoolVar(&o.elect, "leader-elect", true, "let one of several replicas work")
	f.StringVar(&o.namespace, "leader-namespace", "", "namespace of the Lease; empty is the pod's own")
	f.StringVar(&o.lease, "leader-name", defaultLease, "name of the Lease: who has the same one leads in turn, so each installation of a namespace has its own")
	o.grid.Define(f, "")
	f.StringVar(&o.policies, "policies", "", "YAML file: default, namespaces and cores; read again when it changes")
	f.StringVar(&o.arrivals, "arrivals-file", "", "file that keeps over restarts what was learned of the work that comes, where cores are limited; empty learns anew")
	f.StringVar(&o.metricsAddr, "metrics-listen", ":8080", "address of /metrics; 0 is none")
	f.StringVar(&o.healthAddr, "health-listen", ":8081", "address of /healthz and /readyz; 0 is none")
	f.StringVar(&o.tells.zone, "tell-zone", "", "zone whose forecast is told to others in a ConfigMap, in the form of Azure's kubernetes-carbon-intensity-exporter, which carbon-aware-keda-operator reads; empty tells nothing")
	f.StringVar(&o.tells.object, "tell-configmap", grid.ConfigMapNamespace+"/"+grid.ConfigMapName, "NAMESPACE/NAME of that ConfigMap")
	f.DurationVar(&o.tells.every, "tell-interval", 15*time.Minute, "how often it is written")
	f.IntVar(&o.webhookPort, "webhook-port", 0, "port of the webhook that refuses; 0 is none")
	f.StringVar(&o.webhookCerts, "webhook-cert-dir", "", "folder with tls.crt and tls.key")
	f.DurationVar(&o.interval, "interval", time.Minute, "how often is planned anew when nothing happens")
	if err := f.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.length)
		defer cancel()
	}
	program := inCluster
	if o.demo {
		program = demo
	}
	if err := program(ctx, &o, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "shift:", err)
		os.Exit(1)
	}
}

func inCluster(ctx context.Context, o *options, out io.Writer, log *slog.Logger) error {
	config, err := kubeclient.Config(o.kubeconfig)
	if err != nil {
		return err
	}
	if !o.overdue {
		return run(ctx, o, config, log)
	}
	s, err := scheme()
	if err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: s})
	if err != nil {
		return err
	}
	n, err := shift.ReleaseOverdue(ctx, c, o.kueue, time.Now())
	fmt.Fprintf(out, "released %d\n", n)
	return err
}

func scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, clientgoscheme.AddToScheme(s)
}

// run is the controller, until ctx is done.
func run(ctx context.Context, o *options, config *rest.Config, log *slog.Logger) error {
	s, err := scheme()
	if err != nil {
		return err
	}
	source := o.source
	if o.grid.Grid != "" || source == nil {
		if source, err = o.grid.Open(log, o.now); err != nil {
			return err
		}
	}
	policies, err := o.readPolicies()
	if err != nil {
		return err
	}
	logger := logr.FromSlogHandler(log.Handler())
	ctrl.SetLogger(logger)
	mo := ctrl.Options{Scheme: s, Logger: logger, LeaderElection: o.elect, LeaderElectionID: cmp.Or(o.lease, defaultLease), LeaderElectionNamespace: o.namespace,
		LeaderElectionReleaseOnCancel: true, LeaderElectionResourceLock: "leases", Metrics: server.Options{BindAddress: o.metricsAddr}, HealthProbeBindAddress: o.healthAddr,
		Cache: cache.Options{DefaultTransform: cache.TransformStripManagedFields()}, Client: client.Options{Cache: &client.CacheOptions{Unstructured: true}}}
	if o.webhookPort > 0 {
		mo.WebhookServer = webhook.NewServer(webhook.Options{Host: o.webhookHost, Port: o.webhookPort, CertDir: o.webhookCerts})
	}
	m, err := ctrl.NewManager(config, mo)
	if err != nil {
		return err
	}
	so := shift.Options{Policies: policies, Interval: o.interval, ArrivalsFile: o.arrivals, Kueue: o.kueue, Reader: m.GetAPIReader(), Events: m.GetEventRecorder("leastwatt-shift"), Logger: log, Now: o.now}
	if !o.registered {
		so.Registerer = crmetrics.Registry
	}
	c, err := shift.New(m.GetClient(), source, so)
	if err != nil {
		return err
	}
	if err := errors.Join(c.SetupWithManager(m), m.AddHealthzCheck("ping", healthz.Ping), m.AddReadyzCheck("ping", healthz.Ping)); err != nil {
		return err
	}
	if o.webhookPort > 0 {
		m.GetWebhookServer().Register("/refuse", &admission.Webhook{Handler: admission.HandlerFunc(c.Admit)})
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if feed, ok := source.(*gridsource.Feed); ok {
		wg.Go(func() { _ = feed.Run(ctx) }) // ends with ctx alone
	}
	if o.tells.zone != "" {
		if err := o.tells.add(m, source, log, o.now); err != nil {
			return err
		}
	}
	return m.Start(ctx)
}

// readPolicies returns what tells the policies of the file as it is now. A file that is wrong at the start is an error.
func (o *options) readPolicies() (func() (*shift.Policies, error), error) {
	if o.policies == "" {
		return nil, nil
	}
	read := func() (*shift.Policies, error) {
		const most = 4 << 20
		f, err := os.Open(o.policies)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, most))
		if err != nil {
			return nil, err
		}
		p, err := shift.ParsePolicies(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.policies, err)
		}
		return p, nil
	}
	_, err := read()
	return read, err
}
