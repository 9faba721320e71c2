package charttest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorization "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
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
	values, secret, bmc := hall(t, map[string]float64{"frugal": 0.4, "thirsty": 0.1, "middling": 0.2})
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Kwok: true, Parent: t.TempDir(), Progress: t.Output()}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		if err := populate(ctx, client, secret, "frugal", "thirsty", "middling"); err != nil {
			return err
		}
		x := &installation{T: t, helm: helm{program, t.TempDir(), c}, kubelet: kubelet{c, client}, values: file, bmc: bmc}
		for _, step := range []func(context.Context) error{x.install, x.profile,
			func(ctx context.Context) error { return x.schedule(ctx, bin.Scheduler) },
			func(ctx context.Context) error { return x.adapt(ctx, adapter) },
			func(ctx context.Context) error { return x.control(ctx, controller) },
			func(ctx context.Context) error { return x.shift(ctx, shift) },
			x.upgrade, x.uninstall} {
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

// populate makes nodes, and the Secret of their BMCs.
func populate(ctx context.Context, client *kubernetes.Clientset, secret map[string][]byte, names ...string) error {
	create := metav1.CreateOptions{}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, create); err != nil {
		return err
	}
	if _, err := client.CoreV1().Secrets(namespace).Create(ctx, &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bmc"}, Data: secret}, create); err != nil {
		return err
	}
	room := v1.ResourceList{"cpu": resource.MustParse("32"), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse("110")}
	for _, name := range names {
		_, err := client.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelHostname: name}},
			Status: v1.NodeStatus{Capacity: room, Allocatable: room, Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}}}, create)
		if err != nil {
			return err
		}
	}
	return nil
}

type installation struct {
	*testing.T
	helm
	kubelet
	values string
	bmc    string // of thirsty

	tokens map[string]string
	ports  [7]int // of the scheduler, its decisions, the adapter, the controller and its health, shift and its
	tls    map[string][]byte
}

// set are the ports that are free here, and what else is switched on.
func (x *installation) set(more ...string) []string {
	all := append([]string{"metricsAdapter.enabled=true", "controller.enabled=true", "scheduler.profiles=true",
		fmt.Sprint("scheduler.securePort=", x.ports[0]), fmt.Sprint("scheduler.decisionsPort=", x.ports[1]), fmt.Sprint("metricsAdapter.securePort=", x.ports[2]),
		fmt.Sprint("controller.metricsPort=", x.ports[3]), fmt.Sprint("controller.healthPort=", x.ports[4]),
		"shift.enabled=true", "shift.grid=static:100", fmt.Sprint("shift.metricsPort=", x.ports[5]), fmt.Sprint("shift.healthPort=", x.ports[6])}, more...)
	return []string{"--namespace=" + namespace, "--values=" + x.values, "--set=" + strings.Join(all, ",")}
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
			map[string]any{"type": "redfish", "url": x.bmc, "secretName": "bmc", "interval": "1s"}}}}}
	return until(ctx, func(ctx context.Context) (bool, error) { // the API server serves a new kind within moments
		_, err := client.Resource(profiles).Create(ctx, object, metav1.CreateOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil || apierrors.IsAlreadyExists(err), err
	})
}

