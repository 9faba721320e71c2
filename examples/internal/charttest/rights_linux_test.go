package charttest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// A grant is one verb on one resource, by one rule of one role that the chart binds to a program's account. Its namespace is "" where it counts in all.
type grant struct {
	account, role, namespace, verb, group, resource string
	names                                           string // by which the rule limits it, joined by commas
}

// String tells what one grants, wherever it does.
func (g grant) String() string {
	return strings.TrimPrefix(g.account, "lw-leastwatt-") + ": " + strings.TrimSuffix(g.verb+" "+g.resource+"."+g.group, ".")
}

// allows tells whether a request was allowed by it.
func (g grant) allows(r controlplane.Request) bool {
	resource := r.Resource
	if r.Subresource != "" {
		resource += "/" + r.Subresource
	}
	// Where the API server streams what there is, a watch needs no list, which it falls back to where not.
	verb := g.verb == r.Verb || g.verb == "list" && r.Verb == "watch"
	return r.User == "system:serviceaccount:"+namespace+":"+g.account && verb && g.group == r.Group && g.resource == resource &&
		(g.namespace == "" || g.namespace == r.Namespace) && (g.names == "" || slices.Contains(strings.Split(g.names, ","), r.Name))
}

// granted notes what the release, as it is now, lets its programs do, by roles of its own.
func (x *installation) granted(ctx context.Context) error {
	ours := metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=lw"}
	roles := make(map[string][]rbac.PolicyRule) // by namespace/name
	cluster, err := x.client.RbacV1().ClusterRoles().List(ctx, ours)
	if err != nil {
		return err
	}
	for _, r := range cluster.Items {
		roles["/"+r.Name] = r.Rules
	}
	local, err := x.client.RbacV1().Roles("").List(ctx, ours)
	if err != nil {
		return err
	}
	for _, r := range local.Items {
		roles[r.Namespace+"/"+r.Name] = r.Rules
	}
	if x.grants == nil {
		x.grants = make(map[grant]bool)
	}
	bind := func(namespace string, ref rbac.RoleRef, subjects []rbac.Subject) {
		of := ""
		if ref.Kind == "Role" {
			of = namespace
		}
		for _, rule := range roles[of+"/"+ref.Name] {
			for _, s := range subjects {
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						for _, verb := range rule.Verbs {
							x.grants[grant{s.Name, ref.Kind + " " + ref.Name, namespace, verb, group, resource, strings.Join(rule.ResourceNames, ",")}] = true
						}
					}
				}
			}
		}
	}
	all, err := x.client.RbacV1().ClusterRoleBindings().List(ctx, ours)
	if err != nil {
		return err
	}
	for _, b := range all.Items {
		bind("", b.RoleRef, b.Subjects)
	}
	some, err := x.client.RbacV1().RoleBindings("").List(ctx, ours)
	if err != nil {
		return err
	}
	for _, b := range some.Items {
		bind(b.Namespace, b.RoleRef, b.Subjects)
	}
	return nil
}

// rights compares what the programs were granted with what they asked the API server for: nothing was refused, and nothing is granted that they did
// not do, but for spare, which tells why it is granted all the same.
func (x *installation) rights(spare map[string]string) error {
	requests, err := x.kubelet.cluster.Requests()
	if err != nil {
		return err
	}
	used, accounts := make(map[grant]bool), make(map[string]bool)
	for _, r := range requests {
		account, ours := strings.CutPrefix(r.User, "system:serviceaccount:"+namespace+":lw-leastwatt-")
		if !ours || r.Program == filepath.Base(os.Args[0]) { // this test, which asks for more than it may have
			continue
		}
		accounts[account] = true
		if r.Code == http.StatusForbidden {
			x.Errorf("%s is refused: %s %s/%s of %q in namespace %q, name %q", account, r.Verb, r.Resource, r.Subresource, r.Group, r.Namespace, r.Name)
		}
		for g := range x.grants {
			if g.allows(r) {
				used[g] = true
			}
		}
	}
	x.Logf("%d of %d grants are used by %v", len(used), len(x.grants), slices.Sorted(maps.Keys(accounts)))
	needed, here := make(map[string]bool), make(map[string]bool)
	for g := range used {
		needed[g.String()], here[g.role+g.String()] = true, true
	}
	var unused []string
	for g := range x.grants {
		if !here[g.role+g.String()] && spare[g.String()] == "" { // an upgrade moves a role to another namespace
			unused = append(unused, fmt.Sprintf("%v, by %s in namespace %q, names %q", g, g.role, g.namespace, g.names))
		}
	}
	slices.Sort(unused)
	for _, line := range unused {
		x.Errorf("granted and never used: %s", line)
	}
	for what, why := range spare {
		if needed[what] {
			x.Errorf("%s is used: it needs no excuse (%s)", what, why)
		}
	}
	if len(accounts) == 0 {
		x.Error("no program asked for anything: the audit log is not read")
	}
	return nil
}
