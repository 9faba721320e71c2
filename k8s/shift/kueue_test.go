package shift

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func kueueObject(k schema.GroupVersionKind, namespace, name string, spec, status map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec, "status": status}}
	o.SetGroupVersionKind(k)
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

// An AdmissionCheck whose status cannot be written, and a Workload that cannot be read, hold no other Workload beyond its latest start.
func TestOneBadWorkloadHoldsNoOther(t *testing.T) {
	waits := func(checks any) map[string]any {
		return map[string]any{"conditions": []any{map[string]any{"type": "QuotaReserved", "status": "True"}}, "admissionChecks": checks}
	}
	pending := []any{map[string]any{"name": "clean", "state": "Pending"}}
	fine := kueueObject(workload.WithVersion("v1beta2"), "batch", "fine", map[string]any{}, waits(pending))
	fine.SetAnnotations(map[string]string{ReleaseByAnnotation: noon.Add(-time.Minute).Format(time.RFC3339)})
	objects := []client.Object{
		kueueObject(check.WithVersion("v1beta2"), "", "clean", map[string]any{"controllerName": CheckController}, map[string]any{}),
		kueueObject(workload.WithVersion("v1beta2"), "batch", "broken", map[string]any{}, waits("none")),
		fine,
	}
	l := &lab{t: t, now: noon, events: &events{}, day: &day{}}
	l.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).WithStatusSubresource(objects...).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if o.GetName() == "clean" {
				return errors.New("not allowed")
			}
			return c.SubResource(name).Patch(ctx, o, p, opts...)
		}}).Build()
	c, err := New(l.c, l.day, Options{Policies: policies(t, zoneDE), Kueue: true, Now: func() time.Time { return l.now }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Round(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not allowed") || !strings.Contains(err.Error(), "batch/broken") {
		t.Errorf("error %v: want both failures", err)
	}
	got := kueueObject(workload.WithVersion("v1beta2"), "", "", nil, nil)
	if err := l.c.Get(t.Context(), client.ObjectKeyFromObject(fine), got); err != nil {
		t.Fatal(err)
	}
	states, _, _ := unstructured.NestedSlice(got.Object, "status", "admissionChecks")
	if len(states) != 1 || states[0].(map[string]any)["state"] != "Ready" {
		t.Errorf("after its latest start: %v", states)
	}
}

// A Workload that was released, evicted because another check has it retried, and has its quota again waits anew, under the promise that it was given first; somebody
// else's write in between does not hold it, and the states of others' checks stay.
func TestWorkloadRetried(t *testing.T) {
	for _, version := range []string{"v1beta1", "v1beta2"} {
		t.Run(version, func(t *testing.T) { workloadRetried(t, version) })
	}
}

// workloadRetried is that for an API server that serves one version of Kueue's API.
func workloadRetried(t *testing.T, version string) {
	workload, check := workload.WithVersion(version), check.WithVersion(version)
	served := meta.NewDefaultRESTMapper(nil)
	served.Add(workload, meta.RESTScopeNamespace)
	served.Add(check, meta.RESTScopeRoot)
	status := func(ours, theirs string, reserved bool) map[string]any {
		is := map[bool]string{true: "True", false: "False"}[reserved]
		return map[string]any{"conditions": []any{map[string]any{"type": "QuotaReserved", "status": is}},
			"admissionChecks": []any{map[string]any{"name": "theirs", "state": theirs}, map[string]any{"name": "clean", "state": ours}, map[string]any{"name": "dry", "state": ours}}}
	}
	w := kueueObject(workload, "batch", "w", map[string]any{}, status("Pending", "Pending", true))
	w.SetCreationTimestamp(metav1.Time{Time: noon})
	w.SetAnnotations(map[string]string{MaxDelayAnnotation: "12h"})
	objects := []client.Object{
		kueueObject(check, "", "clean", map[string]any{"controllerName": CheckController}, map[string]any{}),
		kueueObject(check, "", "dry", map[string]any{"controllerName": CheckController}, map[string]any{}),
		kueueObject(check, "", "theirs", map[string]any{"controllerName": "example.com/other"}, map[string]any{}), w}
	conflicts := 0
	l := &lab{t: t, now: noon, events: &events{}}
	l.day = &day{now: func() time.Time { return l.now }}
	l.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithRESTMapper(served).WithObjects(objects...).WithStatusSubresource(objects...).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if conflicts--; conflicts >= 0 && o.GetName() == "w" {
				return apierrors.NewConflict(schema.GroupResource{Group: kueueGroup, Resource: "workloads"}, "w", errors.New("somebody else has written"))
			}
			return c.SubResource(name).Patch(ctx, o, p, opts...)
		}}).Build()
	c, err := New(l.c, l.day, Options{Policies: policies(t, zoneDE), Kueue: true, Now: func() time.Time { return l.now }})
	if err != nil {
		t.Fatal(err)
	}
	l.Controller = c
	states := func() (out []string) {
		got := kueueObject(workload, "", "", nil, nil)
		if err := l.c.Get(t.Context(), client.ObjectKeyFromObject(w), got); err != nil {
			t.Fatal(err)
		}
		list, _, _ := unstructured.NestedSlice(got.Object, "status", "admissionChecks")
		for _, s := range list {
			out = append(out, s.(map[string]any)["state"].(string))
		}
		return out
	}
	want := func(what string, want ...string) {
		t.Helper()
		l.round()
		if got := states(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	set := func(s map[string]any) {
		t.Helper()
		got := kueueObject(workload, "", "", nil, nil)
		if err := l.c.Get(t.Context(), client.ObjectKeyFromObject(w), got); err != nil {
			t.Fatal(err)
		}
		got.Object["status"] = s
		if err := l.c.Status().Update(t.Context(), got); err != nil {
			t.Fatal(err)
		}
	}
	want("in dirty hours", "Pending", "Pending", "Pending")
	l.now = noon.Add(10 * time.Hour)
	want("in clean hours", "Pending", "Ready", "Ready")
	set(status("Pending", "Retry", false)) // Kueue has evicted it
	want("without quota", "Retry", "Pending", "Pending")
	set(status("Pending", "Pending", true))
	l.now = noon.Add(12*time.Hour + time.Minute)
	conflicts = 1
	want("after its latest start", "Pending", "Ready", "Ready")
}