// schedule runs the scheduler as its Deployment says, and has it place pods; then it is stopped, and its successor
// takes over.
func (x *installation) schedule(ctx context.Context, program string) error {
	d, err := x.client.AppsV1().Deployments(namespace).Get(ctx, "lw-leastwatt-scheduler", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if *d.Spec.Replicas != 2 {
		x.Errorf("%d replicas of the scheduler, want 2", *d.Spec.Replicas)
	}
	url := fmt.Sprintf("https://127.0.0.1:%d", x.ports[0])
	for round := range 2 {
		name := fmt.Sprint("scheduler-", round)
		p, err := x.kubelet.run(ctx, x.T, name, program, namespace, d.Spec.Template, answers(url+"/readyz"))
		if err != nil {
			return err
		}
		// Sensors first: a node that is not read yet never wins.
		if err := until(ctx, func(ctx context.Context) (bool, error) {
			_, body, err := x.get(ctx, url+"/metrics", "prometheus", nil)
			return strings.Contains(body, `state="known"} 3`), err
		}); err != nil {
			return fmt.Errorf("waiting for readings of three servers: %w", err)
		}
		if err := x.decisions(ctx); err != nil {
			return err
		}
		if err := x.place(ctx, round); err != nil {
			return err
		}
		x.stop(p)
	}
	lease, err := x.client.CoordinationV1().Leases(namespace).Get(ctx, "lw-leastwatt-scheduler", metav1.GetOptions{})
	if err != nil || lease.Spec.LeaseTransitions == nil || *lease.Spec.LeaseTransitions < 1 {
		x.Errorf("the leader's lease: %+v, %v; want a second leader", lease.Spec, err)
	}
	return nil
}

// decisions asks for the page and the metrics with and without the chart's role.
func (x *installation) decisions(ctx context.Context) error {
	for account, want := range map[string]int{"prometheus": http.StatusOK, "stranger": http.StatusForbidden, "": http.StatusUnauthorized} {
		for _, url := range []string{fmt.Sprintf("https://127.0.0.1:%d/metrics", x.ports[0]), fmt.Sprintf("https://127.0.0.1:%d/leastwatt/decisions", x.ports[1])} {
			status, _, err := x.get(ctx, url, account, nil)
			if err != nil {
				return err
			}
			if account == "" && status == http.StatusForbidden {
				status = want // of somebody without a name, who may ask for health alone
			}
			if status != want {
				x.Errorf("%s for %q: %d, want %d", url, account, status, want)
			}
		}
	}
	return nil
}

// place makes pods and waits until they are placed: on the server that draws the least.
func (x *installation) place(ctx context.Context, round int) error {
	const n = 20
	app := map[string]string{"round": fmt.Sprint(round)}
	for i := range n {
		_, err := x.client.CoreV1().Pods("default").Create(ctx, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%d-%d", round, i), Labels: app},
			Spec: v1.PodSpec{SchedulerName: "leastwatt", Containers: []v1.Container{{Name: "c", Image: "none",
				Resources: v1.ResourceRequirements{Requests: v1.ResourceList{"cpu": resource.MustParse("100m")}}}}}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
	}
	on := make(map[string]int)
	err := until(ctx, func(ctx context.Context) (bool, error) {
		clear(on)
		pods, err := x.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "round=" + app["round"]})
		for _, p := range pods.Items {
			on[p.Spec.NodeName]++
		}
		return err == nil && len(pods.Items) == n && on[""] == 0, err
	})
	if err != nil {
		return fmt.Errorf("waiting for %d pods: %v: %w", n, on, err)
	}
	if on["frugal"] != n {
		x.Errorf("pods are on %v, want all on frugal", on)
	}
	x.Logf("round %d: pods on %v", round, on)
	return nil
}

// get asks a program with the token of a service account of the namespace; "" is no token.
func (x *installation) get(ctx context.Context, url, account string, verify *tls.Config) (int, string, error) {
	if verify == nil {
		verify = &tls.Config{InsecureSkipVerify: true} // the scheduler's certificate is of its own making
	}
	transport := &http.Transport{TLSClientConfig: verify}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	if account != "" {
		token, err := x.token(ctx, account)
		if err != nil {
			return 0, "", err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, "", nil // not up yet
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, string(body), err
}

func answers(url string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, resp.Status)
		}
		return nil
	}
}

// adapt runs the metrics adapter as its Deployment says, with the certificate that the chart made.
func (x *installation) adapt(ctx context.Context, program string) error {
	const name = "lw-leastwatt-metrics-adapter"
	d, err := x.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	secret, err := x.client.CoreV1().Secrets(namespace).Get(ctx, name+"-tls", metav1.GetOptions{})
	if err != nil {
		return err
	}
	x.tls = secret.Data
	url := fmt.Sprintf("https://127.0.0.1:%d", x.ports[2])
	p, err := x.kubelet.run(ctx, x.T, "adapter", program, namespace, d.Spec.Template, answers(url+"/readyz"))
	if err != nil {
		return err
	}
	defer x.stop(p)
	// As the API server verifies it: by the Service's name and the APIService's bundle.
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(secret.Data["ca.crt"])
	verify := &tls.Config{RootCAs: roots, ServerName: name + "." + namespace + ".svc"}
	path := url + "/apis/custom.metrics.k8s.io/v1beta2/nodes/*/power_watts"
	var body string
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		var err error
		_, body, err = x.get(ctx, path, "autoscaler", verify)
		return strings.Count(body, `"value":"150"`) == 3, err
	}); err != nil {
		return fmt.Errorf("waiting for the watts of three servers: %w: %.500s", err, body)
	}
	if status, _, err := x.get(ctx, path, "lw-leastwatt-scheduler", verify); err != nil || status != http.StatusForbidden {
		x.Errorf("an account without the role gets %d, %v", status, err)
	}
	return nil
}

