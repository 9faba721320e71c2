package main

import (
	"context"
	"fmt"
	"slices"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// Jobs run as real Kubernetes Jobs on the node that was decided on, by a real API server, scheduler and Job controller; one that was
// made before a crash is taken over, and one that Kubernetes fails is failed.
func TestKubernetesJobs(t *testing.T) {
	bin := controlplane.ForTest(t, "k8s.io/kubernetes/cmd/kube-scheduler")
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Kwok: true, Parent: t.TempDir()}, func(ctx context.Context, cluster *controlplane.Cluster) error {
		api, err := cluster.Client()
		if err != nil {
			return err
		}
		has := v1.ResourceList{v1.ResourceCPU: resource.MustParse("32"), v1.ResourceMemory: resource.MustParse("128Gi"), v1.ResourcePods: resource.MustParse("110")}
		for i := range 3 {
			if _, err := api.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("k", i)}, Spec: v1.NodeSpec{Unschedulable: i == 2},
				Status: v1.NodeStatus{Capacity: has, Allocatable: has, Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}}}, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
		if _, err := cluster.StartScheduler(ctx, controlplane.SchedulerOptions{Config: "profiles: [{schedulerName: default-scheduler}]"}); err != nil {
			return err
		}
		o := &options{kubernetes: true, kubeconfig: cluster.Kubeconfig(), namespace: "default", strategy: "leastwatt", idleWatts: 2, peakWatts: 8, slack: 1}
		c := client{t: t, url: serve(t, o)}
		// As if the program had crashed after it made the Job and before it knew so.
		old := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "lw-again", Labels: map[string]string{managed: "again"}},
			Spec: batchv1.JobSpec{Template: v1.PodTemplateSpec{Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever, Containers: []v1.Container{{Name: "x", Image: "none"}}}}}}
		if _, err := api.BatchV1().Jobs("default").Create(ctx, old, metav1.CreateOptions{}); err != nil {
			return err
		}
		foreign := old.DeepCopy()
		foreign.Name, foreign.Labels, foreign.Spec.Suspend = "lw-foreign", nil, new(true)
		if _, err := api.BatchV1().Jobs("default").Create(ctx, foreign, metav1.CreateOptions{}); err != nil {
			return err
		}
		for _, id := range []string{"one", "two", "again", "foreign"} {
			if code, body := c.do("POST", "/jobs", "application/json", fmt.Sprintf(`{"id":%q,"cpu":2.5,"mem":1,"duration":60,"tag":"x"}`, id)); code != 202 {
				t.Fatal(code, body)
			}
		}
		until(t, "three jobs done and one failed", func() bool { s := c.status(); return s.Done == 3 && s.Failed == 1 })
		pods, err := api.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: managed + " in (one, two)"})
		if err != nil {
			return err
		}
		if len(pods.Items) != 2 {
			t.Errorf("%d pods", len(pods.Items))
		}
		decided := c.status().Decisions
		for _, p := range pods.Items {
			k := slices.IndexFunc(decided, func(d Decision) bool { return d.JobID == p.Labels[managed] })
			if k < 0 || decided[k].Node != p.Spec.NodeName || p.Spec.NodeName == "k2" {
				t.Errorf("pod %s is on %s: decisions %+v", p.Name, p.Spec.NodeName, decided)
			}
			if q := p.Spec.Containers[0].Resources.Requests.Cpu().MilliValue(); q != 2500 {
				t.Errorf("the pod requests %d millicores", q)
			}
			if e := p.Spec.Containers[0].Env; len(e) < 2 || e[0].Value != "3" || e[1].Value != "60" {
				t.Errorf("the container's environment is %v", e)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
