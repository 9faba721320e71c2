package compat_test

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/compat"
	"github.com/leastwatt/leastwatt/k8s/controllers"
)

// What a node's profile costs to make does not grow with the NodeConfigs of other nodes, and each has its own, of the newer group first.
func TestNodeConfigsAreFoundByNode(t *testing.T) {
	work := func(nodes int) (lists, objects int) {
		w := &compat.WAO{Groups: compat.WAOGroups, Namespace: "wao-system"}
		b := fake.NewClientBuilder()
		for _, x := range w.Watches() {
			if x.Node != nil {
				b = b.WithIndex(x.Object, controllers.NodeIndex, func(o client.Object) []string { return []string{x.Node(o)} })
			}
		}
		for i := range nodes {
			for k, g := range compat.WAOGroups {
				o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"nodeName": fmt.Sprint("n", i), "metricsCollector": map[string]any{
					"inletTemp": map[string]any{"type": "Redfish", "endpoint": fmt.Sprintf("https://10.%d.0.%d", k, i)}}}}}
				o.SetGroupVersionKind(g.WithKind("NodeConfig"))
				o.SetNamespace("wao-system")
				o.SetName(fmt.Sprint("n", i))
				b = b.WithObjects(o)
			}
		}
		c := b.WithInterceptorFuncs(interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
			err := c.List(ctx, l, o...)
			lists, objects = lists+1, objects+meta.LenList(l)
			return err
		}}).Build()
		for i := range nodes {
			got, err := w.Want(t.Context(), c, node(fmt.Sprint("n", i), "10.0.0.1", nil))
			if err != nil || got == nil || got.Err != nil || got.Profile.Spec.Sensors[0].URL != fmt.Sprintf("https://10.0.0.%d", i) {
				t.Fatalf("node %d of %d: %+v, %v", i, nodes, got, err)
			}
		}
		return lists, objects
	}
	for _, nodes := range []int{1, 4, 16} {
		if lists, objects := work(nodes); lists > 4*nodes || objects > 2*nodes {
			t.Errorf("%d nodes: %d lists of %d objects: want at most four and two a node", nodes, lists, objects)
		}
	}
}

// A template whose selector is mistyped keeps the profiles that it made, and is an error of their nodes; it is none of other nodes.
func TestMistypedSelector(t *testing.T) {
	w := &compat.WAO{Groups: compat.WAOGroups[:1], Namespace: "wao-system"}
	template := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"nodeSelector": map[string]any{"matchExpressions": []any{map[string]any{"key": "rack", "operator": "exists"}}},
		"template":     map[string]any{"metricsCollector": map[string]any{"inletTemp": map[string]any{"type": "Redfish", "endpoint": "https://10.0.0.9"}}}}}}
	template.SetGroupVersionKind(w.Groups[0].WithKind("NodeConfigTemplate"))
	template.SetNamespace("wao-system")
	template.SetName("racks")
	by := "NodeConfigTemplate.node.waok8s.github.io/wao-system/racks"
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	b := fake.NewClientBuilder().WithScheme(scheme).WithObjects(template, &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n1", Annotations: map[string]string{controllers.MadeBy: by}}},
		&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n2", Annotations: map[string]string{controllers.MadeBy: "NodeProfileTemplate/racks"}}})
	for _, x := range w.Watches() {
		if x.Node != nil {
			b = b.WithIndex(x.Object, controllers.NodeIndex, func(o client.Object) []string { return []string{x.Node(o)} })
		}
	}
	c := b.Build()
	for name, want := range map[string]bool{"n1": true, "n2": false, "n3": false} {
		got, err := w.Want(t.Context(), c, node(name, "10.0.0.1", map[string]string{"rack": "r1"}))
		if err != nil || (got != nil) != want || want && (got.By != by || got.Err == nil) {
			t.Errorf("%s: %+v, %v; want something: %t", name, got, err, want)
		}
	}
}

// A NodeConfig is looked at for its node alone, a template for all.
func TestWatches(t *testing.T) {
	for _, x := range (&compat.WAO{Groups: compat.WAOGroups}).Watches() {
		o := x.Object.(*unstructured.Unstructured)
		if kind := o.GetKind(); (kind == "NodeConfig") != (x.Node != nil) {
			t.Errorf("%s: for one node: %v", kind, x.Node != nil)
		} else if x.Node != nil {
			o.Object["spec"] = map[string]any{"nodeName": "n1"}
			if n := x.Node(o); n != "n1" {
				t.Errorf("it is for %q", n)
			}
		}
	}
}
