package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// profiles is one that decides, beside what else has a say; one that can be batched; one that watches.
const profiles = `percentageOfNodesToScore: 100
profiles:
- schedulerName: default-scheduler
  plugins: {multiPoint: {enabled: [{name: LeastWatt, weight: 100}]}}
  pluginConfig:
  - name: LeastWatt
    args: {events: true}
- schedulerName: batched
  plugins: {multiPoint: {enabled: [{name: LeastWatt, weight: 100}]}}
  pluginConfig:
  - name: PodTopologySpread
    args: {defaultingType: List, defaultConstraints: []}
- schedulerName: watched
  plugins: {multiPoint: {enabled: [{name: LeastWatt, weight: 100}]}}
  pluginConfig:
  - name: LeastWatt
    args: {mode: shadow}
`

// hall is servers whose BMCs and exporters are emulated, and the file that leads to them.
func hall(t *testing.T, loads map[string]float64, dead string) (file string) {
	t.Helper()
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var bmcs, exporters strings.Builder
	for name, load := range loads {
		live := func() emulate.Machine {
			m := emulate.Blank()
			m.Utilization, m.Inlet, m.Watts = load, 24, 150
			return m
		}
		bmc, kepler := emulate.NewBMC(live, emulate.BMCOptions{User: "monitor", Password: "secret"}), emulate.NewKepler(name, live, emulate.KeplerOptions{})
		if name == dead {
			bmc.SetFault(emulate.Hang)
			kepler.SetFault(emulate.Hang)
		}
		for _, x := range []struct {
			to     *strings.Builder
			device http.Handler
			tls    *emulate.Authority
			path   string
		}{{&bmcs, bmc, authority, ""}, {&exporters, kepler, nil, "/metrics"}} {
			s, err := emulate.Listen(x.tls, x.device)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			fmt.Fprintf(x.to, "      %s: {url: %s%s}\n", name, s.URL, x.path)
		}
	}
	text := fmt.Sprintf(`sensors:
  poll: {interval: 1s}
  sources:
  - type: redfish
    user: monitor
    passwordFile: password
    tls: {caFile: ca.crt}
    perNode:
%s  - type: kepler
    perNode:
%smodels:
- name: frugal
  nodes: [frugal]
  kind: linear
  idleWatts: 50
  peakWatts: 90
  inlet: published
- name: others
  kind: linear
  idleWatts: 50
  peakWatts: 350
`, bmcs.String(), exporters.String())
	for name, content := range map[string]string{"site.yaml": text, "password": "secret\n", "ca.crt": string(authority.PEM())} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "site.yaml")
}

