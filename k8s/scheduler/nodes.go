package scheduler

import (
	"context"
	"fmt"
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// watchNodes tells the site which machines the cluster has, from now on until ctx ends.
func watchNodes(ctx context.Context, h fwk.Handle, site Site) error {
	informer := h.SharedInformerFactory().Core().V1().Nodes().Informer()
	reg, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { site.Put(machine(obj.(*v1.Node))) },
		UpdateFunc: func(before, after any) {
			a, b := machine(before.(*v1.Node)), machine(after.(*v1.Node))
			if a.Cores != b.Cores || a.Address != b.Address || !maps.Equal(a.Labels, b.Labels) {
				site.Put(b)
			}
		},
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if n, ok := obj.(*v1.Node); ok {
				site.Remove(n.Name)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	context.AfterFunc(ctx, func() {
		// An informer that has stopped has no handlers left to remove.
		_ = informer.RemoveEventHandler(reg)
	})
	return nil
}

// machine returns what a Node object tells of its machine. Utilization is over all its cores, so they count
// and not what is allocatable of them.
func machine(n *v1.Node) scoring.Machine {
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
