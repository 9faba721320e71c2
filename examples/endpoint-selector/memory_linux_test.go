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
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
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
	// Resident memory is what the process allocated and the pages of its program file, which the kernel can drop.
	memory := func() string {
		return fmt.Sprintf("%d MB allocated of %d MB resident", status(t, program, "RssAnon"), status(t, program, "VmRSS"))
	}
	first := memory()
	if mb := status(t, program, "RssAnon"); mb > 80 {
		t.Errorf("%d MB are allocated: the target is 60 MB", mb)
	}
	n, syncs, seconds := shown()
	if n != services*each {
		t.Errorf("%d shares, want %d", n, services*each)
	}
	t.Logf("%d Services of %d endpoints, %.0f syncs in %.0f ms: %s", services, each, syncs, 1000*seconds, first)
	for k := range 20 {
		if _, err := client.DiscoveryV1().EndpointSlices("default").Update(ctx, slice(k, 10), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the changes are written", func() (bool, string) {
		set := nft("set", "ip", "leastwatt", "hairpin")
		for k := range 20 {
			if strings.Contains(set, fmt.Sprintf("10.110.0.%d ", k)) || !strings.Contains(set, fmt.Sprintf("10.109.0.%d ", k)) {
				return false, fmt.Sprint("Service ", k)
			}
		}
		return true, ""
	})
	_, moreSyncs, moreSeconds := shown()
	t.Logf("20 changed Services and refreshes: %.0f syncs of %.1f ms", moreSyncs-syncs, 1000*(moreSeconds-seconds)/(moreSyncs-syncs))
	t.Logf("after scrapes of %d series of endpoints: %s", 4*services*each, memory())
}

// status returns a line of a process's /proc/PID/status, in MB.
func status(t *testing.T, c *exec.Cmd, line string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(l, line+":"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kb / 1000
		}
	}
	t.Fatalf("no %s", line)
	return 0
}
