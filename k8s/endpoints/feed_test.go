package endpoints

import (
	"fmt"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

var _ cache.TransformingStore = (*feed[*v1.Service])(nil)

// What is not in a new list has gone: a watch that was away tells of no deletions.
func TestFeed(t *testing.T) {
	var told []string
	f := &feed[*v1.Service]{
		put:    func(s *v1.Service) { told = append(told, fmt.Sprint("put ", s.Name, " ", s.ManagedFields == nil)) },
		drop:   func(n types.NamespacedName) { told = append(told, "drop "+n.String()) },
		synced: func() { told = append(told, "synced") },
		slim:   slim,
	}
	named := func(n string) *v1.Service {
		return &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: n, ManagedFields: []metav1.ManagedFieldsEntry{{}}}}
	}
	for _, step := range []struct {
		do   func() error
		want []string
	}{
		{func() error { return f.Replace([]any{named("a"), named("b")}, "1") }, []string{"put a true", "put b true", "synced"}},
		{func() error { return f.Add(named("c")) }, []string{"put c true"}},
		{func() error { return f.Update(named("a")) }, []string{"put a true"}},
		{func() error { return f.Delete(named("a")) }, []string{"drop shop/a"}},
		{func() error { return f.Replace([]any{named("c"), named("d")}, "9") }, []string{"put c true", "put d true", "drop shop/b"}},
	} {
		told = nil
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(told, step.want) {
			t.Errorf("told %q, want %q", told, step.want)
		}
	}
}
