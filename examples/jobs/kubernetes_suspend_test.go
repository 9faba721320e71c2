package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// allow makes a service account with the rights that the program's comment says it needs.
func allow(ctx context.Context, api kubernetes.Interface) error {
	_, err := api.CoreV1().ServiceAccounts("default").Create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "jobs"}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "jobs"}}
	meta := metav1.ObjectMeta{Name: "jobs"}
	if _, err := api.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list", "watch"}}}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := api.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "jobs"}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := api.RbacV1().Roles("default").Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"create", "get", "list", "watch", "patch"}}}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err = api.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "jobs"}}, metav1.CreateOptions{})
	return err
}

// A Job whose pods were told to end has none that are active, and is not suspended before they have ended.
func TestStopped(t *testing.T) {
	suspended := []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: v1.ConditionTrue}}
	for name, c := range map[string]struct {
		status batchv1.JobStatus
		want   bool
	}{
		"it runs":                {batchv1.JobStatus{Active: 1}, false},
		"not heard of":           {batchv1.JobStatus{}, false},
		"its pods end":           {batchv1.JobStatus{Conditions: suspended, Terminating: new(int32(2))}, false},
		"its pods have ended":    {batchv1.JobStatus{Conditions: suspended, Terminating: new(int32(0))}, true},
		"of an older Kubernetes": {batchv1.JobStatus{Conditions: suspended}, true},
	} {
		if got := stopped(&batchv1.Job{Status: c.status}); got != c.want {
			t.Errorf("%s: stopped is %v", name, got)
		}
	}
}

// On a real API server with its Job controller, and with no more rights than documented: a Job is suspended when it becomes dirty, stays so over a
// restart of the service, and is resumed when it is clean, on another node where its own is gone, with the work that is left.
func TestKubernetesSuspend(t *testing.T) {
	bin := controlplane.ForTest(t, "")
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, cluster *controlplane.Cluster) error {
		api, err := cluster.Client()
		if err != nil {
			return err
		}
		if err := allow(ctx, api); err != nil {
			return err
		}
		kubeconfig, err := cluster.ServiceAccountKubeconfig(ctx, "default", "jobs")
		if err != nil {
			return err
		}
		has := v1.ResourceList{v1.ResourceCPU: resource.MustParse("32"), v1.ResourceMemory: resource.MustParse("128Gi"), v1.ResourcePods: resource.MustParse("110")}
		for i := range 2 {
			if _, err := api.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("k", i), Labels: map[string]string{v1.LabelTopologyRegion: "here"}},
				Status: v1.NodeStatus{Capacity: has, Allocatable: has, Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}}}, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
		began := time.Now().UTC().Truncate(time.Hour)
		var hours atomic.Int64 // nanoseconds since then
		o := func() *options {
			return &options{kubernetes: true, kubeconfig: kubeconfig, namespace: "default", strategy: SpaceTime, idleWatts: 2, peakWatts: 8, slack: time.Hour,
				source: hourly{began, []float64{100, 500, 500, 500, 500, 500, 100, 100, 500}}, now: func() time.Time { return began.Add(time.Duration(hours.Load())) }}
		}
		first := o()
		url, stop := serveUntil(t, first)
		c := client{t: t, url: url}
		until(t, "the outlook", func() bool { s := c.status(); return len(s.Sites) > 0 && s.Sites[0].Hours[0] != nil })
		if code, body := c.do("POST", "/jobs", "application/json", fmt.Sprintf(`{"id":"p","cpu":2,"duration":10800,"deadline":%q,"suspendable":true}`, began.Add(20*time.Hour).Format(time.RFC3339))); code != 202 {
			t.Fatal(code, body)
		}
		job := func() *batchv1.Job {
			j, err := api.BatchV1().Jobs("default").Get(ctx, "lw-p", metav1.GetOptions{})
			if err != nil {
				return &batchv1.Job{}
			}
			return j
		}
		pods := func() []v1.Pod {
			list, err := api.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: managed + "=p"})
			if err != nil {
				t.Error(err)
			}
			return list.Items
		}
		node := func(j *batchv1.Job) string {
			return j.Spec.Template.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
		}
		until(t, "the pod", func() bool { return len(pods()) == 1 })
		before := pods()[0]
		if e := before.Spec.Containers[0].Env[1]; before.Annotations[secondsLeft] != "10800" || e.Name != "LEASTWATT_SECONDS" || !strings.Contains(e.ValueFrom.FieldRef.FieldPath, secondsLeft) {
			t.Errorf("annotations %v, environment %+v", before.Annotations, e)
		}
		state := func() string { _, body := c.do("GET", "/jobs/p", "", ""); return body }
		until(t, "running", func() bool { return strings.Contains(state(), `"state":"running"`) })

		hours.Store(int64(61 * time.Minute))
		until(t, "suspended", func() bool { return strings.Contains(state(), `"state":"suspended"`) })
		if j := job(); j.Spec.Suspend == nil || !*j.Spec.Suspend || len(pods()) != 0 {
			t.Errorf("the Job is suspended: %v, with %d pods", j.Spec.Suspend, len(pods()))
		}
		stop() // and nobody is there for some hours
		old := node(job())
		n, err := api.CoreV1().Nodes().Get(ctx, old, metav1.GetOptions{})
		if err != nil {
			return err
		}
		n.Spec.Unschedulable = true
		if _, err := api.CoreV1().Nodes().Update(ctx, n, metav1.UpdateOptions{}); err != nil {
			return err
		}
		second := o()
		second.data = first.data
		c.url, _ = serveUntil(t, second)
		until(t, "the outlook", func() bool { s := c.status(); return len(s.Sites) > 0 && s.Sites[0].Hours[0] != nil })
		if s := state(); !strings.Contains(s, `"state":"suspended"`) {
			t.Errorf("after a restart: %s", s)
		}
		hours.Store(int64(6*time.Hour + time.Minute))
		until(t, "running again", func() bool { return strings.Contains(state(), `"state":"running"`) && len(pods()) == 1 })
		j, after := job(), pods()[0]
		if node(j) == old || *j.Spec.Suspend || after.UID == before.UID {
			t.Errorf("it goes on on %s, which is gone, or is suspended still: %v", node(j), *j.Spec.Suspend)
		}
		if s := after.Annotations[secondsLeft]; s != "7140" { // three hours less 61 minutes
			t.Errorf("%s seconds are left, want 7140", s)
		}
		after.Status.Phase = v1.PodSucceeded
		if _, err := api.CoreV1().Pods("default").UpdateStatus(ctx, &after, metav1.UpdateOptions{}); err != nil {
			return err
		}
		until(t, "done", func() bool {
			return strings.Contains(state(), `"state":"done"`) && strings.Contains(state(), `"stretches":[`)
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
