package endpoints

import (
	"context"
	"fmt"
	"sync"
	"unique"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Watch follows the Services that carry our label and their EndpointSlices, to which the endpointslice controller
// copies it, and the labels of our own node, and calls the handlers until ctx ends. While the API server is away the
// last state stays. It blocks; run it beside [Proxier.Run].
func (p *Proxier) Watch(ctx context.Context, client kubernetes.Interface) error {
	only := labels.Set{NameLabel: p.opts.Name}.String()
	if p.opts.All {
		only = "!" + NameLabel
	}
	f := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = only }))
	services, slices := f.Core().V1().Services().Informer(), f.Discovery().V1().EndpointSlices().Informer()
	follow := func(i cache.SharedIndexInformer, h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
		r, err := i.AddEventHandler(h)
		if err != nil {
			return nil, fmt.Errorf("watch the cluster: %w", err)
		}
		return r, nil
	}
	heardServices, err := follow(services, handler(p.OnServiceAdd, p.OnServiceUpdate, p.OnServiceDelete))
	if err != nil {
		return err
	}
	heardSlices, err := follow(slices, handler(p.OnEndpointSliceAdd, p.OnEndpointSliceUpdate, p.OnEndpointSliceDelete))
	if err != nil {
		return err
	}
	factories := []informers.SharedInformerFactory{f}
	if p.opts.Node != "" {
		own := informers.NewSharedInformerFactoryWithOptions(client, 0,
			informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=" + p.opts.Node }))
		told := func(n *v1.Node) { p.OnTopologyChange(topology(n)) }
		if _, err := follow(own.Core().V1().Nodes().Informer(), handler(told, func(_, n *v1.Node) { told(n) }, func(*v1.Node) {})); err != nil {
			return err
		}
		factories = append(factories, own)
	}
	for _, f := range factories {
		f.Start(ctx.Done())
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), heardServices.HasSynced) {
			p.OnServiceSynced()
		}
	})
	wg.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), heardSlices.HasSynced) {
			p.OnEndpointSlicesSynced()
		}
	})
	<-ctx.Done()
	wg.Wait()
	for _, f := range factories {
		f.Shutdown()
	}
	return ctx.Err()
}

// topology returns the labels of a node that kube-proxy passes on.
func topology(n *v1.Node) map[string]string {
	out := make(map[string]string)
	for _, l := range []string{v1.LabelTopologyZone, v1.LabelTopologyRegion, v1.LabelHostname} {
		if v, ok := n.Labels[l]; ok {
			out[l] = v
		}
	}
	return out
}

// slim drops what nobody here reads and what is most of an object's memory. The transformed objects are the informer's own.
func slim(obj any) (any, error) {
	switch o := obj.(type) {
	case *v1.Service:
		o.ManagedFields, o.OwnerReferences, o.Spec.Selector = nil, nil, nil
		delete(o.Annotations, v1.LastAppliedConfigAnnotation)
	case *discovery.EndpointSlice:
		o.ManagedFields, o.OwnerReferences, o.Annotations = nil, nil, nil
		for i := range o.Endpoints {
			e := &o.Endpoints[i]
			e.DeprecatedTopology, e.Hostname, e.Zone = nil, nil, nil
			if e.NodeName != nil {
				*e.NodeName = unique.Make(*e.NodeName).Value() // thousands of endpoints run on few nodes
			}
			if t := e.TargetRef; t != nil {
				e.TargetRef = &v1.ObjectReference{Kind: unique.Make(t.Kind).Value(), Namespace: unique.Make(t.Namespace).Value(), Name: t.Name}
			}
		}
	case *v1.Node:
		o.ManagedFields, o.Status = nil, v1.NodeStatus{}
	}
	return obj, nil
}

// handler lets typed functions handle an informer's events.
func handler[T any](add func(T), update func(old, now T), remove func(T)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if o, ok := obj.(T); ok {
				add(o)
			}
		},
		UpdateFunc: func(old, now any) {
			a, ok := old.(T)
			b, also := now.(T)
			if ok && also {
				update(a, b)
			}
		},
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if o, ok := obj.(T); ok {
				remove(o)
			}
		},
	}
}
