package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/examples/internal/readme"
	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

const featureProfiles = `percentageOfNodesToScore: 100
profiles:
- schedulerName: spread
  plugins: {multiPoint: {enabled: [{name: LeastWatt, weight: 10}, {name: SpreadRate, weight: 1000}]}}
- schedulerName: capped
  plugins: {multiPoint: {enabled: [{name: LeastWatt, weight: 100}, {name: PowerCap}]}}
  pluginConfig:
  - name: PowerCap
    args: {caps: [{name: pdu, label: pdu, groups: {p1: 90}}], retry: 1s}
- schedulerName: assumed
  plugins: {multiPoint: {enabled: [{name: LeastWatt, weight: 100}]}}
  pluginConfig:
  - name: LeastWatt
    args: {utilization: [sensors, requests], annotate: true}
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

// zoned is nodes of equal servers in zones of different intensity, and the file that leads to their exporters. The
// load of a1 is told by load; the exporter of dark is dead.
func zoned(t *testing.T, load func() float64) (file string, nodes map[string]map[string]string) {
	t.Helper()
	nodes = make(map[string]map[string]string)
	var exporters strings.Builder
	for _, name := range []string{"a1", "b1", "b2", "c1", "c2", "c3", "dark"} {
		labels := map[string]string{v1.LabelTopologyZone: name[:1]}
		if name == "a1" {
			labels["pdu"] = "p1"
		}
		if name == "dark" {
			delete(labels, v1.LabelTopologyZone)
			labels["grid"] = "dark"
		}
		nodes[name] = labels
		kepler := emulate.NewKepler(name, func() emulate.Machine {
			m := emulate.Blank()
			if m.Utilization = 0.1; name == "a1" {
				m.Utilization = load()
			}
			return m
		}, emulate.KeplerOptions{})
		if name == "dark" {
			kepler.SetFault(emulate.Hang)
		}
		s, err := emulate.Listen(nil, kepler)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		fmt.Fprintf(&exporters, "      %s: {url: %s/metrics}\n", name, s.URL)
	}
	file = filepath.Join(t.TempDir(), "site.yaml")
	text := fmt.Sprintf(`sensors:
  poll: {interval: 500ms}
  sources:
  - type: kepler
    perNode:
%smodels: [{name: all, kind: linear, idleWatts: 50, peakWatts: 250}]
objective:
  minimize: grams
  pue: 1.2
  zone: {label: topology.kubernetes.io/zone}
  sites: [{labels: {grid: dark}, zone: d}]
  intensity:
  - {type: static, value: 100, zones: [a]}
  - {type: static, value: 400, zones: [b]}
  - {type: static, value: 800, zones: [c]}
  - {type: static, value: 10, zones: [d]}
