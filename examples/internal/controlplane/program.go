package controlplane

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Program builds one program of this checkout, by its import path in the examples module, and returns its
// path. Go relinks it only if something changed.
func (b Builder) Program(ctx context.Context, pkg string) (string, error) {
	w, err := b.workshop(ctx)
	if err != nil {
		return "", err
	}
	unlock, err := lockFolder(ctx, w.cache, func() {
		w.say("another build is using %s: waiting for it", w.cache)
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	defer w.prune(time.Now()) // before unlock
	return w.buildOwn(ctx, "program", pkg, path.Base(pkg), "")
}

// ProgramForTest builds a program of the examples module, named by its folder, such as metrics-adapter.
func ProgramForTest(t testing.TB, folder string) string {
	t.Helper()
	out, err := Builder{Progress: t.Output()}.Program(t.Context(), examplesModule+"/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A tool is a program of somebody else that tests use. The folder helm pins its version.
type tool struct {
	name, module, pkg string
}

var (
	helmTool = tool{"helm", "helm.sh/helm/v4", "helm.sh/helm/v4/cmd/helm"}
	kubectl  = tool{"kubectl", "k8s.io/kubectl", "./kubectl"}
)

// Helm returns the path of helm. It is built once into the cache, which takes some minutes.
func (b Builder) Helm(ctx context.Context) (string, error) { return b.tool(ctx, helmTool) }

// Kubectl returns the path of kubectl. It is built once into the cache; helm has most of its packages.
func (b Builder) Kubectl(ctx context.Context) (string, error) { return b.tool(ctx, kubectl) }

func (b Builder) tool(ctx context.Context, t tool) (string, error) {
	out, w, err := b.toolPath(ctx, t)
	if err != nil {
		return "", err
	}
	w.touch(out)
	if exists(out) {
		return out, nil
	}
	unlock, err := lockFolder(ctx, w.cache, func() {
		w.say("another build is using %s: waiting for it", w.cache)
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(out) { // the other build made it
		return out, nil
	}
	defer w.prune(time.Now())
	return out, w.build(ctx, t.name, target{dir: w.toolFolder("helm"), mode: alone, pkg: t.pkg, out: out})
}

func (b Builder) toolPath(ctx context.Context, t tool) (string, *workshop, error) {
	w, err := b.workshop(ctx)
	if err != nil {
		return "", nil, err
	}
	version, _, err := moduleVersion(ctx, w.toolFolder("helm"), alone, t.module)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(w.cache, fmt.Sprintf("%s-%s-%s-%s", t.name, version, runtime.GOOS, runtime.GOARCH), t.name), w, nil
}

// HelmForTest returns the path of helm for a test, which is skipped where the cache has none, unless
// LEASTWATT_E2E=1 asks for its build.
func HelmForTest(t testing.TB) string {
	t.Helper()
	return toolForTest(t, helmTool)
}

// KubectlForTest returns the path of kubectl as [HelmForTest] does that of helm.
func KubectlForTest(t testing.TB) string {
	t.Helper()
	return toolForTest(t, kubectl)
}

func toolForTest(t testing.TB, x tool) string {
	t.Helper()
	b := Builder{Progress: t.Output()}
	out, _, err := b.toolPath(t.Context(), x)
	if err == nil && !exists(out) && os.Getenv("LEASTWATT_E2E") != "1" {
		t.Skipf("%v: no %s in the cache: set LEASTWATT_E2E=1 to build it", ErrNotBuilt, x.name)
	}
	if err == nil {
		out, err = b.tool(t.Context(), x)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A Program is what [Cluster.Start] starts.
type Program struct {
	Name string // of its log file too
	Path string
	Args []string
	Env  []string // beside the environment of this process

	// Attr changes how the process is made, such as its root folder and user; it then starts in /.
	Attr func(*syscall.SysProcAttr)

	// Ready tells whether it has started, asked until it returns nil; a nil Ready is at once.
	Ready func(ctx context.Context) error
}

// Start starts a program that belongs to the cluster and returns when it is ready. It ends with the cluster, or
// by Stop; if it ends by itself, so does the cluster.
func (c *Cluster) Start(ctx context.Context, p Program) (*Process, error) {
	return c.startCommand(ctx, command{name: p.Name, path: p.Path, args: p.Args, env: p.Env, attr: p.Attr, ready: p.Ready})
}

// CAFile is the path of the certificate of the authority that signs the cluster's servers and clients.
func (c *Cluster) CAFile() string { return c.file("ca.crt") }

// Server is the URL of kube-apiserver.
func (c *Cluster) Server() string { return c.server }

// ServingCertificate issues a certificate for a server on loopback that has the given DNS names, and returns
// the paths of it and its key.
func (c *Cluster) ServingCertificate(name string, hosts ...string) (cert, key string, err error) {
	p, err := c.secrets.ca.server(name, hosts...)
	if err != nil {
		return "", "", err
	}
	cert, key = c.file(name+".crt"), c.file(name+".key")
	if err := os.WriteFile(cert, p.cert, 0o600); err != nil {
		return "", "", err
	}
	return cert, key, os.WriteFile(key, p.key, 0o600)
}

// ServiceAccountKubeconfig writes a kubeconfig with a token of a service account, as a kubelet gives it to the
// account's pods, and returns its path.
func (c *Cluster) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) (string, error) {
	client, err := c.Client()
	if err != nil {
		return "", err
	}
	request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of service account %s/%s: %w", namespace, name, err)
	}
	config := api.NewConfig()
	config.Clusters["leastwatt"] = &api.Cluster{Server: c.server, CertificateAuthorityData: c.secrets.ca.pem}
	config.AuthInfos[name] = &api.AuthInfo{Token: token.Status.Token}
	config.Contexts["leastwatt"] = &api.Context{Cluster: "leastwatt", AuthInfo: name, Namespace: namespace}
	config.CurrentContext = "leastwatt"
	file := c.kubeconfig(namespace + "." + name)
	return file, clientcmd.WriteToFile(*config, file)
}

// Answers returns a readiness check: url answers 200 to the administrator's client certificate.
func (c *Cluster) Answers(url string) func(ctx context.Context) error { return c.answers(url) }

// Get reads from a server that trusts the cluster's authority and the administrator's client certificate.
func (c *Cluster) Get(ctx context.Context, url string) ([]byte, error) {
	return get(ctx, c.httpClient(), url)
}

// FreePort returns a port of loopback that nothing uses now.
func FreePort() (int, error) {
	p, err := freePorts(1)
	if err != nil {
		return 0, err
	}
	return p[0], nil
}
