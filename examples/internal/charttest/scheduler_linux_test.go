package charttest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A running is a pod of the chart that runs.
type running struct {
	*pod
	*controlplane.Process
	template v1.PodTemplateSpec
}

// deployed starts what a Deployment of the chart says.
func (x *installation) deployed(ctx context.Context, component, name, program string, ready func(context.Context) error) (running, error) {
	d, err := x.client.AppsV1().Deployments(namespace).Get(ctx, "lw-leastwatt-"+component, metav1.GetOptions{})
	if err != nil {
		return running{}, err
	}
	if want := map[string]int32{"scheduler": 2, "gateway": 2, "shift": 2, "jobs": 1}[component]; *d.Spec.Replicas != want {
		x.Errorf("%d replicas of %s, want %d", *d.Spec.Replicas, component, want)
	}
	p, err := x.kubelet.pod(ctx, x.T, name, program, namespace, d.Spec.Template)
	if err != nil {
		return running{}, err
	}
	process, err := p.start(ctx, ready)
	return running{p, process, d.Spec.Template}, err
}

// schedule runs the scheduler as its Deployment says. It is stopped in the middle of 500 pods; its successor places the
// others, and then what comes, on the server that draws the least.
func (x *installation) schedule(ctx context.Context, program string) error {
	url := fmt.Sprintf("https://127.0.0.1:%d", x.ports[schedulerPort])
	const n = 500
	if err := x.create(ctx, "crowd", n, "50m"); err != nil {
		return err
	}
	first, err := x.deployed(ctx, "scheduler", "scheduler-0", program, answers(url+"/readyz"))
	if err != nil {
		return err
	}
	if _, err := x.bound(ctx, "crowd", n/10); err != nil {
		return fmt.Errorf("the first tenth: %w", err)
	}
	x.stop(first.Process)
	on, err := x.bound(ctx, "crowd", 0)
	if err != nil {
		return err
	}
	x.Logf("the scheduler is restarted while %d of %d pods are pending", on[""], n)
	if on[""] == 0 {
		x.Error("nothing was pending when the scheduler was stopped")
	}
	if x.scheduler, err = x.deployed(ctx, "scheduler", "scheduler-1", program, answers(url+"/readyz")); err != nil {
		return err
	}
	if err := x.known(ctx, 3); err != nil {
		return err
	}
	if err := x.scrape(ctx, "scheduler", x.scheduler.template); err != nil {
		return err
	}
	if err := x.decisions(ctx); err != nil {
		return err
	}
	if on, err = x.bound(ctx, "crowd", n); err != nil {
		return err
	}
	x.Logf("after the restart: pods on %v", on)
	if err := x.once(n); err != nil {
		return err
	}
	if err := x.place(ctx, "calm", "frugal"); err != nil {
		return err
	}
	// The profile with an objective of its own.
	if err := x.createFor(ctx, "leastwatt-green", "green", 5, "100m"); err != nil {
		return err
	}
	if on, err = x.bound(ctx, "green", 5); err != nil {
		return err
	}
	if on["frugal"] != 5 {
		x.Errorf("pods of the second profile are on %v, want all on frugal", on)
	}
	lease, err := x.client.CoordinationV1().Leases(namespace).Get(ctx, "lw-leastwatt-scheduler", metav1.GetOptions{})
	if err != nil || lease.Spec.LeaseTransitions == nil || *lease.Spec.LeaseTransitions < 1 {
		x.Errorf("the leader's lease: %+v, %v; want a second leader", lease.Spec, err)
	}
	return nil
}

// once checks that no pod was placed twice, by the API server's own log of the requests for bindings: at most one of each pod of the crowd succeeded, none
// was refused because there was one (429 is a busy server, which did nothing). What was under way when the first scheduler ended has no answer (504), whether or not it was done.
func (x *installation) once(n int) error {
	requests, err := x.kubelet.cluster.Requests()
	if err != nil {
		return err
	}
	bound, cut := make(map[string]int), make(map[string]bool)
	for _, r := range requests {
		if r.Resource != "pods" || r.Subresource != "binding" || !strings.HasPrefix(r.Name, "crowd-") {
			continue
		}
		switch r.Code {
		case http.StatusCreated:
			if bound[r.Name]++; bound[r.Name] > 1 {
				x.Errorf("pod %s was placed %d times", r.Name, bound[r.Name])
			}
		case http.StatusGatewayTimeout:
			cut[r.Name] = true
		case http.StatusTooManyRequests: // not looked at: the client asks again
		default:
			x.Errorf("the binding of pod %s is answered by %d", r.Name, r.Code)
		}
	}
	maps.DeleteFunc(cut, func(name string, _ bool) bool { return bound[name] > 0 })
	x.Logf("%d bindings succeeded, %d more had no answer when the scheduler ended", len(bound), len(cut))
	if len(bound)+len(cut) != n {
		x.Errorf("%d pods were placed, and %d may have been: want %d", len(bound), len(cut), n)
	}
	return nil
}

