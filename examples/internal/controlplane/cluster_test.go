package controlplane_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// upstream is the scheduler as Kubernetes ships it.
const upstream = "k8s.io/kubernetes/cmd/kube-scheduler"

// A pod goes all the way: created, bound by a real scheduler, Running by kwok; and nothing stays behind.
func TestPodBecomesRunning(t *testing.T) {
	bin := controlplane.ForTest(t, upstream)
	parent := t.TempDir()
	opts := controlplane.Options{Kwok: true, Parent: parent, Progress: t.Output()}
	var scheduler *controlplane.Scheduler
	err := controlplane.Run(t.Context(), bin, opts, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		if scheduler, err = c.StartScheduler(ctx, controlplane.SchedulerOptions{}); err != nil {
			return err
		}
		if err := createNode(ctx, client, "n1"); err != nil {
			return err
		}
		w, err := client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		defer w.Stop()
		if err := createPod(ctx, client, "p1"); err != nil {
			return err
		}
		for e := range w.ResultChan() {
			if pod, ok := e.Object.(*v1.Pod); ok && pod.Status.Phase == v1.PodRunning {
				if pod.Spec.NodeName != "n1" {
					t.Errorf("pod runs on %q, the only node is n1", pod.Spec.NodeName)
				}
				break
			}
		}
		metrics, err := scheduler.Metrics(ctx)
		if err != nil {
			return err
		}
		h := metrics["scheduler_scheduling_algorithm_duration_seconds"]
		if h == nil || h.GetMetric()[0].GetHistogram().GetSampleCount() != 1 {
			t.Errorf("the scheduler counts %v scheduled pods, want 1", h)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("after Run the parent folder holds %v (%v), want nothing", left, err)
	}
	if err := syscall.Kill(scheduler.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the scheduler still runs: %v", err)
	}
}

// The API server really checks who asks: no certificate, no answer; the scheduler may not do what the
// administrator may.
func TestAccessIsChecked(t *testing.T) {
	bin := controlplane.ForTest(t, "")
	opts := controlplane.Options{Parent: t.TempDir()}
	err := controlplane.Run(t.Context(), bin, opts, func(ctx context.Context, c *controlplane.Cluster) error {
		anonymous := c.RESTConfig()
		anonymous.CertData, anonymous.KeyData = nil, nil
		client, err := kubernetes.NewForConfig(anonymous)
		if err != nil {
			return err
		}
		if _, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
			t.Errorf("without a certificate: %v, want Unauthorized", err)
		}
		config, err := clientcmd.BuildConfigFromFlags("", strings.Replace(c.Kubeconfig(), "admin", "kube-scheduler", 1))
		if err != nil {
			return err
		}
		if client, err = kubernetes.NewForConfig(config); err != nil {
			return err
		}
		if _, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err != nil {
			t.Errorf("the scheduler lists nodes: %v", err)
		}
		if err := createNode(ctx, client, "n1"); !apierrors.IsForbidden(err) {
			t.Errorf("the scheduler creates a node: %v, want Forbidden", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A component that dies ends the run with an error that names it.
func TestDeadComponentIsNamed(t *testing.T) {
	bin := controlplane.ForTest(t, upstream)
	parent := t.TempDir()
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: parent}, func(ctx context.Context, c *controlplane.Cluster) error {
		s, err := c.StartScheduler(ctx, controlplane.SchedulerOptions{Name: "second-scheduler"})
		if err != nil {
			return err
		}
		if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err == nil || !strings.Contains(err.Error(), "second-scheduler: signal: killed") {
		t.Errorf("Run = %v, want an error that names second-scheduler", err)
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("after Run the parent folder holds %v, want nothing", left)
	}
}

// A scheduler on standby places nothing until it leads.
func TestStandby(t *testing.T) {
	bin := controlplane.ForTest(t, upstream)
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		for range 2 { // a second one finds the lease that the first left
			s, err := c.StartScheduler(ctx, controlplane.SchedulerOptions{Standby: true})
			if err != nil {
				return err
			}
			if err := createNode(ctx, client, "n1"); err != nil && !apierrors.IsAlreadyExists(err) {
				return err
			}
			w, err := client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			if err := createPod(ctx, client, "p1"); err != nil {
				return err
			}
			if e := <-w.ResultChan(); e.Object.(*v1.Pod).Spec.NodeName != "" {
				t.Error("the pod was bound before a scheduler leads")
			}
			if err := s.Lead(ctx); err != nil {
				return err
			}
			for e := range w.ResultChan() {
				if pod, ok := e.Object.(*v1.Pod); ok && pod.Spec.NodeName != "" {
					break
				}
			}
			w.Stop()
			s.Stop()
			if err := client.CoreV1().Pods("default").Delete(ctx, "p1", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A component that cannot start says why.
func TestBadSchedulerConfigIsShown(t *testing.T) {
	bin := controlplane.ForTest(t, upstream)
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		_, err := c.StartScheduler(ctx, controlplane.SchedulerOptions{Config: "nonsense: 1"})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), `unknown field \"nonsense\"`) {
		t.Errorf("Run = %v, want the scheduler's own complaint", err)
	}
}

func createNode(ctx context.Context, client kubernetes.Interface, name string) error {
	room := v1.ResourceList{"cpu": resource.MustParse("8"), "memory": resource.MustParse("32Gi"), "pods": resource.MustParse("110")}
	_, err := client.CoreV1().Nodes().Create(ctx, &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelHostname: name}},
		Status: v1.NodeStatus{Capacity: room, Allocatable: room,
			Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}},
	}, metav1.CreateOptions{})
	return err
}

func createPod(ctx context.Context, client kubernetes.Interface, name string) error {
	_, err := client.CoreV1().Pods("default").Create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "none"}}},
	}, metav1.CreateOptions{})
	return err
}
