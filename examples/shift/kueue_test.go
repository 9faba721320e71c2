package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/shift"
)

// kueueObjects are the names of Kueue's definitions.
var kueueObjects = []string{"workloads.kueue.x-k8s.io", "admissionchecks.kueue.x-k8s.io"}

func definitions(d dynamic.Interface) dynamic.ResourceInterface {
	return d.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
}

// installKueue installs Kueue's definitions in the last version, and where there are more serves none of the others.
func installKueue(ctx context.Context, d dynamic.Interface, versions ...string) error {
	crds := definitions(d)
	for _, name := range kueueObjects {
		text, err := os.ReadFile(filepath.Join("testdata", "kueue", name+".yaml"))
		if err != nil {
			return err
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &o.Object); err != nil {
			return err
		}
		list, _, err := unstructured.NestedSlice(o.Object, "spec", "versions")
		if err != nil || len(list) != 1 {
			return fmt.Errorf("%s: %d versions, %w", name, len(list), err)
		}
		var all []any
		for i, version := range versions {
			v := runtime.DeepCopyJSON(list[0].(map[string]any))
			v["name"], v["storage"], v["served"] = version, i == 0, i == len(versions)-1
			all = append(all, v)
		}
		if err := unstructured.SetNestedSlice(o.Object, all, "spec", "versions"); err != nil {
			return err
		}
		if old, err := crds.Get(ctx, name, metav1.GetOptions{}); err == nil {
			o.SetResourceVersion(old.GetResourceVersion())
			_, err = crds.Update(ctx, o, metav1.UpdateOptions{})
			if err != nil {
				return err
			}
		} else if _, err := crds.Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return err
		}
		group, resource := schema.GroupVersion{Group: "kueue.x-k8s.io", Version: versions[len(versions)-1]}, strings.TrimSuffix(name, ".kueue.x-k8s.io")
		if err := until(ctx, func() (bool, error) {
			_, err := d.Resource(group.WithResource(resource)).List(ctx, metav1.ListOptions{})
			return err == nil, nil
		}); err != nil {
			return fmt.Errorf("waiting for %s: %w", name, err)
		}
	}
	return nil
}

// makeKueue makes an AdmissionCheck of ours and a Workload with reserved quota that waits for it.
func makeKueue(ctx context.Context, d dynamic.Interface, version, name string) (dynamic.ResourceInterface, error) {
	group := schema.GroupVersion{Group: "kueue.x-k8s.io", Version: version}
	checks := d.Resource(group.WithResource("admissionchecks"))
	workloads := d.Resource(group.WithResource("workloads")).Namespace("lab")
	object := func(kind, name string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": group.String(), "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec}}
	}
	if _, err := checks.Create(ctx, object("AdmissionCheck", "clean", map[string]any{"controllerName": shift.CheckController}), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	w, err := workloads.Create(ctx, object("Workload", name, map[string]any{"podSets": []any{map[string]any{"name": "main", "count": int64(2), "template": map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{shift.DurationAnnotation: "3h"}},
		"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "resources": map[string]any{"requests": map[string]any{"cpu": "500m"}}}}}}}}}), metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	stamp := time.Now().UTC().Format(time.RFC3339)
	w.Object["status"] = map[string]any{
		"conditions":      []any{map[string]any{"type": "QuotaReserved", "status": "True", "reason": "QuotaReserved", "lastTransitionTime": stamp}},
		"admissionChecks": []any{map[string]any{"name": "clean", "state": "Pending", "message": "", "lastTransitionTime": stamp}, map[string]any{"name": "another", "state": "Pending", "message": "", "lastTransitionTime": stamp}},
	}
	_, err = workloads.UpdateStatus(ctx, w, metav1.UpdateOptions{})
	return workloads, err
}

// state returns the state of our check of the Workload, and complains if another's was touched.
func state(ctx context.Context, t *testing.T, workloads dynamic.ResourceInterface, name string) string {
	w, err := workloads.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Error(err)
		return ""
	}
	list, _, _ := unstructured.NestedSlice(w.Object, "status", "admissionChecks")
	out := ""
	for _, x := range list {
		x := x.(map[string]any)
		if x["name"] == "clean" {
			out = x["state"].(string)
		} else if x["state"] != "Pending" {
			t.Errorf("somebody else's check is %v", x["state"])
		}
	}
	return out
}

// kueueLater has a controller start while Kueue is not there: it does its other work, cares for Workloads when Kueue comes, and goes on when an upgrade ends
// the version that it read.
func kueueLater(ctx context.Context, t *testing.T, cluster *controlplane.Cluster, client kubernetes.Interface, d dynamic.Interface, began time.Time) error {
	for _, name := range kueueObjects {
		if err := definitions(d).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		if err := until(ctx, func() (bool, error) {
			_, err := definitions(d).Get(ctx, name, metav1.GetOptions{})
			return apierrors.IsNotFound(err), nil
		}); err != nil {
			return fmt.Errorf("waiting for the end of %s: %w", name, err)
		}
	}
	at := &clock{now: began.Add(11 * time.Hour)} // all may start
	o := &options{source: &valley{began: began}, now: at.read, interval: 50 * time.Millisecond, kueue: true, metricsAddr: "0", healthAddr: "0", registered: true}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		if err := run(running, o, user(cluster.RESTConfig()), slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("the controller ended: %v", err)
		}
	})
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "without-kueue"}, Spec: v1.PodSpec{SchedulingGates: []v1.PodSchedulingGate{{Name: shift.Gate}}, Containers: []v1.Container{{Name: "c", Image: "none"}}}}
	if _, err := client.CoreV1().Pods("lab").Create(ctx, p, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) {
		p, err := client.CoreV1().Pods("lab").Get(ctx, p.Name, metav1.GetOptions{})
		return err == nil && len(p.Spec.SchedulingGates) == 0, err
	}); err != nil {
		return fmt.Errorf("waiting for a pod while Kueue is not there: %w", err)
	}
	for _, x := range []struct {
		name     string
		versions []string
	}{{"installed", []string{"v1beta1"}}, {"upgraded", []string{"v1beta1", "v1beta2"}}} {
		if err := installKueue(ctx, d, x.versions...); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
		workloads, err := makeKueue(ctx, d, x.versions[len(x.versions)-1], x.name)
		if err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
		if err := until(ctx, func() (bool, error) { return state(ctx, t, workloads, x.name) == "Ready", nil }); err != nil {
			return fmt.Errorf("waiting for the Workload of an %s Kueue: %w", x.name, err)
		}
	}
	return nil
}
