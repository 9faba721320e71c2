package compat_test

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/compat"
	"github.com/leastwatt/leastwatt/k8s/controllers"
)

// Of a group that cannot be read nobody knows what it says now: the profiles that were made of it stay, and no others are in question. Once it is read, they
// are what it says.
func TestDeniedGroup(t *testing.T) {
	newer, older := compat.WAOGroups[0], compat.WAOGroups[1]
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	w := &compat.WAO{Groups: []schema.GroupVersion{older}, Namespace: "wao-system"}
	b := fake.NewClientBuilder().WithScheme(scheme)
	for _, g := range compat.WAOGroups {
		for _, x := range compat.WatchesOf(g) {
			if x.Node != nil {
				b = b.WithIndex(x.Object, controllers.NodeIndex, func(o client.Object) []string { return []string{x.Node(o)} })
			}
		}
	}
	for name, by := range map[string]string{"a": "NodeConfig." + newer.Group + "/wao-system/a", "b": "NodeConfigTemplate." + newer.Group + "/wao-system/b",
		"c": "NodeConfig." + older.Group + "/wao-system/c", "d": "NodeProfileTemplate/d", "e": ""} {
		have := &v1alpha1.NodeProfile{}
		have.Name = name
		have.Annotations = map[string]string{controllers.MadeBy: by}
		b = b.WithObjects(have)
	}
	c := b.Build()
	denied := errors.New("denied")
	for _, state := range []string{"denied", "read"} {
		held := state == "denied"
		if w.Deny(newer, denied); state == "read" {
			w.Add(newer)
		}
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			got, err := w.Want(t.Context(), c, node(name, "10.0.0.1", nil))
			if err != nil {
				t.Fatal(err)
			}
			if want := held && (name == "a" || name == "b"); want != (got != nil) || want && !errors.Is(got.Err, denied) {
				t.Errorf("%s: of node %s is wanted %+v", state, name, got)
			}
		}
	}
}
