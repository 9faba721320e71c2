package endpoints

import (
	"context"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/scoring"
)

// Machines is told which machines the cluster has. A [scoring.Site] is one.
type Machines interface {
	Put(m scoring.Machine)
	Remove(name string)
}

// WatchNodes tells m of the cluster's nodes until ctx ends. It blocks.
func WatchNodes(ctx context.Context, client Client, m Machines) error {
	follow(ctx, client, client.CoreV1().Nodes(), metav1.ListOptions{}, &v1.Node{},
		&feed[*v1.Node]{put: func(n *v1.Node) { m.Put(machine(n)) }, drop: func(n types.NamespacedName) { m.Remove(n.Name) }, slim: slim})
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
