package endpoints

import (
	"context"
	"sync"
	"unique"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	discoveryv1 "k8s.io/client-go/kubernetes/typed/discovery/v1"
)

// A Client reads what [Proxier.Watch] and [WatchNodes] follow; a kubernetes.Interface is one.
type Client interface {
	CoreV1() corev1.CoreV1Interface
	DiscoveryV1() discoveryv1.DiscoveryV1Interface
}

// Watch follows the Services that carry our label and their EndpointSlices, to which the endpointslice controller
// copies it, and the labels of our own node, and calls the handlers until ctx ends. While the API server is away the
// last state stays. It blocks; run it beside [Proxier.Run].
func (p *Proxier) Watch(ctx context.Context, client Client) error {
	only := metav1.ListOptions{LabelSelector: labels.Set{NameLabel: p.opts.Name}.String()}
	if p.opts.All {
		only.LabelSelector = "!" + NameLabel
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		follow(ctx, client, client.CoreV1().Services(""), only, &v1.Service{},
			&feed[*v1.Service]{put: p.OnServiceAdd, drop: p.dropService, synced: p.OnServiceSynced, slim: slim})
	})
	wg.Go(func() {
		follow(ctx, client, client.DiscoveryV1().EndpointSlices(""), only, &discovery.EndpointSlice{},
			&feed[*discovery.EndpointSlice]{put: p.OnEndpointSliceAdd, drop: p.dropSlice, synced: p.OnEndpointSlicesSynced, slim: slim})
	})
	if p.opts.Node != "" {
		wg.Go(func() {
			follow(ctx, client, client.CoreV1().Nodes(), metav1.ListOptions{FieldSelector: "metadata.name=" + p.opts.Node}, &v1.Node{},
				&feed[*v1.Node]{put: func(n *v1.Node) { p.OnTopologyChange(topology(n)) }, drop: func(types.NamespacedName) {}, slim: slim})
		})
	}
	wg.Wait()
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

// slim drops what nobody here reads and what is most of an object's memory while a list of them arrives. Services stay
// as it leaves them.
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
		o.ManagedFields, o.Annotations, o.Status.Images, o.Status.Conditions = nil, nil, nil, nil
	}
	return obj, nil
}
