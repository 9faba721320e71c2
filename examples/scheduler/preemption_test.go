package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	scheduling "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// cappedRack is a profile with a cap on what two nodes draw together: 100 W when idle and 6.25 W more for each core that is requested. Pods that are
// rejected are tried again by events alone.
const cappedRack = `percentageOfNodesToScore: 100
profiles:
- schedulerName: capped
  plugins: {multiPoint: {enabled: [{name: LeastWatt, weight: 100}, {name: PowerCap}]}}
  pluginConfig:
  - name: PowerCap
    args: {caps: [{name: pdu, label: pdu, watts: 180}], utilization: [requests], retry: 1h}
`

// On a real control plane, a pod of high priority that a rack's cap keeps out has pods of its own node evicted, and none of the rack's other node: there it says how
// much too high the rack would be, and comes in as soon as a pod of that other node has ended.
func TestPowerCapAndPreemption(t *testing.T) {
	bin := controlplane.ForTest(t, controlplane.SchedulerPackage)
	const site = "sensors: {sources: [{type: kepler, perNode: {elsewhere: {url: http://127.0.0.1:1/metrics}}}]}\nmodels: [{name: all, kind: linear, idleWatts: 50, peakWatts: 250}]\n"
	file := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(file, []byte(site), 0o600); err != nil {
		t.Fatal(err)
	}
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Kwok: true, Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		for _, name := range []string{"a", "b"} {
			if err := createLabelled(ctx, client, name, map[string]string{"pdu": "p1", "name": name}); err != nil {
				return err
			}
		}
		if _, err := client.SchedulingV1().PriorityClasses().Create(ctx, &scheduling.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000}, metav1.CreateOptions{}); err != nil {
			return err
		}
		if _, err := c.StartScheduler(ctx, controlplane.SchedulerOptions{Config: cappedRack, Args: []string{"--leastwatt-config=" + file}}); err != nil {
			return err
		}
		pods := client.CoreV1().Pods("default")
		create := func(name, node, cpu, priority string) error {
			p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: podOf("capped", cpu)}
			p.Spec.NodeSelector, p.Spec.PriorityClassName = map[string]string{"name": node}, priority
			_, err := pods.Create(ctx, p, metav1.CreateOptions{})
			return err
		}
		placed := func(name string) error {
			var last *v1.Pod
			if err := until(ctx, func() (bool, error) {
				var err error
				last, err = pods.Get(ctx, name, metav1.GetOptions{})
				return err == nil && last.Spec.NodeName != "", err
			}); err != nil {
				return fmt.Errorf("pod %s is to be placed: %w: %+v", name, err, last.Status)
			}
			return nil
		}
		for _, node := range []string{"a", "b"} { // 175 W together
			if err := create("low-"+node, node, "6", ""); err != nil {
				return err
			}
			if err := placed("low-" + node); err != nil {
				return err
			}
		}
		if err := create("first", "a", "4", "high"); err != nil {
			return err
		}
		if err := placed("first"); err != nil {
			return err
		}
		if _, err := pods.Get(ctx, "low-a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the pod of low priority on the node is still there: %v", err)
		}
		// Of 162.5 W, 37.5 W are those of the other node's pod of low priority.
		if err := create("second", "a", "6", "high"); err != nil {
			return err
		}
		why, err := pendingWhy(ctx, client, "second")
		if err != nil {
			return err
		}
		t.Logf("kubectl get pod second: %s", why)
		if want := `power cap "pdu": p1 would draw 20 W more than 180 W (preemption evicts nothing from its other nodes)`; !strings.Contains(why, want) {
			t.Errorf("the pod waits because %q, want %q", why, want)
		}
		if p, err := pods.Get(ctx, "low-b", metav1.GetOptions{}); err != nil || p.DeletionTimestamp != nil {
			t.Errorf("the pod of the other node is evicted, which makes no room: %v", err)
		}
		if err := pods.Delete(ctx, "low-b", metav1.DeleteOptions{}); err != nil {
			return err
		}
		return placed("second")
	})
	if err != nil {
		t.Fatal(err)
	}
}
