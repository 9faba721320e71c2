package shift

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

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
	fine := kueueObject(workload, "batch", "fine", map[string]any{}, waits(pending))
	fine.SetAnnotations(map[string]string{ReleaseByAnnotation: noon.Add(-time.Minute).Format(time.RFC3339)})
	objects := []client.Object{
		kueueObject(check, "", "clean", map[string]any{"controllerName": CheckController}, map[string]any{}),
		kueueObject(workload, "batch", "broken", map[string]any{}, waits("none")),
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
	got := kueueObject(workload, "", "", nil, nil)
	if err := l.c.Get(t.Context(), client.ObjectKeyFromObject(fine), got); err != nil {
		t.Fatal(err)
	}
	states, _, _ := unstructured.NestedSlice(got.Object, "status", "admissionChecks")
	if len(states) != 1 || states[0].(map[string]any)["state"] != "Ready" {
		t.Errorf("after its latest start: %v", states)
	}
}