// The program on a real control plane: it reads sensors, places pods where they draw the fewest watts although
// one server's BMC hangs, tells why to those who may know, and watches without deciding where it is told to.
func TestScheduler(t *testing.T) {
	bin := controlplane.ForTest(t, controlplane.SchedulerPackage)
	loads := map[string]float64{"frugal": 0.4, "thirsty": 0.1, "middling": 0.2, "dead": 0}
	file := hall(t, loads, "dead")
	port := freePort(t)
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Kwok: true, Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		for name := range loads {
			if err := createNode(ctx, client, name); err != nil {
				return err
			}
		}
		s, err := c.StartScheduler(ctx, controlplane.SchedulerOptions{Config: profiles,
			Args: []string{"--leastwatt-config=" + file, fmt.Sprint("--leastwatt-secure-port=", port)}})
		if err != nil {
			return err
		}
		if err := until(ctx, func() (bool, error) {
			n, err := sum(ctx, s, "leastwatt_nodes", "known")
			return n == 3, err
		}); err != nil {
			return fmt.Errorf("waiting for readings of three servers: %w", err)
		}
		for i := range 12 {
			name := []string{"", "batched", "watched"}[i/4]
			if err := createPod(ctx, client, fmt.Sprint("p", i), name); err != nil {
				return err
			}
		}
		var pods []v1.Pod
		if err := until(ctx, func() (bool, error) {
			list, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
			if err != nil {
				return false, err
			}
			pods = list.Items
			return len(pods) == 12, nil
		}); err != nil {
			return fmt.Errorf("waiting for 12 pods: %w", err)
		}
		for _, p := range pods {
			if p.Spec.SchedulerName != "watched" && p.Spec.NodeName != "frugal" {
				t.Errorf("pod %s of profile %s is on %s: want it on frugal", p.Name, p.Spec.SchedulerName, p.Spec.NodeName)
			}
		}
		checkDecisions(t, ctx, c.RESTConfig(), port)
		if n, err := sum(ctx, s, "scheduler_batch_attempts_total", "hint_used"); err != nil || n == 0 {
			t.Errorf("%v pods were batched (%v): want some", n, err)
		}
		// The other plugins spread the pods, over the server whose BMC hangs too.
		if err := until(ctx, func() (bool, error) { // a pod counts just after it is bound
			n, err := sum(ctx, s, "leastwatt_shadow_decisions_total", "other")
			return n > 0, err
		}); err != nil {
			t.Errorf("watching, the plugin would have placed no pod elsewhere: %v", err)
		}
		return until(ctx, func() (bool, error) { // events are sent in the background
			list, err := client.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "reason=PlacedByPower"})
			return len(list.Items) == 4 && strings.Contains(list.Items[0].Message, "frugal is predicted to draw"), err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkDecisions(t *testing.T, ctx context.Context, admin *rest.Config, port int) {
	t.Helper()
	get := func(c *rest.Config) (int, string) {
		client, err := rest.HTTPClientFor(c)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d%s?format=json", port, scheduler.DecisionsPath), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	anonymous := rest.AnonymousClientConfig(admin)
	if status, body := get(anonymous); status != http.StatusForbidden && status != http.StatusUnauthorized || strings.Contains(body, "frugal") {
		t.Errorf("without credentials: status %d, %s", status, body)
	}
	status, body := get(admin)
	var got struct {
		Decisions []struct {
			Name, Profile, Chosen string
			Candidates, Known     int
			Unknown               map[string]int
			Best                  []struct{ Node, Source string }
			ChosenNode            *struct{ WattsBefore, WattsAfter float64 }
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK || len(got.Decisions) != 12 {
		t.Fatalf("decisions: status %d, %v: %s", status, err, body)
	}
	for _, d := range got.Decisions {
		if d.Name != "p0" {
			continue
		}
		unknown := 0
		for _, n := range d.Unknown {
			unknown += n
		}
		if d.Chosen != "frugal" || d.Candidates != 4 || d.Known != 3 || unknown != 1 || len(d.Best) != 3 || d.Best[0].Node != "frugal" ||
			!strings.HasPrefix(d.Best[0].Source, "kepler") || d.ChosenNode == nil || d.ChosenNode.WattsAfter <= d.ChosenNode.WattsBefore {
			t.Errorf("decision on p0 is %+v", d)
		}
		return
	}
	t.Errorf("there is no decision on p0: %s", body)
}

// A mistake in a file ends the program with a message that says where it is.
func TestMistakesAreTold(t *testing.T) {
	bin := controlplane.ForTest(t, controlplane.SchedulerPackage)
	bad := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(bad, []byte("sensors: {sources: [{type: kepler, url: http://x/metrics}]}\nmodels:\n- kind: linear\n  idleWats: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		_, err := c.StartScheduler(ctx, controlplane.SchedulerOptions{Config: profiles, Args: []string{"--leastwatt-config=" + bad}})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "site.yaml:4: models[0].idleWats: there is no such field") {
		t.Errorf("error is %v: want the file, line and field", err)
	}
	err = controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		_, err := c.StartScheduler(ctx, controlplane.SchedulerOptions{Config: strings.Replace(profiles, "events", "event", 1)})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), `arguments of plugin LeastWatt: unknown field \"event\"`) {
		t.Errorf("error is %v: want the argument", err)
	}
}

// until asks again and again, for a minute at most.
func until(ctx context.Context, done func() (bool, error)) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return done() })
}

// sum adds up a metric over the series that have a label of a value.
func sum(ctx context.Context, s *controlplane.Scheduler, name, label string) (float64, error) {
	families, err := s.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, m := range families[name].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetValue() == label {
				total += value(m)
			}
		}
	}
	return total, nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func createNode(ctx context.Context, client kubernetes.Interface, name string) error {
	has := v1.ResourceList{v1.ResourceCPU: resource.MustParse("32"), v1.ResourceMemory: resource.MustParse("128Gi"), v1.ResourcePods: resource.MustParse("110")}
	_, err := client.CoreV1().Nodes().Create(ctx, &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: v1.NodeStatus{Capacity: has, Allocatable: has,
			Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}},
	}, metav1.CreateOptions{})
	return err
}

func createPod(ctx context.Context, client kubernetes.Interface, name, profile string) error {
	_, err := client.CoreV1().Pods("default").Create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PodSpec{SchedulerName: profile, Containers: []v1.Container{{Name: "main", Image: "none",
			Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m")}}}}},
	}, metav1.CreateOptions{})
	return err
}
