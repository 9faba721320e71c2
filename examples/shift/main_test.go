package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/shift"
)

// role is what the program's comment says that it needs.
func role() []rbacv1.PolicyRule {
	rule := func(group, verbs string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: strings.Split(verbs, " ")}
	}
	return []rbacv1.PolicyRule{
		rule("", "get list watch patch", "pods"),
		rule("batch", "get list watch patch", "jobs", "cronjobs"),
		rule("", "get create update", "configmaps"),
		rule("events.k8s.io", "create patch", "events"),
		rule("", "create patch", "events"),
		rule("coordination.k8s.io", "get create update", "leases"),
		rule("kueue.x-k8s.io", "get list watch patch", "workloads"),
		rule("kueue.x-k8s.io", "list watch", "admissionchecks"),
		rule("kueue.x-k8s.io", "patch", "workloads/status", "admissionchecks/status"),
	}
}

// user is the controller's own identity, which may do no more than role says.
func user(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.Impersonate.UserName = "shift"
	return c
}

func setUp(ctx context.Context, client kubernetes.Interface, config *rest.Config) (dynamic.Interface, error) {
	if _, err := client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "shift"}, Rules: role()}, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "shift"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "shift"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "shift"}}}, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	d, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return d, installKueue(ctx, d, "v1beta2")
}

func until(ctx context.Context, done func() (bool, error)) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 50*time.Second, true, func(context.Context) (bool, error) { return done() })
}

