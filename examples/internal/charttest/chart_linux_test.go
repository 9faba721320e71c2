package charttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/examples/internal/readme"
)

// The chart is installed by helm; the programs are run as its Deployments say, with its service accounts, and do
// their work; an upgrade keeps what must stay, and so does the removal.
func TestChart(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: a container's root folder and user need it")
	}
	bin := controlplane.ForTest(t, controlplane.SchedulerPackage)
	program := controlplane.HelmForTest(t)
	adapter, controller := controlplane.ProgramForTest(t, "metrics-adapter"), controlplane.ProgramForTest(t, "controller")
	shift := controlplane.ProgramForTest(t, "shift")
	jobs := controlplane.ProgramForTest(t, "jobs")
	hall := hall(t, map[string]float64{"frugal": 0.2, "thirsty": 0.1, "middling": 0.2})
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(hall.values), 0o600); err != nil {
		t.Fatal(err)
	}
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Kwok: true, Audit: true, Parent: t.TempDir(), Progress: t.Output()}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		if err := populate(ctx, client, "frugal", "thirsty", "middling"); err != nil {
			return err
		}
		x := &installation{T: t, helm: helm{program, t.TempDir(), c}, kubelet: kubelet{c, client}, values: file, hall: hall}
		x.more = []string{"metricsAdapter.enabled=true", "controller.enabled=true", "scheduler.profiles=true", "scheduler.metricsServer=true", "scheduler.args.events=true", "scheduler.args.annotate=true",
			"metricsAdapter.profiles=true", "metricsAdapter.metricsServer=true", "controller.metricsServer=true", "scheduler.spreadRate.enabled=true", "scheduler.powerCap.enabled=true",
			"scheduler.powerCap.args.caps[0].name=node", "scheduler.powerCap.args.caps[0].watts=100000", "scheduler.extraProfiles[0].schedulerName=leastwatt-green", "scheduler.extraProfiles[0].objective.minimize=grams",
			"scheduler.extraProfiles[0].objective.intensity[0].type=static", "scheduler.extraProfiles[0].objective.intensity[0].value=300", "shift.enabled=true", "shift.kueue=true", "shift.grid=static:100", "shift.replicas=1", "shift.persistence.enabled=true", "jobs.enabled=true", "jobsPush.enabled=true",
			"monitoring.podMonitors.enabled=true", "monitoring.rules.enabled=true", "monitoring.dashboard.enabled=true"}
		for _, step := range []func(context.Context) error{func(ctx context.Context) error { return x.define(ctx, monitoringDefinitions) },
			func(ctx context.Context) error { return x.define(ctx, kueueDefinitions) }, x.readme, x.install, x.granted, x.strict, x.profile,
			func(ctx context.Context) error { return x.schedule(ctx, bin.Scheduler) }, x.trouble,
			func(ctx context.Context) error { return x.jobs(ctx, jobs) },
			func(context.Context) error { x.stop(x.scheduler.Process); return nil },
			func(ctx context.Context) error { return x.adapt(ctx, adapter) },
			func(ctx context.Context) error { return x.control(ctx, controller) },
			func(ctx context.Context) error { return x.shift(ctx, shift) },
			func(ctx context.Context) error { return x.compat(ctx, controller) },
			x.upgrade, x.granted, func(ctx context.Context) error { return x.elsewhere(ctx, controller) },
			func(context.Context) error { return x.rights(spare) }, x.uninstall} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// populate makes nodes, and the namespace of the job service's Jobs.
func populate(ctx context.Context, client *kubernetes.Clientset, names ...string) error {
	create := metav1.CreateOptions{}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "batch"}}, create); err != nil {
		return err
	}
	room := v1.ResourceList{"cpu": resource.MustParse("64"), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse("1000")}
	for _, name := range names {
		_, err := client.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelHostname: name}},
			Status: v1.NodeStatus{Capacity: room, Allocatable: room, Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}}}, create)
		if err != nil {
			return err
		}
	}
	return nil
}

// The ports that programs listen at.
const (
	schedulerPort = iota
	decisionsPort
	adapterPort
	controllerPort
	controllerHealth
	shiftPort
	shiftHealth
	webhookPort
	jobsPort
	pushHealth
	proxyPort
	gatewayPort
	ports
)

