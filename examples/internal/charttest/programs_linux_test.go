package charttest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	authorization "k8s.io/api/authorization/v1"
	batch "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/leastwatt/leastwatt/k8s/shift"
	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
)

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
	url := fmt.Sprintf("https://127.0.0.1:%d", x.ports[adapterPort])
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
	for _, by := range []string{"default/pods/*/cpu_power_watts?labelSelector=app%3Dcrowd", "*/metrics/cpu_power_watts"} {
		if status, body, err := x.get(ctx, url+"/apis/custom.metrics.k8s.io/v1beta2/namespaces/"+by, "autoscaler", verify); err != nil || status != http.StatusOK {
			x.Errorf("%s: %d, %v: %.300s", by, status, err, body)
		}
	}
	return x.scrape(ctx, "metrics-adapter", d.Spec.Template)
}

// control runs the controller as its Deployment says: it reads the sensors of the user's profile with the Secret that
// the values name, and no other.
func (x *installation) control(ctx context.Context, program string) error {
	return x.controller(ctx, program, "controller", []right{
		{namespace, "get", "", "secrets", "bmc", true}, {namespace, "get", "", "secrets", "lw-leastwatt-metrics-adapter-tls", false}, {namespace, "list", "", "secrets", "", false},
		{"default", "get", "", "secrets", "bmc", false}, {namespace, "update", "", "secrets", "bmc", false},
	})
}

// elsewhere runs the controller as the upgraded Deployment says: it reads a Secret of the namespace for BMC credentials alone,
// which holds the only password that the BMC still takes, and none of the release's.
func (x *installation) elsewhere(ctx context.Context, program string) error {
	const secret, password = "bmc-n1", "of bmcs"
	x.hall.thirsty.lock(password)
	if _, err := x.client.CoreV1().Secrets(bmcs).Create(ctx, &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secret}, Data: map[string][]byte{"username": []byte("monitor"),
		"password": []byte(password), "ca.crt": x.hall.secret["ca.crt"]}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/sensors/0/secretName","value":%q}]`, secret)
	if _, err := client.Resource(profiles).Patch(ctx, "thirsty", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return err
	}
	if err := x.controller(ctx, program, "controller-elsewhere", []right{{bmcs, "get", "", "secrets", secret, true}, {namespace, "get", "", "secrets", "bmc", false}}); err != nil {
		return err
	}
	if !x.hall.thirsty.entered.Load() {
		x.Errorf("nobody came to the BMC with the password of %s", bmcs)
	}
	return nil
}

// controller runs the controller as its Deployment says until it tells that the sensor of the user's profile, as it is now,
// answers. Then it checks its account's rights.
func (x *installation) controller(ctx context.Context, program, name string, rights []right) error {
	const deployment = "lw-leastwatt-controller"
	d, err := x.client.AppsV1().Deployments(namespace).Get(ctx, deployment, metav1.GetOptions{})
	if err != nil {
		return err
	}
	p, err := x.kubelet.run(ctx, x.T, name, program, namespace, d.Spec.Template, answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", x.ports[controllerHealth])))
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
		observed, _, err := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
		if err != nil {
			return false, err
		}
		answering, _, err := unstructured.NestedString(o.Object, "status", "answering")
		return answering == "1/1" && observed == o.GetGeneration(), err
	}); err != nil {
		return fmt.Errorf("waiting for the profile's sensor: %w: %v", err, status)
	}
	if err := x.scrape(ctx, "controller", d.Spec.Template); err != nil {
		return err
	}
	return x.may(ctx, deployment, rights)
}

// A right is something that an account may or may not do.
type right struct {
	namespace, verb, group, resource, name string
	want                                   bool
}

