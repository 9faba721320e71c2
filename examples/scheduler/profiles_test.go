package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// creator is what makes objects of our kinds.
type creator interface {
	Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error
	Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error
	Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error
}

// withProfiles installs our kinds, lets the scheduler read them, and makes the Secret of the BMCs with that password
// and authority, which may be nil.
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
	var ca []byte
	if authority != nil {
		ca = authority.PEM()
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
			Data: map[string][]byte{"username": []byte("monitor"), "password": []byte(password), "ca.crt": ca}},
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

// A scheduler that was started before the resource definitions goes by them once they are there.
func TestProfilesInstalledLater(t *testing.T) {
	bin := controlplane.ForTest(t, "")
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		o := profileOptions{use: true, kube: kube{ready: make(chan struct{})}}
		site, err := o.newSite(nil, slog.New(slog.NewTextHandler(t.Output(), nil)), prometheus.NewRegistry(), nil)
		if err != nil {
			return err
		}
		site.Put(scoring.Machine{Name: "n1", Cores: 4})
		running, stop := context.WithCancel(ctx)
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- site.Run(running) }()
		o.kube.set(c.RESTConfig())
		by := func() string {
			if n := site.View().Node("n1"); n != nil {
				return n.Model
			}
			return ""
		}
		if err := until(ctx, func() (bool, error) { return by() != "", nil }); err != nil {
			return fmt.Errorf("waiting until the node is known by what it has without a profile: %w", err)
		}
		_, api, err := withProfiles(ctx, c, nil, "secret")
		if err != nil {
			return err
		}
		if err := api.Create(ctx, &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n1"},
			Spec: v1alpha1.NodeProfileSpec{Power: &v1alpha1.PowerFacts{IdleWatts: new(50.0), PeakWatts: new(100.0)}}}); err != nil {
			return err
		}
		if err := until(ctx, func() (bool, error) { return by() == "profile: idle and peak", nil }); err != nil {
			return fmt.Errorf("waiting until the node is known by its profile, not by %q: %w", by(), err)
		}
		stop()
		return <-ended
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
