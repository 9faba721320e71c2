package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// TestThousandServices runs the program, as it is built, on a real API server's 1,000 Services of 20 endpoints: what it
// writes, what memory it holds, and what one changed Service costs.
func TestThousandServices(t *testing.T) {
	if testing.Short() {
		t.Skip("1,000 Services take a while")
	}
	if os.Getenv(inNamespace) != "1" {
		needRoot(t)
		program := filepath.Join(t.TempDir(), "endpoint-selector")
		build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", program, ".") // static and stripped, as in the image
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		again(t, "LEASTWATT_PROGRAM="+program)
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	err := controlplane.Run(t.Context(), controlplane.ForTest(t, ""), controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		config := rest.CopyConfig(c.RESTConfig())
		config.QPS, config.Burst = 2000, 2000
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		thousand(ctx, t, client, c.Kubeconfig())
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func thousand(ctx context.Context, t *testing.T, client *kubernetes.Clientset, kubeconfig string) {
	for _, name := range []string{"cheap", "middle", "dear"} {
		if _, err := client.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const services, each = 1000, 20
	slice := func(i, ready int) *discovery.EndpointSlice {
		name := fmt.Sprint("s", i)
		s := &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{discovery.LabelServiceName: name, endpoints.NameLabel: endpoints.DefaultName}},
			AddressType: discovery.AddressTypeIPv4, Ports: []discovery.EndpointPort{{Name: new("p"), Port: new(int32(8080)), Protocol: new(v1.ProtocolTCP)}}}
		for j := range each {
			s.Endpoints = append(s.Endpoints, discovery.Endpoint{Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 100+j, i>>8, i&255)},
				NodeName: new([]string{"cheap", "middle", "dear"}[j%3]), Conditions: discovery.EndpointConditions{Ready: new(j < ready)},
				TargetRef: &v1.ObjectReference{Kind: "Pod", Namespace: "default", Name: fmt.Sprintf("%s-%d", name, j)}})
		}
		return s
	}
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < services; i += 8 {
				svc := &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("s", i), Namespace: "default", Labels: map[string]string{endpoints.NameLabel: endpoints.DefaultName}},
					Spec: v1.ServiceSpec{Ports: []v1.ServicePort{{Name: "p", Port: 80}}}}
				if _, err := client.CoreV1().Services("default").Create(ctx, svc, metav1.CreateOptions{}); err != nil {
					t.Error(err)
				}
				if _, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, slice(i, each), metav1.CreateOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	const address = "127.0.0.1:19418"
	var said bytes.Buffer
	program := exec.CommandContext(ctx, os.Getenv("LEASTWATT_PROGRAM"), "-kubeconfig", kubeconfig, "-config", siteConfig(t), "-metrics-address", address, "-rates", "local", "-rate-interval", "2s", "-refresh", "2s")
	program.Stdout, program.Stderr = &said, &said
	program.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = program.Process.Signal(syscall.SIGTERM)
		_ = program.Wait()
		if t.Failed() {
			t.Logf("%s", said.String())
		}
	}()
	shown := func() (shares int, syncs, seconds float64) {
		resp, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return 0, 0, 0
		}
		defer resp.Body.Close()
		p := expfmt.NewTextParser(model.UTF8Validation)
		families, err := p.TextToMetricFamilies(resp.Body)
		if err != nil {
			t.Error(err)
			return 0, 0, 0
		}
		if f := families["leastwatt_endpoint_share_ratio"]; f != nil {
			shares = len(f.Metric)
		}
		if f := families["leastwatt_endpoint_sync_seconds"]; f != nil {
			h := f.Metric[0].Histogram
			syncs, seconds = float64(h.GetSampleCount()), h.GetSampleSum()
		}
		return shares, syncs, seconds
	}
	nft := func(what ...string) string {
		out, _ := exec.Command("nft", append([]string{"list"}, what...)...).CombinedOutput()
		return string(out)
	}
	eventually(t, "all Services have rules", func() (bool, string) {
		n := strings.Count(nft("chains", "ip"), "chain svc-")
		return n == services, fmt.Sprint(n)
	})
	eventually(t, "the proxy is ready", func() (bool, string) {
		resp, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
	n, syncs, seconds := shown()
	if n != services*each {
		t.Errorf("%d shares, want %d", n, services*each)
	}
	t.Logf("%d Services of %d endpoints, %.0f syncs in %.0f ms", services, each, syncs, 1000*seconds)
	for k := range 20 {
		if _, err := client.DiscoveryV1().EndpointSlices("default").Update(ctx, slice(k, 10), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the changes are written", func() (bool, string) {
		rules := nft("table", "ip", "leastwatt")
		for k := range 20 {
			if strings.Contains(rules, fmt.Sprintf(" : 10.110.0.%d . 8080", k)) || !strings.Contains(rules, fmt.Sprintf(" : 10.109.0.%d . 8080", k)) {
				return false, fmt.Sprint("Service ", k)
			}
		}
		return true, ""
	})
	_, moreSyncs, moreSeconds := shown()
	t.Logf("20 changed Services and refreshes: %.0f syncs of %.1f ms", moreSyncs-syncs, 1000*(moreSeconds-seconds)/(moreSyncs-syncs))
	// At rest, and at most while it is scraped and its Services are refreshed.
	var most memory
	for range 5 {
		if n, _, _ := shown(); n == 0 {
			t.Error("no shares")
		}
		if m := memoryOf(t, program); m.rss > most.rss {
			most = m
		}
	}
	rest := most
	eventually(t, "memory is given back", func() (bool, string) {
		if m := memoryOf(t, program); m.rss < rest.rss {
			rest = m
		}
		return rest.rss < maxResident && rest.anon < maxAllocated, rest.String()
	})
	t.Logf("at rest %v", rest)
	t.Logf("at most, while %d series of endpoints are scraped %v", 4*services*each, most)
	t.Logf("peak at the start %.1f MB", float64(1024*kB(t, fmt.Sprintf("/proc/%d/status", program.Process.Pid), "VmHWM:"))/1e6)
}

// What the program may hold at rest with 1,000 Services of 20 endpoints. It allocates 26 to 33 MB; how many pages of its
// file are resident besides, 20 to 25 MB, is up to the kernel.
const (
	maxResident  = 60e6
	maxAllocated = 36e6
)

// memory is what a process holds in bytes: what it allocated and the pages of its file, which it shares with others that
// run it and which the kernel can drop. Pss counts shared pages in parts.
type memory struct {
	rss, anon, pss int
}

// String implements fmt.Stringer.
func (m memory) String() string {
	return fmt.Sprintf("%.1f MB resident (allocated %.1f, of its file %.1f; proportional %.1f)", float64(m.rss)/1e6, float64(m.anon)/1e6, float64(m.rss-m.anon)/1e6, float64(m.pss)/1e6)
}

// memoryOf reads a process's memory.
func memoryOf(t *testing.T, c *exec.Cmd) (m memory) {
	t.Helper()
	path := fmt.Sprintf("/proc/%d/smaps_rollup", c.Process.Pid)
	return memory{rss: 1024 * kB(t, path, "Rss:"), anon: 1024 * kB(t, path, "Anonymous:"), pss: 1024 * kB(t, path, "Pss:")}
}

// kB returns a line of a file below /proc.
func kB(t *testing.T, path, name string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in %s:\n%s", name, path, text)
	return 0
}
