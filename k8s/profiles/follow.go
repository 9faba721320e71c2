package profiles

import (
	"context"
	"fmt"
	"maps"

	v1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/scoring"
)

// Follow tells the provider of the NodeProfiles and PowerModels in a cache, from now on until ctx ends. It starts
// nothing: run the cache, with [Slim], beside the provider.
func (p *Provider) Follow(ctx context.Context, c cache.Informers) error {
	profiles := handle(p.SetProfile, func(n *v1alpha1.NodeProfile) { p.DeleteProfile(n.Name) })
	if err := follow(ctx, c, &v1alpha1.NodeProfile{}, profiles); err != nil {
		return fmt.Errorf("follow NodeProfiles: %w", err)
	}
	models := handle(p.SetModel, func(m *v1alpha1.PowerModel) { p.DeleteModel(m.Name) })
	if err := follow(ctx, c, &v1alpha1.PowerModel{}, models); err != nil {
		return fmt.Errorf("follow PowerModels: %w", err)
	}
	return nil
}

// FollowNodes tells the provider of the nodes in a cache, for programs that are no scheduler, whose plugin does so.
func (p *Provider) FollowNodes(ctx context.Context, c cache.Informers) error {
	put := func(n *v1.Node) {
		m := Machine(n)
		if old, ok := p.Machine(m.Name); !ok || old.Cores != m.Cores || old.Address != m.Address || !maps.Equal(old.Labels, m.Labels) {
			p.Put(m)
		}
	}
	if err := follow(ctx, c, &v1.Node{}, handle(put, func(n *v1.Node) { p.Remove(n.Name) })); err != nil {
		return fmt.Errorf("follow nodes: %w", err)
	}
	return nil
}

// Machine returns what a Node object tells of its machine. Utilization is over all its cores, so they count and not
// what is allocatable of them.
func Machine(n *v1.Node) scoring.Machine {
	cores := n.Status.Capacity.Cpu()
	if cores.IsZero() {
		cores = n.Status.Allocatable.Cpu()
	}
	m := scoring.Machine{Name: n.Name, Labels: n.Labels, Cores: cores.AsApproximateFloat64()}
	for _, a := range n.Status.Addresses {
		if a.Type == v1.NodeInternalIP {
			m.Address = a.Address
			break
		}
	}
	return m
}

// Slim drops from objects what nobody here reads and what is most of their memory: a transform for caches.
func Slim(obj any) (any, error) {
	if o, ok := obj.(client.Object); ok {
		o.SetManagedFields(nil)
	}
	if n, ok := obj.(*v1.Node); ok {
		n.Status.Images, n.Status.Conditions, n.Status.VolumesAttached, n.Status.VolumesInUse = nil, nil, nil, nil
	}
	return obj, nil
}

func follow(ctx context.Context, c cache.Informers, o client.Object, h toolscache.ResourceEventHandler) error {
	i, err := c.GetInformer(ctx, o, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	r, err := i.AddEventHandler(h)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() {
		_ = i.RemoveEventHandler(r) // an informer that has stopped has none left
	})
	return nil
}

// handle lets typed functions handle an informer's events.
func handle[T any](set, gone func(T)) toolscache.ResourceEventHandler {
	one := func(f func(T)) func(any) {
		return func(obj any) {
			if d, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = d.Obj
			}
			if o, ok := obj.(T); ok {
				f(o)
			}
		}
	}
	return toolscache.ResourceEventHandlerFuncs{AddFunc: one(set), UpdateFunc: func(_, now any) { one(set)(now) }, DeleteFunc: one(gone)}
}