// trouble is what happens while the scheduler runs: a password is changed, all sensors die and come back, a profile is
// deleted. No pod waits for it.
func (x *installation) trouble(ctx context.Context) error {
	for _, d := range x.hall.doors {
		d.lock("rotated")
	}
	s, err := x.client.CoreV1().Secrets(namespace).Get(ctx, "bmc", metav1.GetOptions{})
	if err != nil {
		return err
	}
	s.Data["password"] = []byte("rotated")
	if _, err := x.client.CoreV1().Secrets(namespace).Update(ctx, s, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := x.scheduler.refresh(ctx); err != nil {
		return err
	}
	if err := until(ctx, func(context.Context) (bool, error) {
		in := 0
		for _, d := range x.hall.doors {
			if d.entered.Load() {
				in++
			}
		}
		return in == len(x.hall.doors), nil
	}); err != nil {
		return fmt.Errorf("waiting for the new password at every BMC: %w", err)
	}

	x.hall.fault(emulate.Hang)
	if err := x.known(ctx, 0); err != nil {
		return err
	}
	if err := x.place(ctx, "blind", ""); err != nil {
		return err
	}
	x.hall.fault(emulate.NoFault)
	if err := x.known(ctx, 3); err != nil {
		return err
	}
	if err := x.place(ctx, "seeing", "frugal"); err != nil {
		return err
	}

	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	if err := client.Resource(profiles).Delete(ctx, "thirsty", metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := x.known(ctx, 3); err != nil { // the file says where thirsty's sensors are, too
		return err
	}
	if err := x.place(ctx, "deleted", "frugal"); err != nil {
		return err
	}
	return x.profile(ctx) // it is the user's, and must survive what follows
}

// known waits until the scheduler knows n servers.
func (x *installation) known(ctx context.Context, n int) error {
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		_, body, err := x.get(ctx, fmt.Sprintf("https://127.0.0.1:%d/metrics", x.ports[schedulerPort]), "prometheus", nil)
		return strings.Contains(body, fmt.Sprintf(`state="known"} %d`+"\n", n)), err
	}); err != nil {
		return fmt.Errorf("waiting until %d servers are known: %w", n, err)
	}
	return nil
}

// decisions asks for the page and the metrics with and without the chart's role.
func (x *installation) decisions(ctx context.Context) error {
	for account, want := range map[string]int{"prometheus": http.StatusOK, "stranger": http.StatusForbidden, "": http.StatusUnauthorized} {
		for _, url := range []string{fmt.Sprintf("https://127.0.0.1:%d/metrics", x.ports[schedulerPort]), fmt.Sprintf("https://127.0.0.1:%d/leastwatt/decisions", x.ports[decisionsPort])} {
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

// create makes pods for the chart's scheduler.
func (x *installation) create(ctx context.Context, app string, n int, cpu string) error {
	return x.createFor(ctx, "leastwatt", app, n, cpu)
}

// createFor makes pods for a profile of it.
func (x *installation) createFor(ctx context.Context, profile, app string, n int, cpu string) error {
	for i := range n {
		_, err := x.client.CoreV1().Pods("default").Create(ctx, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", app, i), Labels: map[string]string{"app": app}},
			Spec: v1.PodSpec{SchedulerName: profile, Containers: []v1.Container{{Name: "c", Image: "none",
				Resources: v1.ResourceRequirements{Requests: v1.ResourceList{"cpu": resource.MustParse(cpu)}}}}}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
	}
	return nil
}

// bound waits until so many pods are placed, and tells how many are on which node; those without are at "".
func (x *installation) bound(ctx context.Context, app string, n int) (on map[string]int, err error) {
	err = until(ctx, func(ctx context.Context) (bool, error) {
		on = make(map[string]int)
		pods, err := x.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
		if err != nil {
			return false, err
		}
		for _, p := range pods.Items {
			on[p.Spec.NodeName]++
		}
		return len(pods.Items)-on[""] >= n, nil
	})
	if err != nil {
		err = fmt.Errorf("waiting until %d pods of %s are placed: %v: %w", n, app, on, err)
	}
	return on, err
}

// place makes pods and waits until they are placed, all on the wanted node unless it is "".
func (x *installation) place(ctx context.Context, app, want string) error {
	const n = 20
	if err := x.create(ctx, app, n, "100m"); err != nil {
		return err
	}
	on, err := x.bound(ctx, app, n)
	if err != nil {
		return err
	}
	if want != "" && on[want] != n {
		x.Errorf("pods of %s are on %v, want all on %s", app, on, want)
	}
	x.Logf("pods of %s on %v", app, on)
	return nil
}