type installation struct {
	*testing.T
	helm
	kubelet
	values string
	more   []string // values beside those of set
	hall   *machines

	tokens    map[string]string
	grants    map[grant]bool // what programs were let do since the start
	ports     [ports]int
	tls       map[string][]byte // of the adapter
	jobsToken string
	scheduler running
}

// set are the ports that are free here, and what else is switched on.
func (x *installation) set(more ...string) []string {
	all := append([]string{"jobsPush.scaphandre=" + x.hall.watts + "/metrics", "jobsPush.interval=1s", fmt.Sprintf("jobsPush.url=http://127.0.0.1:%d", x.ports[jobsPort])}, slices.Concat(x.more, more)...)
	for value, port := range map[string]int{"scheduler.securePort": schedulerPort, "scheduler.decisionsPort": decisionsPort, "metricsAdapter.securePort": adapterPort,
		"controller.metricsPort": controllerPort, "controller.healthPort": controllerHealth, "shift.metricsPort": shiftPort, "shift.healthPort": shiftHealth, "shift.webhook.port": webhookPort,
		"jobs.port": jobsPort, "jobsPush.healthPort": pushHealth, "endpointSelector.metricsPort": proxyPort, "gateway.metricsPort": gatewayPort} {
		all = append(all, fmt.Sprintf("%s=%d", value, x.ports[port]))
	}
	return []string{"--namespace=" + namespace, "--values=" + x.values, "--set=" + strings.Join(all, ",")}
}

// readme does what the README tells: the namespace and the Secret of the BMCs are what the other steps use, the release is
// installed and removed again.
func (x *installation) readme(ctx context.Context) error {
	section := readme.Read(x.T, "### Install with Helm")
	var values string
	for _, b := range section.Blocks {
		if strings.HasPrefix(b, "# values.yaml") {
			values = b
		}
	}
	s := readme.Shell{Programs: map[string]string{"helm": x.helm.program, "kubectl": controlplane.KubectlForTest(x.T)}, Kubeconfig: x.kubelet.cluster.Kubeconfig(),
		Files: map[string]string{"values.yaml": values, "password": string(x.hall.secret["password"]), "ca.crt": string(x.hall.secret["ca.crt"])}}
	s.Play(ctx, x.T, section.Commands)
	return nil
}

func (x *installation) install(ctx context.Context) error {
	for i := range x.ports {
		var err error
		if x.ports[i], err = controlplane.FreePort(); err != nil {
			return err
		}
	}
	path, err := chart()
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"lint", path, "--strict", "--values=" + x.values},
		append([]string{"install", "lw", path}, x.set()...),
	} {
		out, err := x.helm.run(ctx, args...)
		if err != nil {
			return err
		}
		x.Log(out)
	}
	return nil
}

var profiles = schema.GroupVersionResource{Group: "leastwatt.github.io", Version: "v1alpha1", Resource: "nodeprofiles"}

// profile makes an object of a user's, of a kind that the chart brought.
func (x *installation) profile(ctx context.Context) error {
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "leastwatt.github.io/v1alpha1", "kind": "NodeProfile",
		"metadata": map[string]any{"name": "thirsty"}, "spec": map[string]any{"sensors": []any{
			map[string]any{"type": "redfish", "url": x.hall.bmc, "secretName": "bmc", "interval": "1s"}}}}}
	return until(ctx, func(ctx context.Context) (bool, error) { // the API server serves a new kind within moments
		_, err := client.Resource(profiles).Create(ctx, object, metav1.CreateOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil || apierrors.IsAlreadyExists(err), err
	})
}

// bmcs is a namespace for BMC credentials alone: any of its Secrets may be read by name, and none of the release's.
const bmcs = "bmcs"

