package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// creator is what makes objects of our kinds.
type creator interface {
	Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error
	Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error
	Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error
}

// withProfiles installs our kinds, lets the scheduler read them, and makes the Secret of the BMCs with that password.
func withProfiles(ctx context.Context, c *controlplane.Cluster, authority *emulate.Authority, password string) (kubernetes.Interface, creator, error) {
	if _, err := envtest.InstallCRDs(c.RESTConfig(), envtest.CRDInstallOptions{Paths: []string{"../../k8s/chart/crds"}, ErrorIfPathMissing: true, MaxTime: time.Minute}); err != nil {
		return nil, nil, err
	}
	core, err := c.Client()
	if err != nil {
		return nil, nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, nil, err
	}
	api, err := client.New(c.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		return nil, nil, err
	}
	// What the scheduler may do beside kube-scheduler's own rights: read these, and Secrets by name in one namespace.
	user := []rbacv1.Subject{{Kind: "User", Name: "system:kube-scheduler", APIGroup: rbacv1.GroupName}}
	for _, o := range []client.Object{
		&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "leastwatt-system"}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "leastwatt"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{v1alpha1.Group}, Resources: []string{"nodeprofiles", "powermodels"}, Verbs: []string{"get", "list", "watch"}}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "leastwatt"}, Subjects: user,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "leastwatt"}},
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "bmc", Namespace: "leastwatt-system"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"bmc"}, Verbs: []string{"get"}}}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "bmc", Namespace: "leastwatt-system"}, Subjects: user,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "bmc"}},
		&v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bmc", Namespace: "leastwatt-system"},
			Data: map[string][]byte{"username": []byte("monitor"), "password": []byte(password), "ca.crt": authority.PEM()}},
	} {
		if err := api.Create(ctx, o); err != nil {
			return nil, nil, err
		}
	}
	return core, api, nil
}

// Without a file, the scheduler goes by NodeProfiles, a Secret and PowerModels, and follows a model that changes.
func TestProfilesDecide(t *testing.T) {
	bin := controlplane.ForTest(t, controlplane.SchedulerPackage)
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	err = controlplane.Run(t.Context(), bin, controlplane.Options{Kwok: true, Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		core, api, err := withProfiles(ctx, c, authority, "secret")
		if err != nil {
			return err
		}
		models := map[string]*v1alpha1.PowerModel{}
		for name, peak := range map[string]power.Watts{"first": 90, "second": 350} {
			_, stop, err := newProfiled(ctx, core, api, authority, name, "secret")
			if err != nil {
				return err
			}
			defer stop()
			models[name] = &v1alpha1.PowerModel{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PowerModelSpec{JSON: straight(t, peak), Nodes: []string{name}}}
			if err := api.Create(ctx, models[name]); err != nil {
				return err
			}
		}
		s, err := c.StartScheduler(ctx, controlplane.SchedulerOptions{Config: profiles, Args: []string{"--leastwatt-profiles", "--leastwatt-secrets-namespace=leastwatt-system"}})
		if err != nil {
			return err
		}
		if err := until(ctx, func() (bool, error) {
			n, err := sum(ctx, s, "leastwatt_nodes", "known")
			return n == 2, err
		}); err != nil {
			return fmt.Errorf("waiting for readings of two servers: %w", err)
		}
		placed := func(pod, node string) error {
			if err := createPod(ctx, core, pod, ""); err != nil {
				return err
			}
			return until(ctx, func() (bool, error) {
				p, err := core.CoreV1().Pods("default").Get(ctx, pod, metav1.GetOptions{})
				if err == nil && p.Spec.NodeName != "" && p.Spec.NodeName != node {
					return false, fmt.Errorf("pod %s is on %s: want it on %s", pod, p.Spec.NodeName, node)
				}
				return err == nil && p.Spec.NodeName == node, err
			})
		}
		if err := placed("before", "first"); err != nil {
			return err
		}
		models["first"].Spec.JSON = straight(t, 900)
		if err := api.Update(ctx, models["first"]); err != nil {
			return err
		}
		return until(ctx, func() (bool, error) { // the model is followed moments later
			name := fmt.Sprint("after-", time.Now().UnixNano())
			return placed(name, "second") == nil, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func straight(t *testing.T, peak power.Watts) string {
	t.Helper()
	text, err := model.Marshal(&model.Model{Name: "straight", Form: power.Linear{Idle: 50, Peak: peak}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
