package endpoints

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// A feed tells handlers of the objects that a reflector lists and watches. Of those that went it knows by their names,
// which is all it remembers: an informer would keep every object a second time.
type feed[T metav1.Object] struct {
	put    func(T)
	drop   func(types.NamespacedName)
	synced func()              // all that were there at first have been put; nil: nobody asks
	slim   cache.TransformFunc // drops what nobody needs of an object, as often as it is called; nil: nothing
	known  map[types.NamespacedName]struct{}
}

// A resource lists and watches objects, as a client of one kind does.
type resource[L runtime.Object] interface {
	List(ctx context.Context, o metav1.ListOptions) (L, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

// follow feeds until ctx ends. While the API server is away, what was told last stays. Only is what of the resource is
// asked for; client is what r was got from.
func follow[T metav1.Object, L runtime.Object](ctx context.Context, client any, r resource[L], only metav1.ListOptions, kind runtime.Object, f *feed[T]) {
	asked := func(o metav1.ListOptions) metav1.ListOptions {
		o.LabelSelector, o.FieldSelector = only.LabelSelector, only.FieldSelector
		return o
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return r.List(ctx, asked(o))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return r.Watch(ctx, asked(o))
		},
	}
	f.known = make(map[types.NamespacedName]struct{})
	cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, client), kind, f, cache.ReflectorOptions{}).RunWithContext(ctx)
}

func nameIn(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// Add implements cache.ReflectorStore.
func (f *feed[T]) Add(obj any) error {
	if f.slim != nil {
		var err error
		if obj, err = f.slim(obj); err != nil {
			return err
		}
	}
	if o, ok := obj.(T); ok {
		f.known[nameIn(o)] = struct{}{}
		f.put(o)
	}
	return nil
}

// Update implements cache.ReflectorStore.
func (f *feed[T]) Update(obj any) error { return f.Add(obj) }

// Delete implements cache.ReflectorStore.
func (f *feed[T]) Delete(obj any) error {
	if o, ok := obj.(T); ok {
		delete(f.known, nameIn(o))
		f.drop(nameIn(o))
	}
	return nil
}

// Replace implements cache.ReflectorStore: these objects are there and no others.
func (f *feed[T]) Replace(objs []any, _ string) error {
	before := f.known
	f.known = make(map[types.NamespacedName]struct{}, len(objs))
	for _, obj := range objs {
		if err := f.Add(obj); err != nil {
			return err
		}
	}
	for name := range before {
		if _, still := f.known[name]; !still {
			f.drop(name)
		}
	}
	if f.synced != nil {
		f.synced()
		f.synced = nil
	}
	return nil
}

// Resync implements cache.ReflectorStore.
func (f *feed[T]) Resync() error { return nil }

// Transformer implements cache.TransformingStore.
func (f *feed[T]) Transformer() cache.TransformFunc { return f.slim }