// may asks the API server for what an account may do, and reads with its token the Secrets that it may or must not get.
func (x *installation) may(ctx context.Context, account string, rights []right) error {
	token, err := x.token(ctx, account)
	if err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(x.kubelet.cluster.RESTConfig())
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for _, r := range rights {
		allowed, err := x.allowed(ctx, account, r)
		if err != nil {
			return err
		}
		if allowed != r.want {
			x.Errorf("%s: %+v: allowed is %t", account, r, allowed)
		}
		if r.verb != "get" || r.resource != "secrets" {
			continue
		}
		_, err = client.CoreV1().Secrets(r.namespace).Get(ctx, r.name, metav1.GetOptions{})
		if got := err == nil || apierrors.IsNotFound(err); got != r.want || !got && !apierrors.IsForbidden(err) {
			x.Errorf("%s reads Secret %s/%s: %v; it may: %t", account, r.namespace, r.name, err, r.want)
		}
	}
	return nil
}

func (x *installation) allowed(ctx context.Context, account string, r right) (bool, error) {
	review, err := x.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorization.SubjectAccessReview{Spec: authorization.SubjectAccessReviewSpec{
		User:               "system:serviceaccount:" + namespace + ":" + account,
		Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		ResourceAttributes: &authorization.ResourceAttributes{Namespace: r.namespace, Verb: r.verb, Group: r.group, Resource: r.resource, Name: r.name},
	}}, metav1.CreateOptions{})
	return err == nil && review.Status.Allowed, err
}

// shift runs the controller that delays work as its Deployment says: it opens the gate of a pod whose time has come, and passes the check of a Workload of Kueue's.
func (x *installation) shift(ctx context.Context, program string) error {
	_, err := x.client.CoreV1().Pods("default").Create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "gated", Annotations: map[string]string{"leastwatt.github.io/max-delay": "1s"}},
		Spec: v1.PodSpec{SchedulerName: "nobody", SchedulingGates: []v1.PodSchedulingGate{{Name: "leastwatt.github.io/shift"}},
			Containers: []v1.Container{{Name: "c", Image: "none"}}}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	work := metav1.ObjectMeta{Name: "night", Labels: map[string]string{shift.Label: "true"}, Annotations: map[string]string{shift.MaxDelayAnnotation: "1s"}}
	job := batch.JobSpec{Suspend: new(true), Template: v1.PodTemplateSpec{Spec: v1.PodSpec{SchedulerName: "nobody", RestartPolicy: v1.RestartPolicyNever, Containers: []v1.Container{{Name: "c", Image: "none"}}}}}
	if _, err := x.client.BatchV1().Jobs("default").Create(ctx, &batch.Job{ObjectMeta: work, Spec: job}, metav1.CreateOptions{}); err != nil {
		return err
	}
	job.Suspend = nil
	cron := batch.CronJobSpec{Suspend: new(true), Schedule: "0 0 1 1 *", JobTemplate: batch.JobTemplateSpec{Spec: job}}
	if _, err := x.client.BatchV1().CronJobs("default").Create(ctx, &batch.CronJob{ObjectMeta: work, Spec: cron}, metav1.CreateOptions{}); err != nil {
		return err
	}
	workloads, err := x.workload(ctx)
	if err != nil {
		return err
	}
	d, err := x.client.AppsV1().Deployments(namespace).Get(ctx, "lw-leastwatt-shift", metav1.GetOptions{})
	if err != nil {
		return err
	}
	p, err := x.kubelet.run(ctx, x.T, "shift", program, namespace, d.Spec.Template, answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", x.ports[shiftHealth])))
	if err != nil {
		return err
	}
	stop := sync.OnceFunc(func() { x.stop(p) })
	defer stop()
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		pod, err := x.client.CoreV1().Pods("default").Get(ctx, "gated", metav1.GetOptions{})
		return err == nil && len(pod.Spec.SchedulingGates) == 0, err
	}); err != nil {
		return fmt.Errorf("waiting for the gate to open: %w", err)
	}
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		j, err := x.client.BatchV1().Jobs("default").Get(ctx, "night", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		c, err := x.client.BatchV1().CronJobs("default").Get(ctx, "night", metav1.GetOptions{})
		return err == nil && !*j.Spec.Suspend && !*c.Spec.Suspend, err
	}); err != nil {
		return fmt.Errorf("waiting for the Job and the CronJob: %w", err)
	}
	var w *unstructured.Unstructured
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		if w, err = workloads.Get(ctx, "w", metav1.GetOptions{}); err != nil {
			return false, err
		}
		states, _, err := unstructured.NestedSlice(w.Object, "status", "admissionChecks")
		return err == nil && states[0].(map[string]any)["state"] == "Ready" && w.GetAnnotations()[shift.ReleasedAnnotation] != "", err
	}); err != nil {
		return fmt.Errorf("waiting for Kueue's Workload: %w: %v", err, w)
	}
	if err := x.scrape(ctx, "shift", d.Spec.Template); err != nil {
		return err
	}
	stop()
	return x.keeps(ctx, program, d.Spec.Template)
}

