package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	admission "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/shift"
)

// warnings keeps what the API server warns of.
type warnings struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, text)
}

// take returns and forgets what was warned of.
func (w *warnings) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.list, "\n")
	w.list = nil
	return s
}

// gatedPod requests one core: 16 Wh in two hours at 8 W a core.
func gatedPod(namespace, name string, gates ...v1.PodSchedulingGate) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1.PodSpec{SchedulingGates: gates, Containers: []v1.Container{{Name: "c", Image: "none",
		Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}}}}}}
}

// admissions has the API server ask the webhook: namespaces whose budget for the day is used up are warned, delayed or refused, as their
// policy says; while the webhook is down, failurePolicy Ignore lets work in, which the controller then holds by the same budget, and Fail keeps
// it out.
func admissions(ctx context.Context, t *testing.T, cluster *controlplane.Cluster, began time.Time) error {
	config, said := rest.CopyConfig(cluster.RESTConfig()), &warnings{}
	config.WarningHandler = said
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString("default: {zone: DE, duration: 2h, maxDelay: 168h}\nnamespaces:\n")
	spaces := []string{shift.Warn, shift.Delay, shift.Refuse}
	for _, over := range spaces {
		if _, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: over}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		fmt.Fprintf(&text, "  %s: {budget: {kWhPerDay: 0.016, over: %s}}\n", over, over)
	}
	certs := t.TempDir()
	policies := filepath.Join(certs, "policies.yaml")
	if err := os.WriteFile(policies, []byte(text.String()), 0o600); err != nil {
		return err
	}
	cert, key, err := cluster.ServingCertificate("shift-webhook")
	if err != nil {
		return err
	}
	for from, to := range map[string]string{cert: "tls.crt", key: "tls.key"} {
		if err := os.Symlink(from, filepath.Join(certs, to)); err != nil {
			return err
		}
	}
	address, err := controlplane.FreePort()
	if err != nil {
		return err
	}
	// At noon of a day, an hour into its clean ones, so that what may start does and no budget's day ends in the middle of the test. The next clean
	// hours come 23 hours later.
	noon := began.Truncate(24 * time.Hour).Add(36 * time.Hour)
	at := &clock{now: noon}
	start := func() (stop func()) {
		o := &options{source: &valley{began: noon.Add(-11 * time.Hour)}, now: at.read, policies: policies, interval: 50 * time.Millisecond, metricsAddr: "0", healthAddr: "0", registered: true,
			webhookHost: "127.0.0.1", webhookPort: address, webhookCerts: certs}
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := run(ctx, o, user(cluster.RESTConfig()), slog.New(slog.DiscardHandler)); err != nil && ctx.Err() == nil {
				t.Errorf("controller: %v", err)
			}
		})
		return func() { cancel(); wg.Wait() }
	}
	stop := start()
	defer func() { stop() }()

	ca, err := os.ReadFile(cluster.CAFile())
	if err != nil {
		return err
	}
	hook := url.URL{Scheme: "https", Host: fmt.Sprintf("127.0.0.1:%d", address), Path: "/refuse"}
	hooks := client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	rule := func(group string, resources ...string) admission.RuleWithOperations {
		return admission.RuleWithOperations{Operations: []admission.OperationType{admission.Create}, Rule: admission.Rule{APIGroups: []string{group}, APIVersions: []string{"v1"}, Resources: resources}}
	}
	if _, err := hooks.Create(ctx, &admission.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "shift"}, Webhooks: []admission.ValidatingWebhook{{
		Name: "shift.leastwatt.github.io", ClientConfig: admission.WebhookClientConfig{URL: new(hook.String()), CABundle: ca}, SideEffects: new(admission.SideEffectClassNone),
		AdmissionReviewVersions: []string{"v1"}, FailurePolicy: new(admission.Ignore), TimeoutSeconds: new(int32(5)),
		Rules: []admission.RuleWithOperations{rule("", "pods"), rule("batch", "jobs", "cronjobs")},
	}}}, metav1.CreateOptions{}); err != nil {
		return err
	}

	gate := v1.PodSchedulingGate{Name: shift.Gate}
	create := func(p *v1.Pod) error {
		_, err := client.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{})
		return err
	}
	gates := func(namespace, name string) int {
		p, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return -1
		}
		return len(p.Spec.SchedulingGates)
	}
	// The first of each namespace uses its budget up. In the namespace that refuses it is a Job, whose pod comes after that, with our label.
	for _, over := range spaces[:2] {
		if err := create(gatedPod(over, "first", gate)); err != nil {
			return err
		}
	}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: shift.Refuse, Name: "first", Labels: map[string]string{shift.Label: "true"}},
		Spec: batchv1.JobSpec{Suspend: new(true), Template: v1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{shift.Label: "true"}}, Spec: gatedPod("", "").Spec}}}
	job.Spec.Template.Spec.RestartPolicy = v1.RestartPolicyNever
	if _, err := client.BatchV1().Jobs(shift.Refuse).Create(ctx, job, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) {
		j, err := client.BatchV1().Jobs(shift.Refuse).Get(ctx, "first", metav1.GetOptions{})
		return err == nil && !*j.Spec.Suspend && j.Status.Active == 1 && gates(shift.Warn, "first") == 0 && gates(shift.Delay, "first") == 0, err
	}); err != nil {
		return fmt.Errorf("waiting for the first of each namespace, and for the Job's pod: %w", err)
	}
	// From now on the webhook says so. Whether the API server has heard of it, tells the first warning.
	if err := until(ctx, func() (bool, error) {
		said.take()
		p := gatedPod(shift.Delay, "probe", gate)
		_, err := client.CoreV1().Pods(shift.Delay).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return strings.Contains(said.take(), "used up"), err
	}); err != nil {
		return fmt.Errorf("waiting for the webhook: %w", err)
	}
	if err := create(gatedPod(shift.Warn, "second", gate)); err != nil {
		t.Errorf("warn: %v", err)
	} else if s := said.take(); !strings.Contains(s, "started all the same") {
		t.Errorf("warn: the API server warns of %q", s)
	}
	if err := create(gatedPod(shift.Delay, "second", gate)); err != nil {
		t.Errorf("delay: %v", err)
	} else if s := said.take(); !strings.Contains(s, "held until tomorrow") {
		t.Errorf("delay: the API server warns of %q", s)
	}
	err = create(gatedPod(shift.Refuse, "second", gate))
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `namespace "refuse" has used up the day's budget (0.016 kWh`) {
		t.Errorf("refuse: %v", err)
	}
	again := job.DeepCopy()
	again.Name = "second"
	if _, err := client.BatchV1().Jobs(shift.Refuse).Create(ctx, again, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("refuse a Job: %v", err)
	}
	if err := create(gatedPod(shift.Refuse, "plain")); err != nil {
		t.Errorf("a pod that is not shifted: %v", err)
	}
	held := func(namespace, name string) (bool, error) {
		p, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		return err == nil && len(p.Spec.SchedulingGates) == 1 && strings.Contains(p.Annotations[shift.ReasonAnnotation], "budget"), err
	}
	if err := until(ctx, func() (bool, error) {
		ok, err := held(shift.Delay, "second")
		return ok && gates(shift.Warn, "second") == 0, err
	}); err != nil {
		return fmt.Errorf("waiting for the warned one to start and the delayed one to be held: %w", err)
	}

	// The webhook is down.
	stop()
	stop = func() {}
	if err := create(gatedPod(shift.Refuse, "unasked", gate)); err != nil {
		t.Errorf("failurePolicy Ignore: %v", err)
	}
	change := []byte(`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Fail"}]`)
	if _, err := hooks.Patch(ctx, "shift", types.JSONPatchType, change, metav1.PatchOptions{}); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) { // once the API server has heard of it
		p := gatedPod(shift.Refuse, "failed", gate)
		_, err := client.CoreV1().Pods(shift.Refuse).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil && strings.Contains(err.Error(), "failed calling webhook"), nil
	}); err != nil {
		return fmt.Errorf("failurePolicy Fail: %w", err)
	}
	if err := hooks.Delete(ctx, "shift", metav1.DeleteOptions{}); err != nil {
		return err
	}
	// Back again: what came in is held by the budget, until the next day.
	stop = start()
	if err := until(ctx, func() (bool, error) { return held(shift.Refuse, "unasked") }); err != nil {
		return fmt.Errorf("waiting for what came in unasked to be held: %w", err)
	}
	at.set(noon.Add(23*time.Hour + time.Minute))
	if err := until(ctx, func() (bool, error) {
		return gates(shift.Refuse, "unasked") == 0 && gates(shift.Delay, "second") == 0, nil
	}); err != nil {
		return fmt.Errorf("waiting for the next day's budget: %w", err)
	}
	return nil
}
