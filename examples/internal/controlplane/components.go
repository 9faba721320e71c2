package controlplane

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

const (
	serviceRange   = "10.96.0.0/16"
	serviceIP      = "10.96.0.1" // of the Service kubernetes: the first of the range
	aggregatorUser = "aggregator"
)

// file is the path of one of the keys and certificates.
func (c *Cluster) file(name string) string { return filepath.Join(c.dir, "pki", name) }

// etcd listens with TLS and asks for client certificates. Nothing in it outlives the run, so it does
// not wait for the disk.
func (c *Cluster) etcd(port, peerPort int) command {
	client, peer := fmt.Sprintf("https://127.0.0.1:%d", port), fmt.Sprintf("https://127.0.0.1:%d", peerPort)
	return command{
		name: "etcd",
		path: c.bin.Etcd,
		args: []string{
			"--data-dir=" + filepath.Join(c.dir, "etcd"),
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
			"--cert-file=" + c.file("etcd.crt"), "--key-file=" + c.file("etcd.key"),
			"--trusted-ca-file=" + c.file("ca.crt"), "--client-cert-auth",
			"--peer-cert-file=" + c.file("etcd.crt"), "--peer-key-file=" + c.file("etcd.key"),
			"--peer-trusted-ca-file=" + c.file("ca.crt"), "--peer-client-cert-auth",
			"--unsafe-no-fsync", "--log-level=warn",
		},
		ready: c.answers(client + "/health"),
	}
}

func (c *Cluster) apiServer(port, etcdPort int) command {
	return command{
		name: "kube-apiserver",
		path: c.bin.APIServer,
		args: []string{
			fmt.Sprintf("--etcd-servers=https://127.0.0.1:%d", etcdPort), "--etcd-cafile=" + c.file("ca.crt"),
			"--etcd-certfile=" + c.file("etcd-client.crt"), "--etcd-keyfile=" + c.file("etcd-client.key"),
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
			"--tls-cert-file=" + c.file("kube-apiserver.crt"), "--tls-private-key-file=" + c.file("kube-apiserver.key"),
			"--client-ca-file=" + c.file("ca.crt"), "--authorization-mode=RBAC", "--anonymous-auth=false",
			"--service-account-key-file=" + c.file("service-account.pub"),
			"--service-account-signing-key-file=" + c.file("service-account.key"),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-cluster-ip-range=" + serviceRange,
			// The aggregator, for extension API servers such as a metrics adapter.
			"--requestheader-client-ca-file=" + c.file("front-proxy-ca.crt"), "--requestheader-allowed-names=" + aggregatorUser,
			"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file=" + c.file("front-proxy.crt"), "--proxy-client-key-file=" + c.file("front-proxy.key"),
			// Endpoints may not hold loopback addresses.
			"--endpoint-reconciler-type=none",
			// No kubelet renews leases or mounts tokens here, so nothing may wait for one.
			"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
			"--enable-priority-and-fairness=false", "--profiling=false",
		},
		ready: c.answers(c.server + "/readyz"),
	}
}

// controllerManager runs what Deployments, Services, Jobs and autoscaling need. The node lifecycle
// controller is left out: it would evict the pods of nodes that no kubelet keeps alive.
func (c *Cluster) controllerManager() command {
	return command{
		name: "kube-controller-manager",
		path: c.bin.ControllerManager,
		args: []string{
			"--kubeconfig=" + c.kubeconfig("kube-controller-manager"),
			"--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false",
			"--use-service-account-credentials=true", // else RBAC lets it create nothing
			"--service-account-private-key-file=" + c.file("service-account.key"),
			"--root-ca-file=" + c.file("ca.crt"),
			"--kube-api-qps=500", "--kube-api-burst=1000",
			"--horizontal-pod-autoscaler-sync-period=1s", // 15 s by default
			"--controllers=deployment-controller,replicaset-controller,endpointslice-controller,namespace-controller," +
				"serviceaccount-controller,garbage-collector-controller,job-controller,daemonset-controller,horizontal-pod-autoscaler-controller",
		},
	}
}

// answers is a readiness check: url answers 200 to the administrator.
func (c *Cluster) answers(url string) func(ctx context.Context) error {
	client := c.httpClient()
	return func(ctx context.Context) error {
		_, err := get(ctx, client, url)
		return err
	}
}

func (c *Cluster) httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c.secrets.tls.Clone()}, Timeout: 10 * time.Second}
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	const most = 16 << 20
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %.200s", url, resp.Status, body)
	}
	return body, nil
}

// freePorts finds n ports of loopback that nothing uses now.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("no free port on loopback: %w", err)
		}
		defer l.Close() // together at the end, so that the ports differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
