package controlplane

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// LeaseDuration is how long a leader is believed to lead after it was heard of last, where several are started by a test:
// short, so that a successor follows soon, and long enough for a machine that is busy with other tests.
const LeaseDuration = 6 * time.Second

// SchedulerOptions say how one scheduler runs. The zero value is the default scheduler.
type SchedulerOptions struct {
	// Name names the process and its log file; "" means kube-scheduler. Two schedulers that run at
	// the same time need two names.
	Name string

	// Config is the rest of a KubeSchedulerConfiguration in YAML, such as profiles and
	// percentageOfNodesToScore. What connects it to the cluster is added here, so it must not hold
	// apiVersion, kind, clientConnection or leaderElection.
	Config string

	// Standby starts the scheduler as the second of a pair: it watches the cluster and its plugins
	// work, but it places nothing until Lead is called.
	Standby bool

	// Elect starts it as one of several that elect a leader by a lease, which lasts [LeaseDuration] after the leader
	// was heard of last.
	Elect bool

	// QPS limits its requests to the API server a second; 0 means 5000.
	QPS int

	// Path is the program; "" means the Scheduler of the cluster's Binaries.
	Path string

	// Args are further flags.
	Args []string
}

// A Scheduler is a running scheduler.
type Scheduler struct {
	*Process
	url     string
	client  *http.Client
	cluster *Cluster
}

// StartScheduler starts a scheduler and returns when it is healthy. It ends with the cluster, or by Stop.
func (c *Cluster) StartScheduler(ctx context.Context, opts SchedulerOptions) (*Scheduler, error) {
	name := cmp.Or(opts.Name, "kube-scheduler")
	path := cmp.Or(opts.Path, c.bin.Scheduler)
	if path == "" {
		return nil, errors.New("no scheduler to start: it was left out of the build")
	}
	config := filepath.Join(c.dir, name+".yaml")
	if err := os.WriteFile(config, []byte(c.schedulerConfig(opts)), 0o600); err != nil {
		return nil, err
	}
	if opts.Standby {
		if err := c.setLeader(ctx, "standby", time.Hour); err != nil {
			return nil, err
		}
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	s := &Scheduler{url: fmt.Sprintf("https://127.0.0.1:%d", ports[0]), client: c.httpClient(), cluster: c}
	kubeconfig := c.kubeconfig("kube-scheduler")
	s.Process, err = c.startCommand(ctx, command{
		name: name,
		path: path,
		args: append([]string{
			"--config=" + config,
			"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[0]),
			"--tls-cert-file=" + c.file("kube-scheduler.crt"), "--tls-private-key-file=" + c.file("kube-scheduler.key"),
			// These let the administrator read its metrics.
			"--client-ca-file=" + c.file("ca.crt"),
			"--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		}, opts.Args...),
		ready: c.answers(s.url + "/readyz"),
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *Cluster) schedulerConfig(opts SchedulerOptions) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n")
	qps := cmp.Or(opts.QPS, 5000)
	fmt.Fprintf(&b, "clientConnection: {kubeconfig: %q, qps: %d, burst: %d}\n", c.kubeconfig("kube-scheduler"), qps, qps)
	lease := 2 * time.Minute
	if opts.Elect {
		lease = LeaseDuration
	}
	fmt.Fprintf(&b, "leaderElection: {leaderElect: %t, leaseDuration: %v, renewDeadline: %v, retryPeriod: 500ms}\n", opts.Standby || opts.Elect, lease, lease*5/6)
	fmt.Fprintln(&b, opts.Config)
	return b.String()
}

// URL is where it serves health and metrics.
func (s *Scheduler) URL() string { return s.url }

// Lead lets a scheduler on standby take the lead, which it does within a second or so.
func (s *Scheduler) Lead(ctx context.Context) error {
	return s.cluster.setLeader(ctx, "", time.Second)
}

// setLeader writes who leads the schedulers; "" is nobody. Schedulers believe it for as long as it lasts.
func (c *Cluster) setLeader(ctx context.Context, identity string, lasts time.Duration) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	leases := client.CoordinationV1().Leases(metav1.NamespaceSystem)
	const name = "kube-scheduler" // the one that RBAC lets the scheduler have
	spec := coordination.LeaseSpec{
		HolderIdentity:       &identity,
		LeaseDurationSeconds: new(int32(lasts.Seconds())),
		AcquireTime:          new(metav1.NowMicro()),
		RenewTime:            new(metav1.NowMicro()),
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		lease, err := leases.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = leases.Create(ctx, &coordination.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
			return err
		}
		if err != nil {
			return err
		}
		lease.Spec = spec
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("who leads the schedulers: %w", err)
	}
	return nil
}

// Metrics reads what the scheduler exposes about itself, by name of metric.
func (s *Scheduler) Metrics(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	body, err := get(ctx, s.client, s.url+"/metrics")
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", s.name, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", s.name, err)
	}
	return families, nil
}

// Profile writes a CPU profile of the scheduler over the next seconds to a file, in the format of pprof.
func (s *Scheduler) Profile(ctx context.Context, d time.Duration, path string) error {
	patient := &http.Client{Transport: s.client.Transport} // without its deadline
	body, err := get(ctx, patient, fmt.Sprintf("%s/debug/pprof/profile?seconds=%.0f", s.url, d.Seconds()))
	if err != nil {
		return fmt.Errorf("CPU profile of %s: %w", s.name, err)
	}
	return os.WriteFile(path, body, 0o600)
}

// CollectGarbage makes the scheduler collect its garbage, so that its metrics then tell what memory it needs. Where a
// file is named, it gets the profile of what is left, in the format of pprof.
func (s *Scheduler) CollectGarbage(ctx context.Context, path string) error {
	body, err := get(ctx, s.client, s.url+"/debug/pprof/heap?gc=1")
	if err != nil {
		return fmt.Errorf("garbage of %s: %w", s.name, err)
	}
	if path == "" {
		return nil
	}
	return os.WriteFile(path, body, 0o600)
}