// upgrade changes the mode, and where the Secrets of profiles are. What users made, certificates and definitions stay.
func (x *installation) upgrade(ctx context.Context) error {
	path, err := chart()
	if err != nil {
		return err
	}
	before, err := x.client.AppsV1().Deployments(namespace).Get(ctx, "lw-leastwatt-scheduler", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if _, err := x.client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: bmcs}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := x.helm.run(ctx, append([]string{"upgrade", "lw", path}, x.set("scheduler.mode=shadow", "profileSecrets.namespace="+bmcs)...)...); err != nil {
		return err
	}
	for _, account := range []string{"lw-leastwatt-controller", "lw-leastwatt-scheduler"} {
		old := right{namespace, "get", "", "secrets", "bmc", false}
		rights := []right{{bmcs, "get", "", "secrets", "bmc-n1", true}, old, {"default", "get", "", "secrets", "bmc", false},
			{bmcs, "list", "", "secrets", "", false}, {bmcs, "watch", "", "secrets", "", false}, {bmcs, "update", "", "secrets", "bmc-n1", false}}
		if err := until(ctx, func(ctx context.Context) (bool, error) { // the API server hears of changed roles within moments
			before, err := x.allowed(ctx, account, old)
			if err != nil || before {
				return false, err
			}
			return x.allowed(ctx, account, rights[0])
		}); err != nil {
			return fmt.Errorf("waiting until %s may read Secrets of %s and no others: %w", account, bmcs, err)
		}
		if err := x.may(ctx, account, rights); err != nil {
			return err
		}
	}
	after, err := x.client.AppsV1().Deployments(namespace).Get(ctx, "lw-leastwatt-scheduler", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if cmp.Equal(before.Spec.Template, after.Spec.Template) {
		x.Error("a changed configuration does not restart the scheduler")
	}
	m, err := x.client.CoreV1().ConfigMaps(namespace).Get(ctx, "lw-leastwatt-scheduler", metav1.GetOptions{})
	if err != nil || !strings.Contains(m.Data["scheduler.yaml"], "mode: shadow") {
		x.Errorf("after the upgrade: %v, %v", m.Data, err)
	}
	s, err := x.client.CoreV1().Secrets(namespace).Get(ctx, "lw-leastwatt-metrics-adapter-tls", metav1.GetOptions{})
	if err != nil || !cmp.Equal(s.Data, x.tls) {
		x.Errorf("an upgrade changes the adapter's certificate: %v", err)
	}
	if s, err = x.client.CoreV1().Secrets(namespace).Get(ctx, "lw-leastwatt-jobs-token", metav1.GetOptions{}); err != nil || string(s.Data["token"]) != x.jobsToken {
		x.Errorf("an upgrade changes the job service's token: %v", err)
	}
	return x.kept(ctx)
}

// uninstall removes what was installed, and nothing that users made.
func (x *installation) uninstall(ctx context.Context) error {
	out, err := x.helm.run(ctx, "uninstall", "lw", "--namespace="+namespace)
	if err != nil {
		return err
	}
	x.Log(out)
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		d, err := x.client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		return err == nil && len(d.Items) == 0, err
	}); err != nil {
		return fmt.Errorf("waiting for the Deployments to go: %w", err)
	}
	roles, err := x.client.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=leastwatt"})
	if err != nil || len(roles.Items) > 0 {
		x.Errorf("%d roles are left, %v", len(roles.Items), err)
	}
	if _, err := x.client.CoreV1().Secrets(namespace).Get(ctx, "bmc", metav1.GetOptions{}); err != nil {
		x.Errorf("the user's Secret: %v", err)
	}
	return x.kept(ctx)
}

// kept checks that definitions, the user's objects and what was accepted are still there.
func (x *installation) kept(ctx context.Context) error {
	if _, err := x.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, "lw-leastwatt-jobs", metav1.GetOptions{}); err != nil {
		x.Errorf("the job service's claim: %v", err)
	}
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	if _, err := client.Resource(profiles).Get(ctx, "thirsty", metav1.GetOptions{}); err != nil {
		x.Errorf("the user's NodeProfile: %v", err)
	}
	all, err := client.Resource(crds).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	ours := 0
	for _, d := range all.Items {
		if group, _, _ := unstructured.NestedString(d.Object, "spec", "group"); group == profiles.Group {
			ours++
		}
	}
	if ours != 3 {
		x.Errorf("%d definitions of ours, want 3", ours)
	}
	return nil
}
