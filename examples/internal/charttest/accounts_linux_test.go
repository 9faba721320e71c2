package charttest

import (
	"context"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// token returns a token of a service account, which it makes where the chart did not. Prometheus has the chart's role of
// readers, the autoscaler may read custom metrics, and a stranger may nothing.
func (x *installation) token(ctx context.Context, account string) (string, error) {
	if t := x.tokens[account]; t != "" {
		return t, nil
	}
	create := metav1.CreateOptions{}
	if _, err := x.client.CoreV1().ServiceAccounts(namespace).Create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, create); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	role := map[string]string{"prometheus": "lw-leastwatt-reader", "autoscaler": "autoscaler"}[account]
	if account == "autoscaler" {
		if _, err := x.client.RbacV1().ClusterRoles().Create(ctx, &rbac.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: role},
			Rules: []rbac.PolicyRule{{APIGroups: []string{"custom.metrics.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"get", "list"}}}}, create); err != nil {
			return "", err
		}
	}
	if role != "" {
		if _, err := x.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbac.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: account},
			Subjects: []rbac.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: account}},
			RoleRef:  rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: role}}, create); err != nil {
			return "", err
		}
	}
	t, err := x.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account,
		&authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}, create)
	if err != nil {
		return "", err
	}
	if x.tokens == nil {
		x.tokens = make(map[string]string)
	}
	x.tokens[account] = t.Status.Token
	return t.Status.Token, nil
}
