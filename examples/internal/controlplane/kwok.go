package controlplane

import (
	"context"
	"fmt"

	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const kwokUser = "leastwatt:kwok"

// kwok plays the kubelet of every node.
func (c *Cluster) kwok() (command, error) {
	ports, err := freePorts(1)
	if err != nil {
		return command{}, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	return command{
		name: "kwok",
		path: c.bin.Kwok,
		args: []string{
			"--kubeconfig=" + c.kubeconfig("kwok"), "--config=" + c.bin.Stages,
			"--manage-all-nodes=true", "--server-address=" + address,
		},
		ready: c.answers("http://" + address + "/healthz"),
	}, nil
}

// allowKwok grants kwok what it does: it reads nodes and pods, writes their status and ends pods.
func (c *Cluster) allowKwok(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	role := &rbac.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: kwokUser},
		Rules: []rbac.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch", "update", "patch", "delete"}},
			{APIGroups: []string{""}, Resources: []string{"nodes/status", "pods/status"}, Verbs: []string{"update", "patch"}},
			{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "update", "patch"}},
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "list", "watch", "create", "update", "patch"}},
		},
	}
	if _, err := client.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("role of kwok: %w", err)
	}
	binding := &rbac.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: kwokUser},
		RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: kwokUser},
		Subjects:   []rbac.Subject{{APIGroup: rbac.GroupName, Kind: rbac.UserKind, Name: kwokUser}},
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("role of kwok: %w", err)
	}
	return nil
}
