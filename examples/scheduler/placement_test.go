package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/scheduler"
)

// The framework that kube-scheduler links takes the plugins as they are.
var (
	_ fwk.PlacementScorePlugin = (*scheduler.PlacementScore)(nil)
	_ fwk.FilterPlugin         = (*scheduler.PowerCap)(nil)
	_ fwk.ScorePlugin          = (*scheduler.SpreadRate)(nil)
	_ fwk.ScorePlugin          = (*scheduler.Plugin)(nil)
)

const podGroups = "--feature-gates=GenericWorkload=true,TopologyAwareWorkloadScheduling=true"

// A pod group that must be in one rack goes to the rack where it costs least: of two profiles, which take
// different racks for the frugal one, each chooses its own.
func TestPlacementOfPodGroups(t *testing.T) {
	bin := controlplane.ForTest(t, controlplane.SchedulerPackage)
	dir := t.TempDir()
	var config strings.Builder
	config.WriteString("percentageOfNodesToScore: 100\nprofiles:\n")
	for _, frugal := range []string{"r1", "r2"} {
		file := filepath.Join(dir, frugal+".yaml")
		text := fmt.Sprintf(`sensors: {sources: [{type: kepler, url: "http://127.0.0.1:9/metrics"}]}
models:
- {name: frugal, labels: {rack: %s}, kind: linear, idleWatts: 50, peakWatts: 90}
- {name: thirsty, kind: linear, idleWatts: 50, peakWatts: 350}
`, frugal)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		config.WriteString(fmt.Sprintf(`- schedulerName: %[1]s
  plugins: {multiPoint: {enabled: [{name: LeastWattPlacement, weight: 100}, {name: LeastWatt}]}}
  pluginConfig:
  - name: LeastWatt
    args: {config: %[2]s, utilization: [requests], mode: shadow, annotate: true}
  - name: LeastWattPlacement
    args: {config: %[2]s, utilization: [requests]}
`, frugal, file))
	}
	opts := controlplane.Options{Kwok: true, Parent: t.TempDir(), APIServer: []string{podGroups, "--runtime-config=scheduling.k8s.io/v1beta1=true"}}
	err := controlplane.Run(t.Context(), bin, opts, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		for _, name := range []string{"r1-a", "r1-b", "r2-a", "r2-b"} {
			if err := createLabelled(ctx, client, name, map[string]string{"rack": name[:2]}); err != nil {
				return err
			}
		}
		s, err := c.StartScheduler(ctx, controlplane.SchedulerOptions{Config: config.String(), Args: []string{podGroups}})
		if err != nil {
			return err
		}
		if err := until(ctx, func() (bool, error) { // of two sites
			families, err := s.Metrics(ctx)
			n, at := 0.0, 0.0
			for _, m := range families["leastwatt_nodes"].GetMetric() {
				n += value(m)
			}
			for _, m := range families["leastwatt_view_timestamp_seconds"].GetMetric() {
				at = value(m) // of the site whose readings were joined first
			}
			return n == 4 && at > 0, err
		}); err != nil {
			return fmt.Errorf("waiting for models of four servers in two sites: %w", err)
		}
		for round := range 3 {
			for _, rack := range []string{"r1", "r2"} {
				group := fmt.Sprint("group-", rack, "-", round)
				_, err := client.SchedulingV1beta1().PodGroups("default").Create(ctx, &schedulingv1beta1.PodGroup{
					ObjectMeta: metav1.ObjectMeta{Name: group},
					Spec: schedulingv1beta1.PodGroupSpec{
						SchedulingPolicy:      schedulingv1beta1.PodGroupSchedulingPolicy{Gang: &schedulingv1beta1.GangSchedulingPolicy{MinCount: 4}},
						SchedulingConstraints: &schedulingv1beta1.PodGroupSchedulingConstraints{Topology: []schedulingv1beta1.TopologyConstraint{{Key: "rack"}}},
					}}, metav1.CreateOptions{})
				if err != nil {
					return err
				}
				for i := range 4 {
					p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(group, "-", i), Labels: map[string]string{"group": group}}, Spec: podOf(rack, "1")}
					p.Spec.SchedulingGroup = &v1.PodSchedulingGroup{PodGroupName: &group}
					if _, err := client.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{}); err != nil {
						return err
					}
				}
				racks := map[string]int{}
				if err := until(ctx, func() (bool, error) {
					pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "group=" + group})
					if err != nil {
						return false, err
					}
					clear(racks)
					bound := 0
					for _, p := range pods.Items {
						if p.Spec.NodeName != "" {
							bound++
							racks[p.Spec.NodeName[:2]]++
						}
					}
					return bound == 4, nil
				}); err != nil {
					return fmt.Errorf("waiting for the pods of %s: %w", group, err)
				}
				if racks[rack] != 4 {
					t.Errorf("pods of %s per rack are %v: want all in %s", group, racks, rack)
				}
			}
		}
		// Each pod was tried on two racks. It counts once, by the candidates that it had in the better one.
		var same, other, all float64
		if err := until(ctx, func() (bool, error) {
			families, err := s.Metrics(ctx)
			same, other, all = 0, 0, 0
			for _, m := range families["leastwatt_shadow_decisions_total"].GetMetric() {
				all += value(m)
				for _, l := range m.GetLabel() {
					switch l.GetValue() {
					case "same":
						same += value(m)
					case "other":
						other += value(m)
					}
				}
			}
			return all >= 24, err
		}); err != nil {
			return fmt.Errorf("waiting for 24 pods that are counted in shadow mode: %v are: %w", all, err)
		}
		if all != 24 || same+other != 24 {
			t.Errorf("of 24 pods of groups %v were counted in shadow mode, %v where the plugin would have them and %v elsewhere", all, same, other)
		}
		return until(ctx, func() (bool, error) {
			pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
			if err != nil {
				return false, err
			}
			for _, p := range pods.Items {
				switch note, ok := p.Annotations[scheduler.DecisionAnnotation]; {
				case !ok:
					return false, nil
				case !strings.Contains(note, "of 2 candidates 2 were known"):
					t.Errorf("%s: %s", p.Name, note)
				}
			}
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
