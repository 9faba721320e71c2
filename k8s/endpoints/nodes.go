package endpoints

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/scoring"
)

// Machines is told which machines the cluster has. A [scoring.Site] is one.
type Machines interface {
	Put(m scoring.Machine)
	Remove(name string)
}

// WatchNodes tells m of the cluster's nodes until ctx ends. It blocks.
func WatchNodes(ctx context.Context, client kubernetes.Interface, m Machines) error {
	f := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slimNode))
	put := func(n *v1.Node) { m.Put(machine(n)) }
	if _, err := f.Core().V1().Nodes().Informer().AddEventHandler(handler(put, func(_, n *v1.Node) { put(n) }, func(n *v1.Node) { m.Remove(n.Name) })); err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	f.Start(ctx.Done())
	<-ctx.Done()
	f.Shutdown()
	return ctx.Err()
}

// machine returns what a Node object tells of its machine. Utilization is over all its cores, so all count.
func machine(n *v1.Node) scoring.Machine {
	cores := n.Status.Capacity.Cpu()
	if cores.IsZero() {
		cores = n.Status.Allocatable.Cpu()
	}
	out := scoring.Machine{Name: n.Name, Labels: n.Labels, Cores: cores.AsApproximateFloat64()}
	for _, a := range n.Status.Addresses {
		if a.Type == v1.NodeInternalIP {
			out.Address = a.Address
			break
		}
	}
	return out
}

// slimNode drops what is most of a Node's memory.
func slimNode(obj any) (any, error) {
	if n, ok := obj.(*v1.Node); ok {
		n.ManagedFields, n.Annotations, n.Status.Images, n.Status.Conditions = nil, nil, nil, nil
	}
	return obj, nil
}
