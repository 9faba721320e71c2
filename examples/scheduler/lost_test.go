package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A device is a BMC or an exporter that can be switched off, and whose password can be changed.
type device struct {
	make func(password string) http.Handler
	now  atomic.Pointer[http.Handler]
	dead atomic.Bool
}

func newDevice(password string, make func(password string) http.Handler) *device {
	d := &device{make: make}
	d.lock(password)
	return d
}

func (d *device) lock(password string) { d.now.Store(new(d.make(password))) }

func (d *device) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.dead.Load() {
		<-r.Context().Done()        // hangs, as a BMC does
		panic(http.ErrAbortHandler) // to return is to answer
	}
	(*d.now.Load()).ServeHTTP(w, r)
}

// bindings follows where pods are.
type bindings struct {
	mu    sync.Mutex
	on    map[string]string // guarded by mu: node by pod
	moved []string          // guarded by mu: what must not be
}

func (b *bindings) note(p *v1.Pod) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if was := b.on[p.Name]; was != "" && was != p.Spec.NodeName {
		b.moved = append(b.moved, fmt.Sprintf("%s from %s to %q", p.Name, was, p.Spec.NodeName))
	}
	if p.Spec.NodeName != "" {
		b.on[p.Name] = p.Spec.NodeName
	}
}

func (b *bindings) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.on)
}

// follow watches pods until ctx ends; a watch that the API server closes is taken up again with a list.
func (b *bindings) follow(ctx context.Context, client kubernetes.Interface) {
	for ctx.Err() == nil {
		list, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for i := range list.Items {
			b.note(&list.Items[i])
		}
		w, err := client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			continue
		}
		for e := range w.ResultChan() {
			if p, ok := e.Object.(*v1.Pod); ok {
				b.note(p)
			}
		}
	}
}