// control runs the controller as its Deployment says: it reads the sensors of the user's profile with the Secret that
// the values name, and no other.
func (x *installation) control(ctx context.Context, program string) error {
	const name = "lw-leastwatt-controller"
	d, err := x.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	p, err := x.kubelet.run(ctx, x.T, "controller", program, namespace, d.Spec.Template, answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", x.ports[4])))
	if err != nil {
		return err
	}
	defer x.stop(p)
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	var status any
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		o, err := client.Resource(profiles).Get(ctx, "thirsty", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		status = o.Object["status"]
		answering, _, err := unstructured.NestedString(o.Object, "status", "answering")
		return answering == "1/1", err
	}); err != nil {
		return fmt.Errorf("waiting for the profile's sensor: %w: %v", err, status)
	}
	for secret, want := range map[string]bool{"bmc": true, "lw-leastwatt-metrics-adapter-tls": false, "": false} {
		verb := "get"
		if secret == "" {
			verb = "list"
		}
		review, err := x.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorization.SubjectAccessReview{Spec: authorization.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + namespace + ":" + name,
			ResourceAttributes: &authorization.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: "secrets", Name: secret},
		}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		if review.Status.Allowed != want {
			x.Errorf("the controller may %s the Secret %q: %t, want %t", verb, secret, review.Status.Allowed, want)
		}
	}
	return nil
}

// shift runs the controller that delays work as its Deployment says: it opens the gate of a pod whose time has come.
func (x *installation) shift(ctx context.Context, program string) error {
	_, err := x.client.CoreV1().Pods("default").Create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "gated", Annotations: map[string]string{"leastwatt.github.io/max-delay": "1s"}},
		Spec: v1.PodSpec{SchedulerName: "nobody", SchedulingGates: []v1.PodSchedulingGate{{Name: "leastwatt.github.io/shift"}},
			Containers: []v1.Container{{Name: "c", Image: "none"}}}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	d, err := x.client.AppsV1().Deployments(namespace).Get(ctx, "lw-leastwatt-shift", metav1.GetOptions{})
	if err != nil {
		return err
	}
	p, err := x.kubelet.run(ctx, x.T, "shift", program, namespace, d.Spec.Template, answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", x.ports[6])))
	if err != nil {
		return err
	}
	defer x.stop(p)
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		pod, err := x.client.CoreV1().Pods("default").Get(ctx, "gated", metav1.GetOptions{})
		return err == nil && len(pod.Spec.SchedulingGates) == 0, err
	}); err != nil {
		return fmt.Errorf("waiting for the gate to open: %w", err)
	}
	return nil
}

// stop ends a program, which must not have been refused anything.
func (x *installation) stop(p *controlplane.Process) {
	p.Stop()
	log, err := os.ReadFile(p.LogFile())
	if err != nil {
		x.Error(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(strings.ToLower(line), "forbidden") && !strings.Contains(line, "stranger") {
			x.Errorf("a right is missing: %s", line)
		}
	}
}

// upgrade changes the mode. What users made, certificates and definitions stay.
func (x *installation) upgrade(ctx context.Context) error {
	path, err := chart()
	if err != nil {
		return err
	}
	before, err := x.client.AppsV1().Deployments(namespace).Get(ctx, "lw-leastwatt-scheduler", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if _, err := x.helm.run(ctx, append([]string{"upgrade", "lw", path}, x.set("scheduler.mode=shadow")...)...); err != nil {
		return err
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

// kept checks that definitions and the user's objects are still there.
func (x *installation) kept(ctx context.Context) error {
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	if _, err := client.Resource(profiles).Get(ctx, "thirsty", metav1.GetOptions{}); err != nil {
		x.Errorf("the user's NodeProfile: %v", err)
	}
	definitions, err := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).List(ctx, metav1.ListOptions{})
	if err != nil || len(definitions.Items) != 3 {
		x.Errorf("%d definitions, %v; want 3", len(definitions.Items), err)
	}
	return nil
}

// until asks every 100 ms until it is so, for at most a minute.
func until(ctx context.Context, is func(ctx context.Context) (bool, error)) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, is)
}
