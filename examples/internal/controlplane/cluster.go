package controlplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Options of [Run]. The zero value starts etcd, kube-apiserver and kube-controller-manager in a
// temporary folder, in silence.
type Options struct {
	// Kwok also starts kwok, which makes the pods bound to any node Running and lets them end.
	Kwok bool

	// Parent is the folder in which the work folder is made; "" means the system's folder for
	// temporary files.
	Parent string

	// APIServer are further flags of kube-apiserver, such as feature gates.
	APIServer []string

	// Audit has kube-apiserver note what is written, and what service accounts read, for [Cluster.Writes] and [Cluster.Requests].
	Audit bool

	// Progress receives a line for each program that has started. Nil discards them.
	Progress io.Writer
}

// A Cluster is a running control plane. It is safe for concurrent use, and useless after the function
// that [Run] gave it to has returned.
type Cluster struct {
	bin      Binaries
	dir      string
	server   string // URL of kube-apiserver
	secrets  *credentials
	progress io.Writer
	failed   context.CancelCauseFunc

	mu        sync.Mutex
	processes []*Process // in the order they started; guarded by mu
}

// Run starts a control plane, calls use, stops everything, newest first, and removes the work folder.
// It returns when all of that is done.
//
// The context that use gets is cancelled when ctx is, and when a program ends by itself; Run's error
// then names that program and shows the end of its log. Where use returns nil after ctx was cancelled, so
// does Run: it was asked to end, and it did.
func Run(ctx context.Context, bin Binaries, opts Options, use func(ctx context.Context, c *Cluster) error) error {
	// A port that was free may be taken by the time its server binds it: then all starts again.
	const attempts = 3
	for attempt := 1; ; attempt++ {
		started, err := runOnce(ctx, bin, opts, use)
		if started || attempt == attempts || err == nil || !strings.Contains(err.Error(), "address already in use") {
			return err
		}
	}
}

func runOnce(ctx context.Context, bin Binaries, opts Options, use func(ctx context.Context, c *Cluster) error) (started bool, err error) {
	dir, err := os.MkdirTemp(opts.Parent, "leastwatt-cluster-")
	if err != nil {
		return false, fmt.Errorf("work folder of the control plane: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	parent := ctx
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	c := &Cluster{bin: bin, dir: dir, progress: cmp.Or[io.Writer](opts.Progress, io.Discard), failed: cancel}
	defer c.stop()
	if err := c.start(ctx, opts); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return false, err
	}
	err = use(ctx, c)
	switch {
	case ctx.Err() == nil:
	case err != nil, parent.Err() == nil: // what made use stop says more than how it stopped
		err = context.Cause(ctx)
	}
	return true, err
}

// start starts the programs that every cluster has.
func (c *Cluster) start(ctx context.Context, opts Options) error {
	begin := time.Now()
	if err := os.Mkdir(filepath.Join(c.dir, "logs"), 0o700); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	etcd, peer, api := ports[0], ports[1], ports[2]
	c.server = fmt.Sprintf("https://127.0.0.1:%d", api)
	if c.secrets, err = newCredentials(filepath.Join(c.dir, "pki")); err != nil {
		return fmt.Errorf("certificates of the control plane: %w", err)
	}
	for _, identity := range []struct {
		file, user string
		groups     []string
	}{
		{"admin", "admin", []string{"system:masters"}},
		{"kube-controller-manager", "system:kube-controller-manager", nil},
		{"kube-scheduler", "system:kube-scheduler", nil},
		{"kwok", kwokUser, nil},
	} {
		if err := c.secrets.writeKubeconfig(c.kubeconfig(identity.file), c.server, identity.user, identity.groups...); err != nil {
			return err
		}
	}
	server := c.apiServer(api, etcd)
	if opts.Audit {
		flags, err := c.audit()
		if err != nil {
			return err
		}
		server.args = append(server.args, flags...)
	}
	server.args = append(server.args, opts.APIServer...)
	for _, command := range []command{
		c.etcd(etcd, peer),
		server,
		c.controllerManager(),
	} {
		if _, err := c.startCommand(ctx, command); err != nil {
			return err
		}
		fmt.Fprintf(c.progress, "  %-42s ready after %s\n", command.name, seconds(time.Since(begin)))
	}
	if !opts.Kwok {
		return nil
	}
	if err := c.allowKwok(ctx); err != nil {
		return err
	}
	command, err := c.kwok()
	if err != nil {
		return err
	}
	if _, err := c.startCommand(ctx, command); err != nil {
		return err
	}
	fmt.Fprintf(c.progress, "  %-42s ready after %s\n", command.name, seconds(time.Since(begin)))
	return nil
}

func (c *Cluster) startCommand(ctx context.Context, command command) (*Process, error) {
	p, err := startProcess(ctx, filepath.Join(c.dir, "logs"), command, c.failed)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes = append(c.processes, p)
	return p, nil
}

// stop stops the programs, newest first: each still has what it depends on while it ends.
func (c *Cluster) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.processes) > 0 {
		last := len(c.processes) - 1
		c.processes[last].Stop()
		c.processes = c.processes[:last]
	}
}

// Folder is the cluster's work folder, with the logs in logs. A caller may keep files there.
func (c *Cluster) Folder() string { return c.dir }

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig("admin") }

func (c *Cluster) kubeconfig(name string) string {
	return filepath.Join(c.dir, name+".kubeconfig")
}

// RESTConfig returns the administrator's client configuration, without client-side throttling.
func (c *Cluster) RESTConfig() *rest.Config {
	return &rest.Config{
		Host:            c.server,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.secrets.ca.pem, CertData: c.secrets.admin.cert, KeyData: c.secrets.admin.key},
		QPS:             -1,
	}
}

// Client returns the administrator's client. It speaks protobuf, as the components do.
func (c *Cluster) Client() (*kubernetes.Clientset, error) {
	config := c.RESTConfig()
	config.ContentType = "application/vnd.kubernetes.protobuf"
	return kubernetes.NewForConfig(config)
}