// Two replicas, 500 pending pods. In their midst the leader is killed, then half of the sensors fall silent, the
// Secret of the others is rotated, a profile is deleted; then the second leader is killed too, and the first is started
// again. Every pod is placed, once, by one leader at a time.
func TestNothingIsLost(t *testing.T) {
	const pods, nodes = 500, 8
	bin := controlplane.ForTest(t, controlplane.SchedulerPackage)
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	opts := controlplane.Options{Parent: t.TempDir(), Audit: true}
	err = controlplane.Run(t.Context(), bin, opts, func(ctx context.Context, c *controlplane.Cluster) error {
		core, api, err := withProfiles(ctx, c, authority, "first")
		if err != nil {
			return err
		}
		var all []*device
		for i := range nodes {
			devices, stop, err := newProfiled(ctx, core, api, authority, fmt.Sprint("n", i), "first")
			if err != nil {
				return err
			}
			defer stop()
			all = append(all, devices...)
		}
		begin := func(name string) (*controlplane.Scheduler, error) {
			path := filepath.Join(c.Folder(), name) // clients say their program's name, which tells the replicas apart
			if err := os.Symlink(bin.Scheduler, path); err != nil && !errors.Is(err, os.ErrExist) {
				return nil, err
			}
			// So slow that most pods are pending when the last is created, also on a machine that does much else.
			return c.StartScheduler(ctx, controlplane.SchedulerOptions{Name: name, Path: path, Config: profiles, Elect: true, QPS: 15,
				Args: []string{"--leastwatt-profiles", "--leastwatt-secrets-namespace=leastwatt-system"}})
		}
		replicas := make(map[string]*controlplane.Scheduler)
		for _, name := range []string{"replica-a", "replica-b"} {
			if replicas[name], err = begin(name); err != nil {
				return err
			}
		}
		leader := func() (name string, err error) {
			err = until(ctx, func() (bool, error) {
				for n, s := range replicas {
					if leads, err := sum(ctx, s, "leader_election_master_status", "kube-scheduler"); err != nil || leads == 1 {
						name = n
						return err == nil, err
					}
				}
				return false, nil
			})
			return name, err
		}
		first, err := leader()
		if err != nil {
			return fmt.Errorf("waiting for a leader: %w", err)
		}
		if err := until(ctx, func() (bool, error) {
			n, err := sum(ctx, replicas[first], "leastwatt_nodes", "known")
			return n == nodes, err
		}); err != nil {
			return fmt.Errorf("waiting for readings of %d servers: %w", nodes, err)
		}

		seen := &bindings{on: make(map[string]string)}
		following, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		wg.Go(func() { seen.follow(following, core) })
		if err := createMany(ctx, core, pods); err != nil {
			return err
		}
		reach := func(n int) error {
			if err := until(ctx, func() (bool, error) { return seen.count() >= n, nil }); err != nil {
				return fmt.Errorf("%d of %d pods are placed, waiting for %d: %w", seen.count(), pods, n, err)
			}
			return nil
		}
		kill := func(name string) (int, error) {
			if err := replicas[name].Kill(); err != nil {
				return 0, err
			}
			delete(replicas, name)
			n, err := pending(ctx, core)
			if n == 0 {
				t.Errorf("%s was killed after all pods were placed", name)
			}
			return n, err
		}
		if err := reach(50); err != nil {
			return err
		}
		left, err := kill(first)
		if err != nil {
			return err
		}
		t.Logf("%s killed with %d of %d pods pending", first, left, pods)
		second, err := leader()
		if err != nil {
			return fmt.Errorf("waiting for another leader: %w", err)
		}
		if err := reach(pods - left + left/4); err != nil {
			return err
		}
		for i, d := range all {
			if i < len(all)/2 {
				d.dead.Store(true)
			} else {
				d.lock("second")
			}
		}
		secret, err := core.CoreV1().Secrets("leastwatt-system").Get(ctx, "bmc", metav1.GetOptions{})
		if err != nil {
			return err
		}
		secret.Data["password"] = []byte("second")
		if _, err := core.CoreV1().Secrets("leastwatt-system").Update(ctx, secret, metav1.UpdateOptions{}); err != nil {
			return err
		}
		if err := api.Delete(ctx, &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n7"}}); err != nil {
			return err
		}
		if err := reach(pods - left + left/2); err != nil {
			return err
		}
		if left, err = kill(second); err != nil {
			return err
		}
		t.Logf("%s killed with %d pods pending; %s starts again", second, left, first)
		if replicas[first], err = begin(first); err != nil {
			return err
		}
		if err := reach(pods); err != nil {
			return err
		}
		stop()
		wg.Wait()
		if len(seen.moved) > 0 {
			t.Errorf("pods moved: %v", seen.moved)
		}
		if n, err := pending(ctx, core); err != nil || n > 0 {
			t.Errorf("%d pods are pending, %v", n, err)
		}
		return checkBindings(t, c, seen.on, pods, []string{first, second, first})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkBindings looks at each request for a binding: one a pod succeeded, on the node where the pod is, and the leaders
// made theirs one after the other. A leader killed between the write and its answer leaves a request with an error that
// nobody received (504), and the pod is bound all the same: such a pod has no request that succeeded, before or after.
func checkBindings(t *testing.T, c *controlplane.Cluster, on map[string]string, pods int, leaders []string) error {
	writes, err := c.Writes()
	if err != nil {
		return err
	}
	bound, cut, failed := make(map[string]int), make(map[string]int), make(map[string]int)
	var order []string
	by := make(map[string]int)
	for _, w := range writes {
		if w.Resource != "pods" || w.Subresource != "binding" {
			continue
		}
		if w.Code/100 == 2 {
			bound[w.Name]++
		} else {
			if w.Code == http.StatusGatewayTimeout {
				cut[w.Name]++
			}
			failed[fmt.Sprint(w.Program, " ", w.Code)]++
		}
		by[w.Program]++
		if len(order) == 0 || order[len(order)-1] != w.Program {
			order = append(order, w.Program)
		}
	}
	for name := range on {
		if bound[name] == 0 && cut[name] > 0 {
			bound[name] = 1
		}
		if bound[name] != 1 {
			t.Errorf("%s was bound %d times", name, bound[name])
		}
	}
	if len(bound) != pods || len(on) != pods {
		t.Errorf("%d pods were bound, and %d are placed: want %d", len(bound), len(on), pods)
	}
	if !slices.Equal(order, leaders) {
		t.Errorf("bindings came from %v in turn: want %v", order, leaders)
	}
	for what := range failed {
		if strings.HasSuffix(what, " 409") {
			t.Errorf("%s: a pod that was placed was to be placed again", what)
		}
	}
	t.Logf("%d bindings, by replica %v; not answered, or failed: %v; pods by node %v", len(bound), by, failed, count(slices.Collect(maps.Values(on))))
	return nil
}

func count(all []string) map[string]int {
	n := make(map[string]int)
	for _, x := range all {
		n[x]++
	}
	return n
}

// pending returns how many pods have no node.
func pending(ctx context.Context, client kubernetes.Interface) (int, error) {
	list, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName="})
	return len(list.Items), err
}

// createMany makes n small pods, a few at once.
func createMany(ctx context.Context, client kubernetes.Interface, n int) error {
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for w := range errs {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				_, errs[w] = client.CoreV1().Pods("default").Create(ctx, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%03d", i)},
					Spec: podOf("", "200m")}, metav1.CreateOptions{})
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// newProfiled makes a node with a profile whose BMC and exporter are emulated, until stop is called.
func newProfiled(ctx context.Context, core kubernetes.Interface, api creator, authority *emulate.Authority, name, password string) (all []*device, stop func(), err error) {
	live := func() emulate.Machine {
		m := emulate.Blank()
		m.Utilization, m.Inlet, m.Watts = 0.2, 24, 100
		return m
	}
	bmc := newDevice(password, func(password string) http.Handler {
		return emulate.NewBMC(live, emulate.BMCOptions{User: "monitor", Password: password})
	})
	kepler := newDevice("", func(string) http.Handler { return emulate.NewKepler(name, live, emulate.KeplerOptions{}) })
	one, err := emulate.Listen(authority, bmc)
	if err != nil {
		return nil, nil, err
	}
	two, err := emulate.Listen(nil, kepler)
	if err != nil {
		return nil, nil, err
	}
	if err := createNode(ctx, core, name); err != nil {
		return nil, nil, err
	}
	return []*device{bmc, kepler}, func() { _ = one.Close(); _ = two.Close() },
		api.Create(ctx, &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{
			{Type: "redfish", URL: one.URL, SecretName: "bmc"}, {Type: "kepler", URL: two.URL + "/metrics", Timeout: &metav1.Duration{Duration: time.Second}}}}})
}