// clock is a time that the test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// On a real API server, with no more rights than documented: two controllers at once plan, explain and release pods, a Job, a CronJob and a
// Kueue Workload in the clean hours; each is released once, and the budget counts each once. Then leader election, and the webhook.
func TestTwoControllers(t *testing.T) {
	bin := controlplane.ForTest(t, "")
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, cluster *controlplane.Cluster) error {
		client, err := cluster.Client()
		if err != nil {
			return err
		}
		d, err := setUp(ctx, client, cluster.RESTConfig())
		if err != nil {
			return err
		}
		began := time.Now().UTC().Truncate(time.Second)
		if err := demoWork(ctx, client, began); err != nil {
			return err
		}
		const more = 20
		for i := range more {
			p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "frugal", Name: fmt.Sprint("p", i), Labels: map[string]string{shift.Label: "true"}},
				Spec: v1.PodSpec{SchedulingGates: []v1.PodSchedulingGate{{Name: shift.Gate}}, Containers: []v1.Container{{Name: "c", Image: "none",
					Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}}}}}}
			if _, err := client.CoreV1().Pods("frugal").Create(ctx, p, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
		workloads, err := makeKueue(ctx, d, "v1beta2", "w")
		if err != nil {
			return err
		}
		at := &clock{now: began}
		policies := filepath.Join(t.TempDir(), "policies.yaml")
		if err := os.WriteFile(policies, []byte("default: {zone: DE, duration: 2h, budget: {kWhPerDay: 100}}\n"), 0o600); err != nil {
			return err
		}
		running, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		for range 2 { // without leader election: both work
			o := &options{source: &valley{began: began}, now: at.read, policies: policies, interval: 50 * time.Millisecond, kueue: true, metricsAddr: "0", healthAddr: "0", registered: true}
			wg.Go(func() {
				if err := run(running, o, user(cluster.RESTConfig()), slog.New(slog.DiscardHandler)); err != nil {
					t.Errorf("controller: %v", err)
				}
			})
		}
		planned := func() (n int, err error) {
			rows, _, err := look(ctx, client)
			for _, r := range rows {
				if r.Annotations[shift.PlannedAnnotation] != "" && r.Annotations[shift.ReleaseByAnnotation] != "" && r.Annotations[shift.ReleasedAnnotation] == "" {
					n++
				}
			}
			return n, err
		}
		// train, report, backup, batch-1, batch-2 and 20 pods wait; hurried, too-late and no-forecast start.
		if err := until(ctx, func() (bool, error) { n, err := planned(); return n == more+5, err }); err != nil {
			n, _ := planned()
			return fmt.Errorf("waiting for %d plans, there are %d: %w", more+5, n, err)
		}
		if p, err := client.CoreV1().Pods("lab").Get(ctx, "too-late", metav1.GetOptions{}); err != nil || len(p.Spec.SchedulingGates) != 0 {
			t.Errorf("a deadline in the past: gates %v, %v", p.Spec.SchedulingGates, err)
		}
		if state(ctx, t, workloads, "w") != "Pending" {
			t.Error("the Workload's check is not pending")
		}
		at.set(began.Add(11 * time.Hour))
		if err := until(ctx, func() (bool, error) {
			rows, held, err := look(ctx, client)
			return !held && len(rows) == more+8 && state(ctx, t, workloads, "w") == "Ready", err
		}); err != nil {
			return fmt.Errorf("waiting for the start of all in the clean hours: %w", err)
		}
		j, err := client.BatchV1().Jobs("lab").Get(ctx, "report", metav1.GetOptions{})
		if err != nil || *j.Spec.Suspend {
			t.Errorf("job: %v", err)
		}
		if err := until(ctx, func() (bool, error) { // by the real Job controller
			list, err := client.CoreV1().Pods("lab").List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=report"})
			return len(list.Items) == 1, err
		}); err != nil {
			return fmt.Errorf("waiting for the Job's pod: %w", err)
		}
		book, err := client.CoreV1().ConfigMaps("frugal").Get(ctx, shift.LedgerName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		// 20 pods of a core and two Jobs of four, 8 W a core, two hours: 448 Wh.
		if n := len(strings.Fields(book.Data["charged"])); n != more+2 || !strings.HasPrefix(book.Data["kWh"], "0.448") && !strings.HasPrefix(book.Data["kWh"], "0.44799") {
			t.Errorf("%d charged, %s kWh", n, book.Data["kWh"])
		}
		events := func() (list []string, err error) {
			l, err := client.EventsV1().Events("frugal").List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, err
			}
			for _, e := range l.Items {
				if e.Reason == "Released" {
					list = append(list, e.Regarding.Name)
				}
			}
			return list, nil
		}
		if err := until(ctx, func() (bool, error) { l, err := events(); return len(l) >= more+2, err }); err != nil {
			return fmt.Errorf("waiting for events: %w", err)
		}
		if l, _ := events(); len(l) != more+2 {
			t.Errorf("%d events of %d releases: %v", len(l), more+2, l)
		}
		stop()
		wg.Wait()
		if err := leaders(ctx, t, cluster, client, began, policies); err != nil {
			return err
		}
		if err := told(ctx, t, cluster.RESTConfig(), client, began); err != nil {
			return err
		}
		if err := arrivals(ctx, t, cluster, client, began); err != nil {
			return err
		}
		if err := kueueLater(ctx, t, cluster, client, d, began); err != nil {
			return err
		}
		return admissions(ctx, t, cluster, began)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// leaders runs two replicas with leader election: when the first ends, the second releases by the annotation, as any restart does.
func leaders(ctx context.Context, t *testing.T, cluster *controlplane.Cluster, client kubernetes.Interface, began time.Time, policies string) error {
	at := &clock{now: began}
	replica := func() (stop func()) {
		o := &options{source: &valley{began: began}, now: at.read, policies: policies, interval: 50 * time.Millisecond, metricsAddr: "0", healthAddr: "0", registered: true, elect: true, lease: "night", namespace: "default"}
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := run(ctx, o, user(cluster.RESTConfig()), slog.New(slog.DiscardHandler)); err != nil && ctx.Err() == nil {
				t.Errorf("replica: %v", err)
			}
		})
		return func() { cancel(); wg.Wait() }
	}
	first := replica()
	defer func() { first() }()
	holder := func() (string, error) {
		l, err := client.CoordinationV1().Leases("default").Get(ctx, "night", metav1.GetOptions{})
		if err != nil || l.Spec.HolderIdentity == nil {
			return "", nil //nolint:nilerr // not yet
		}
		return *l.Spec.HolderIdentity, nil
	}
	var leader string
	if err := until(ctx, func() (bool, error) { var err error; leader, err = holder(); return leader != "", err }); err != nil {
		return fmt.Errorf("waiting for a leader: %w", err)
	}
	second := replica()
	defer second()
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "handed-over"}, Spec: v1.PodSpec{SchedulingGates: []v1.PodSchedulingGate{{Name: shift.Gate}}, Containers: []v1.Container{{Name: "c", Image: "none"}}}}
	if _, err := client.CoreV1().Pods("lab").Create(ctx, p, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) {
		p, err := client.CoreV1().Pods("lab").Get(ctx, "handed-over", metav1.GetOptions{})
		return err == nil && p.Annotations[shift.PlannedAnnotation] != "", err
	}); err != nil {
		return fmt.Errorf("waiting for the leader's plan: %w", err)
	}
	first()
	first = func() {}
	at.set(began.Add(25 * time.Hour)) // the leader was away for a day
	if err := until(ctx, func() (bool, error) {
		p, err := client.CoreV1().Pods("lab").Get(ctx, "handed-over", metav1.GetOptions{})
		return err == nil && len(p.Spec.SchedulingGates) == 0, err
	}); err != nil {
		return fmt.Errorf("waiting for the second replica: %w", err)
	}
	if now, _ := holder(); now == leader {
		t.Error("the leader is the same")
	}
	return nil
}

// The demonstration runs by itself and shows each cause of a start.
func TestDemo(t *testing.T) {
	controlplane.ForTest(t, "")
	var out bytes.Buffer
	if err := demo(t.Context(), &options{speed: 7200, registered: true}, &out, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Pod lab/train", "CronJob lab/backup", "its latest start has come", "now is its cleanest time", `nothing is forecast for zone "XX"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

// A mistake in the policies is told before anything starts.
func TestBadPolicies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	for text, want := range map[string]string{"default: {zon: DE}": "zon", "default: {margin: 0.5}": "margin", "namespaces: {a: {budget: {over: stop}}}": `over is "stop"`, "cores: {DE: -1}": "cores"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(t.Context(), &options{policies: file}, &rest.Config{}, slog.New(slog.NewTextHandler(io.Discard, nil))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