`, exporters.String())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, nodes
}

// Everything beside plain placement, on a real control plane: grams as the objective, a share of a Deployment spread over
// zones of one, two and three nodes, a power cap that gives way when the load falls, a node known by requests
// alone, and what shadow mode would have saved.
func TestFeatures(t *testing.T) {
	bin, kubectl := controlplane.ForTest(t, controlplane.SchedulerPackage), controlplane.KubectlForTest(t)
	var idle atomic.Bool
	file, nodes := zoned(t, func() float64 {
		if idle.Load() {
			return 0
		}
		return 0.1
	})
	port := freePort(t)
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Kwok: true, Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		for name, labels := range nodes {
			if err := createLabelled(ctx, client, name, labels); err != nil {
				return err
			}
		}
		s, err := c.StartScheduler(ctx, controlplane.SchedulerOptions{Config: featureProfiles,
			Args: []string{"--leastwatt-config=" + file, fmt.Sprint("--leastwatt-secure-port=", port)}})
		if err != nil {
			return err
		}
		if err := until(ctx, func() (bool, error) {
			n, err := sum(ctx, s, "leastwatt_nodes", "known")
			return n == 6, err
		}); err != nil {
			return fmt.Errorf("waiting for readings of six servers: %w", err)
		}
		if err := checkSpread(t, ctx, client); err != nil {
			return fmt.Errorf("spread: %w", err)
		}
		if err := checkCap(t, ctx, client, &idle); err != nil {
			return fmt.Errorf("power cap: %w", err)
		}
		shell, err := reader(ctx, c, client, kubectl, bin.Scheduler, strings.NewReplacer(":10259", s.URL()[strings.LastIndex(s.URL(), ":"):], ":10260", fmt.Sprint(":", port)))
		if err != nil {
			return err
		}
		shadow := readme.Read(t, "### Shadow mode").Commands
		last := len(shadow) - 1 // those before it give the reader a token
		shell.Play(ctx, t, shadow[:last])
		if err := checkAssumed(t, ctx, client); err != nil {
			return fmt.Errorf("requests: %w", err)
		}
		shell.Play(ctx, t, readme.Read(t, "### Explain one decision").Commands)
		if err := checkShadow(t, ctx, client, s); err != nil {
			return err
		}
		shell.Numbers = true // the other plugins choose among equals by chance
		shell.Play(ctx, t, shadow[last:])
		if err := checkBatched(t, ctx, client, s); err != nil {
			return fmt.Errorf("batches: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Six of twelve replicas are spread over three zones, the others go where a kilowatt-hour is cleanest.
func checkSpread(t *testing.T, ctx context.Context, client kubernetes.Interface) error {
	labels := map[string]string{"app": "web"}
	spec := podOf("spread", "500m")
	_, err := client.AppsV1().Deployments("default").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{Replicas: new(int32(12)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: v1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{scheduler.SpreadAnnotationWAO: "0.5"}}, Spec: spec}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	zones := map[string]int{}
	if err := until(ctx, func() (bool, error) {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return false, err
		}
		clear(zones)
		bound := 0
		for _, p := range pods.Items {
			if p.Spec.NodeName != "" {
				bound++
				zones[p.Spec.NodeName[:1]]++
			}
		}
		return bound == 12, nil
	}); err != nil {
		return err
	}
	if zones["a"] != 8 || zones["b"] != 2 || zones["c"] != 2 {
		t.Errorf("replicas per zone are %v: want 8 in a, 2 in b and 2 in c", zones)
	}
	return nil
}

// A pod of 25 W does not fit under the 90 W of the PDU of a1: it goes elsewhere, or waits and says why, until the
// load has fallen.
func checkCap(t *testing.T, ctx context.Context, client kubernetes.Interface, idle *atomic.Bool) error {
	pods := client.CoreV1().Pods("default")
	free, bound := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "free"}, Spec: podOf("capped", "4")}, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bound"}, Spec: podOf("capped", "4")}
	bound.Spec.NodeSelector = map[string]string{"pdu": "p1"}
	for _, p := range []*v1.Pod{free, bound} {
		if _, err := pods.Create(ctx, p, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	why, err := pendingWhy(ctx, client, "bound")
	if err != nil {
		return err
	}
	t.Logf("kubectl get pod bound: %s", why)
	if !strings.Contains(why, `power cap "pdu": p1 would draw `) || !strings.Contains(why, ` W more than 90 W`) {
		t.Errorf("the pod waits because %q", why)
	}
	if err := until(ctx, func() (bool, error) {
		p, err := pods.Get(ctx, "free", metav1.GetOptions{})
		return err == nil && p.Spec.NodeName != "" && p.Spec.NodeName != "a1", err
	}); err != nil {
		return fmt.Errorf("the pod that may go elsewhere: %w", err)
	}
	idle.Store(true)
	return until(ctx, func() (bool, error) {
		p, err := pods.Get(ctx, "bound", metav1.GetOptions{})
		return err == nil && p.Spec.NodeName == "a1", err
	})
}

// The dark node is the cleanest, and its load is what its pods request.
func checkAssumed(t *testing.T, ctx context.Context, client kubernetes.Interface) error {
	if err := createPod(ctx, client, "assumed", "assumed"); err != nil {
		return err
	}
	annotation := ""
	if err := until(ctx, func() (bool, error) {
		p, err := client.CoreV1().Pods("default").Get(ctx, "assumed", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		annotation = p.Annotations[scheduler.DecisionAnnotation]
		return p.Spec.NodeName == "dark" && annotation != "", nil
	}); err != nil {
		return err
	}
	if !strings.Contains(annotation, "dark is predicted to draw +3.12 W for it") || !strings.Contains(annotation, "load from requests") {
		t.Errorf("the annotation is %q", annotation)
	}
	return nil
}

// reader is somebody who does what the README tells, where the chart's role of readers is there.
func reader(ctx context.Context, c *controlplane.Cluster, client kubernetes.Interface, kubectl, program string, ports *strings.Replacer) (*readme.Shell, error) {
	authority, err := os.ReadFile(c.CAFile())
	if err != nil {
		return nil, err
	}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "leastwatt"}}, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	_, err = client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "lw-leastwatt-reader"},
		Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics", scheduler.DecisionsPath}, Verbs: []string{"get"}}}}, metav1.CreateOptions{})
	return &readme.Shell{Programs: map[string]string{"kubectl": kubectl, "scheduler": program}, Kubeconfig: c.Kubeconfig(), Files: map[string]string{"ca.crt": string(authority)}, Typed: ports}, err
}

// Pods that are alike are placed in batches by grams too: where a kilowatt-hour is cleanest.
func checkBatched(t *testing.T, ctx context.Context, client kubernetes.Interface, s *controlplane.Scheduler) error {
	const pods = 8
	for i := range pods {
		if err := createPod(ctx, client, fmt.Sprint("batched", i), "batched"); err != nil {
			return err
		}
	}
	if err := until(ctx, func() (bool, error) {
		for i := range pods {
			p, err := client.CoreV1().Pods("default").Get(ctx, fmt.Sprint("batched", i), metav1.GetOptions{})
			if err != nil || p.Spec.NodeName == "" {
				return false, err
			}
			if p.Spec.NodeName != "a1" {
				t.Errorf("%s is on %s, want a1", p.Name, p.Spec.NodeName)
			}
		}
		return true, nil
	}); err != nil {
		return err
	}
	n, err := sum(ctx, s, "scheduler_batch_attempts_total", "hint_used")
	if t.Logf("%v of %d pods were batched", n, pods); n == 0 {
		t.Error("no pod was batched")
	}
	return err
}

// The other plugins spread pods over all zones; the plugin would have put them on a1.
func checkShadow(t *testing.T, ctx context.Context, client kubernetes.Interface, s *controlplane.Scheduler) error {
	for i := range 6 {
		if err := createPod(ctx, client, fmt.Sprint("watched", i), "watched"); err != nil {
			return err
		}
	}
	if err := until(ctx, func() (bool, error) {
		n, err := sum(ctx, s, "leastwatt_shadow_decisions_total", "watched")
		return n == 6, err
	}); err != nil {
		return err
	}
	families, err := s.Metrics(ctx)
	if err != nil {
		return err
	}
	if g := families["leastwatt_shadow_saving_grams_per_hour"].GetMetric(); len(g) != 1 || value(g[0]) <= 0 {
		t.Errorf("grams saved an hour: %v: want some", g)
	}
	return nil
}

func podOf(profile, cpu string) v1.PodSpec {
	return v1.PodSpec{SchedulerName: profile, Containers: []v1.Container{{Name: "main", Image: "none",
		Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}}}}}
}

func createLabelled(ctx context.Context, client kubernetes.Interface, name string, labels map[string]string) error {
	if err := createNode(ctx, client, name); err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, name, "application/merge-patch+json", patch, metav1.PatchOptions{})
	return err
}

// pendingWhy waits until a pod could not be scheduled, and returns the reason that it tells.
func pendingWhy(ctx context.Context, client kubernetes.Interface, name string) (why string, err error) {
	err = until(ctx, func() (bool, error) {
		p, err := client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, c := range p.Status.Conditions {
			if c.Type == v1.PodScheduled && c.Status == v1.ConditionFalse {
				why = c.Message
			}
		}
		return why != "", nil
	})
	return why, err
}