// keeps restarts shift over what a forecast has learned until yesterday: it reads that file of its claim, as the chart's argument and mount have it, learns the hours since, and
// replaces the file.
func (x *installation) keeps(ctx context.Context, program string, template v1.PodTemplateSpec) error {
	const flag = "-grid-history-file="
	var file string
	for _, a := range template.Spec.Containers[0].Args {
		if name, ok := strings.CutPrefix(a, flag); ok {
			file = filepath.Join(x.kubelet.cluster.Folder(), "shift", name)
		}
	}
	yesterday := func() time.Time { return time.Now().Add(-24 * time.Hour) }
	static, err := grid.ParseProfile("static:100", grid.AverageLifeCycle, 1, yesterday)
	if err != nil {
		return err
	}
	before, err := forecast.NewSource(static, forecast.SourceOptions{Zones: []string{"DE"}, File: file, Now: yesterday})
	if err != nil {
		return err
	}
	if err := before.Refresh(ctx); err != nil {
		return fmt.Errorf("what was learned until yesterday: %w", err)
	}
	if err := os.Chown(file, int(*template.Spec.SecurityContext.RunAsUser), int(*template.Spec.SecurityContext.FSGroup)); err != nil {
		return err
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	p, err := x.kubelet.run(ctx, x.T, "shift", program, namespace, template, answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", x.ports[shiftHealth])))
	if err != nil {
		return err
	}
	defer x.stop(p)
	if err := until(ctx, func(context.Context) (bool, error) {
		text, err := os.ReadFile(file)
		return err == nil && !bytes.Equal(text, old), err
	}); err != nil {
		return fmt.Errorf("waiting for shift to write what it has learned: %w", err)
	}
	today, err := forecast.NewSource(static, forecast.SourceOptions{})
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := today.Load(f); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if steps, err := today.Steps("DE"); err != nil || steps[0].Start.Before(time.Now().Add(-2*time.Hour)) {
		return fmt.Errorf("what shift wrote ends at %v (error %w): want the present", steps, err)
	}
	return nil
}

// workload makes an AdmissionCheck of ours and a Workload of Kueue's, with reserved quota, that waits for it.
func (x *installation) workload(ctx context.Context) (dynamic.ResourceInterface, error) {
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return nil, err
	}
	group := schema.GroupVersion{Group: "kueue.x-k8s.io", Version: "v1beta2"}
	workloads := client.Resource(group.WithResource("workloads")).Namespace("default")
	check := &unstructured.Unstructured{Object: map[string]any{"apiVersion": group.String(), "kind": "AdmissionCheck", "metadata": map[string]any{"name": "clean"},
		"spec": map[string]any{"controllerName": shift.CheckController}}}
	if _, err := client.Resource(group.WithResource("admissionchecks")).Create(ctx, check, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	w := &unstructured.Unstructured{Object: map[string]any{"apiVersion": group.String(), "kind": "Workload",
		"metadata": map[string]any{"name": "w", "annotations": map[string]any{shift.MaxDelayAnnotation: "1s"}},
		"spec":     map[string]any{"podSets": []any{map[string]any{"name": "main", "count": int64(1), "template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "c"}}}}}}}}}
	if w, err = workloads.Create(ctx, w, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	stamp := time.Now().UTC().Format(time.RFC3339)
	w.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "QuotaReserved", "status": "True", "reason": "QuotaReserved", "lastTransitionTime": stamp}},
		"admissionChecks": []any{map[string]any{"name": "clean", "state": "Pending", "message": "", "lastTransitionTime": stamp}}}
	_, err = workloads.UpdateStatus(ctx, w, metav1.UpdateOptions{})
	return workloads, err
}
