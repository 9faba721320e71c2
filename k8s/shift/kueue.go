package shift

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// CheckController is the spec.controllerName of Kueue's AdmissionChecks that are ours. A Workload whose quota is reserved and whose check is
// Pending waits; the check becomes Ready at the planned start. The quota stays reserved while the Workload waits. Kueue's API
// may be v1beta2 or v1beta1, as the API server serves it, and Kueue may come, go and be upgraded while the program runs.
const CheckController = "leastwatt.github.io/shift"

// Kueue's objects are read without its Go module, by the fields that are used here, which its versions have in common.
var (
	kueueVersions = []string{"v1beta2", "v1beta1"}
	workload      = schema.GroupKind{Group: kueueGroup, Kind: "Workload"}
	check         = schema.GroupKind{Group: kueueGroup, Kind: "AdmissionCheck"}
)

const kueueGroup = "kueue.x-k8s.io"

// served returns a kind of Kueue's in the version that the API server prefers, if it is one of ours, else in one of ours that it serves. If it serves none the
// error that comes of asking for it tells so.
func served(m meta.RESTMapper, k schema.GroupKind) schema.GroupVersionKind {
	if x, err := m.RESTMapping(k); err == nil && slices.Contains(kueueVersions, x.GroupVersionKind.Version) {
		return x.GroupVersionKind
	}
	for _, v := range kueueVersions {
		if _, err := m.RESTMapping(k, v); err == nil {
			return k.WithVersion(v)
		}
	}
	return k.WithVersion(kueueVersions[0])
}

// kueue returns a kind of Kueue's in the version that is read; false while none can be.
func (c *Controller) kueue(k schema.GroupKind) (schema.GroupVersionKind, bool) {
	followed := c.followed.Load()
	if followed == nil {
		return served(c.client.RESTMapper(), k), true
	}
	version, ok := (*followed)[k]
	return version, ok
}

func listOf(k schema.GroupVersionKind) *unstructured.UnstructuredList {
	l := &unstructured.UnstructuredList{}
	l.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind + "List"))
	return l
}

// workloads lists the Workloads that wait for our checks or have passed them and may run, and says of these checks that somebody cares for them.
func (c *Controller) workloads(ctx context.Context, p *Policies, t *tally) error {
	if !c.opts.Kueue {
		return nil
	}
	waiting, ok := c.kueue(workload)
	checked, both := c.kueue(check)
	if !ok || !both {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout) // a cache waits for ever for a version that is no longer served
	defer cancel()
	ours, err := c.checks(ctx, checked)
	var errs []error // what is wrong with one holds no other
	if err != nil {
		errs = append(errs, fmt.Errorf("admissionchecks: %w", err))
	}
	list := listOf(waiting)
	if err := c.client.List(ctx, list); err != nil {
		return errors.Join(append(errs, fmt.Errorf("workloads: %w", err))...)
	}
	for k := range list.Items {
		o := &list.Items[k]
		if o.GetDeletionTimestamp() != nil || !condition(o, "QuotaReserved") || condition(o, "Finished") {
			continue
		}
		states, _, err := unstructured.NestedSlice(o.Object, "status", "admissionChecks")
		if err != nil {
			errs = append(errs, fmt.Errorf("workload %s/%s: %w", o.GetNamespace(), o.GetName(), err))
			continue
		}
		waits := false
		for _, s := range states {
			s, _ := s.(map[string]any)
			name, _ := s["name"].(string)
			waits = waits || ours[name] && s["state"] == "Pending"
		}
		if !waits && o.GetAnnotations()[ReleasedAnnotation] == "" {
			continue
		}
		cores, annotations := podSets(o)
		limit, _, _ := unstructured.NestedInt64(o.Object, "spec", "maximumExecutionTimeSeconds")
		i := newItem("Workload", o, p.Of(o.GetNamespace()), cores, seconds(&limit), annotations)
		i.status = true
		i.release = func(o client.Object) { setReady(o.(*unstructured.Unstructured), ours, c.now()) }
		var owners []types.UID
		for _, x := range o.GetOwnerReferences() {
			owners = append(owners, x.UID)
		}
		t.add(i, waits, owners...)
	}
	return errors.Join(errs...)
}

// setReady makes our pending checks of a Workload ready.
func setReady(o *unstructured.Unstructured, ours map[string]bool, now time.Time) {
	states, _, _ := unstructured.NestedSlice(o.Object, "status", "admissionChecks")
	for _, s := range states {
		if s, ok := s.(map[string]any); ok {
			if name, _ := s["name"].(string); ours[name] && s["state"] == "Pending" {
				s["state"], s["message"], s["lastTransitionTime"] = "Ready", "released by Leastwatt", now.UTC().Format(time.RFC3339)
			}
		}
	}
	_ = unstructured.SetNestedSlice(o.Object, states, "status", "admissionChecks") // the object had a status
}

// checks returns the names of the AdmissionChecks that are ours, and makes those active that are not yet. An error of the latter is told beside
// all the names.
func (c *Controller) checks(ctx context.Context, kind schema.GroupVersionKind) (map[string]bool, error) {
	list := listOf(kind)
	if err := c.client.List(ctx, list); err != nil {
		return nil, err
	}
	ours := make(map[string]bool)
	var errs []error
	for k := range list.Items {
		o := &list.Items[k]
		if name, _, _ := unstructured.NestedString(o.Object, "spec", "controllerName"); name != CheckController {
			continue
		}
		ours[o.GetName()] = true
		if condition(o, "Active") {
			continue
		}
		next := o.DeepCopy()
		conditions := []any{map[string]any{"type": "Active", "status": "True", "reason": "Active", "message": "Leastwatt plans the starts", "lastTransitionTime": c.now().UTC().Format(time.RFC3339)}}
		if err := unstructured.SetNestedSlice(next.Object, conditions, "status", "conditions"); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := c.client.Status().Patch(ctx, next, client.MergeFromWithOptions(o, client.MergeFromWithOptimisticLock{})); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", o.GetName(), err))
		}
	}
	return ours, errors.Join(errs...)
}

func condition(o *unstructured.Unstructured, name string) bool {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, x := range list {
		if x, ok := x.(map[string]any); ok && x["type"] == name {
			return x["status"] == "True"
		}
	}
	return false
}

// podSets returns the cores that a Workload requests, and the annotations of its first pod template.
func podSets(o *unstructured.Unstructured) (cores float64, annotations map[string]string) {
	sets, _, _ := unstructured.NestedSlice(o.Object, "spec", "podSets")
	for k, s := range sets {
		s, ok := s.(map[string]any)
		if !ok {
			continue
		}
		count, ok, _ := unstructured.NestedInt64(s, "count")
		if !ok {
			count = 1
		}
		if k == 0 {
			annotations, _, _ = unstructured.NestedStringMap(s, "template", "metadata", "annotations")
		}
		containers, _, _ := unstructured.NestedSlice(s, "template", "spec", "containers")
		for _, x := range containers {
			x, ok := x.(map[string]any)
			if !ok {
				continue
			}
			text, _, _ := unstructured.NestedString(x, "resources", "requests", "cpu")
			if q, err := resource.ParseQuantity(text); err == nil {
				cores += float64(count) * q.AsApproximateFloat64()
			}
		}
	}
	return cores, annotations
}
