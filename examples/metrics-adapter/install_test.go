package main

import (
	"context"
	"fmt"
	"os"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

const namespace = "leastwatt"

// install gives the adapter its account, registers it with the API server and starts it.
func install(ctx context.Context, c *controlplane.Cluster, client *kubernetes.Clientset, program, config string) (url string, err error) {
	if err := allow(ctx, client); err != nil {
		return "", err
	}
	port, _, err := start(ctx, c, "metrics-adapter", program, "/readyz", "--leastwatt-config="+config)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("https://127.0.0.1:%d", port), register(ctx, c, client, port)
}

// start starts the adapter with its account, and waits until a path answers.
func start(ctx context.Context, c *controlplane.Cluster, name, program, path string, args ...string) (port int, p *controlplane.Process, err error) {
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, namespace, "metrics-adapter")
	if err != nil {
		return 0, nil, err
	}
	cert, key, err := c.ServingCertificate(name, "metrics-adapter.leastwatt.svc")
	if err != nil {
		return 0, nil, err
	}
	if port, err = controlplane.FreePort(); err != nil {
		return 0, nil, err
	}
	p, err = c.Start(ctx, controlplane.Program{Name: name, Path: program, Args: append([]string{
		"--lister-kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--tls-cert-file=" + cert, "--tls-private-key-file=" + key,
	}, args...), Ready: c.Answers(fmt.Sprintf("https://127.0.0.1:%d%s", port, path))})
	return port, p, err
}

// allow makes the adapter's account and what it may do.
func allow(ctx context.Context, client *kubernetes.Clientset) error {
	name := metav1.ObjectMeta{Name: "leastwatt-metrics-adapter"}
	subjects := []rbac.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "metrics-adapter"}}
	refer := func(kind, name string) rbac.RoleRef {
		return rbac.RoleRef{APIGroup: rbac.GroupName, Kind: kind, Name: name}
	}
	create := metav1.CreateOptions{}
	for _, do := range []func() error{
		func() error {
			_, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, create)
			return err
		},
		func() error {
			_, err := client.CoreV1().ServiceAccounts(namespace).Create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "metrics-adapter"}}, create)
			return err
		},
		func() error {
			_, err := client.RbacV1().ClusterRoles().Create(ctx, &rbac.ClusterRole{ObjectMeta: name, Rules: []rbac.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list", "watch"}},
				{APIGroups: []string{""}, Resources: []string{"pods", "namespaces"}, Verbs: []string{"list"}},
			}}, create)
			return err
		},
		func() error {
			_, err := client.RbacV1().ClusterRoleBindings().Create(ctx, &rbac.ClusterRoleBinding{ObjectMeta: name, Subjects: subjects, RoleRef: refer("ClusterRole", name.Name)}, create)
			return err
		},
		func() error {
			_, err := client.RbacV1().ClusterRoleBindings().Create(ctx, &rbac.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "leastwatt-metrics-adapter-auth"},
				Subjects: subjects, RoleRef: refer("ClusterRole", "system:auth-delegator")}, create)
			return err
		},
		func() error {
			_, err := client.RbacV1().RoleBindings(metav1.NamespaceSystem).Create(ctx, &rbac.RoleBinding{ObjectMeta: name,
				Subjects: subjects, RoleRef: refer("Role", "extension-apiserver-authentication-reader")}, create)
			return err
		},
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// register tells the API server who answers for the two groups. Endpoints may not be on loopback, so the
// Service is a name.
func register(ctx context.Context, c *controlplane.Cluster, client *kubernetes.Clientset, port int) error {
	_, err := client.CoreV1().Services(namespace).Create(ctx, &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: "metrics-adapter"},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeExternalName, ExternalName: "localhost", Ports: []v1.ServicePort{{Port: int32(port)}}}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(c.CAFile())
	if err != nil {
		return err
	}
	services, err := aggregator.NewForConfig(c.RESTConfig())
	if err != nil {
		return err
	}
	for _, gv := range []struct{ group, version string }{{"custom.metrics.k8s.io", "v1beta2"}, {"external.metrics.k8s.io", "v1beta1"}} {
		_, err := services.ApiregistrationV1().APIServices().Create(ctx, &apiregistration.APIService{
			ObjectMeta: metav1.ObjectMeta{Name: gv.version + "." + gv.group},
			Spec: apiregistration.APIServiceSpec{Group: gv.group, Version: gv.version, GroupPriorityMinimum: 100, VersionPriority: 100, CABundle: authority,
				Service: &apiregistration.ServiceReference{Namespace: namespace, Name: "metrics-adapter", Port: new(int32(port))}},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
	}
	return nil
}

// deploy makes a Deployment of one replica, and has it scaled by the watts of a server: one replica for each 100 W.
func deploy(ctx context.Context, client *kubernetes.Clientset, server string) error {
	labels := map[string]string{"app": "web"}
	_, err := client.AppsV1().Deployments("default").Create(ctx, &apps.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: apps.DeploymentSpec{Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: v1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "none"}}}}}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = client.AutoscalingV2().HorizontalPodAutoscalers("default").Create(ctx, &autoscaling.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: autoscaling.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, MinReplicas: new(int32(1)), MaxReplicas: 8,
			Metrics: []autoscaling.MetricSpec{{Type: autoscaling.ExternalMetricSourceType, External: &autoscaling.ExternalMetricSource{
				Metric: autoscaling.MetricIdentifier{Name: "power_watts", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"node": server}}},
				Target: autoscaling.MetricTarget{Type: autoscaling.AverageValueMetricType, AverageValue: resource.NewQuantity(100, resource.DecimalSI)}}}},
		}}, metav1.CreateOptions{})
	return err
}
