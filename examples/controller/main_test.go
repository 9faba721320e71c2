package main

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/sensors"
)

// crds is where the chart keeps what is generated.
const crds = "../../k8s/chart/crds"

// namespace is where the tests' Secrets are.
const namespace = "leastwatt-system"

// A server is a real API server with our CRDs and WAO's.
type server struct {
	cluster *controlplane.Cluster
	config  *rest.Config
	client  client.Client
}

// The resources and the program, on a real control plane: one for all parts.
func TestOnARealAPIServer(t *testing.T) {
	bin := controlplane.ForTest(t, "")
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir(), Audit: true}, func(ctx context.Context, c *controlplane.Cluster) error {
		s := &server{cluster: c, config: c.RESTConfig()}
		scheme, err := newScheme()
		if err != nil {
			return err
		}
		if s.client, err = client.New(s.config, client.Options{Scheme: scheme}); err != nil {
			return err
		}
		if err := s.client.Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
			return err
		}
		t.Run("Later", s.testLater)
		if _, err := envtest.InstallCRDs(s.config, envtest.CRDInstallOptions{Paths: []string{crds, "testdata/wao"}, ErrorIfPathMissing: true, MaxTime: time.Minute}); err != nil {
			return err
		}
		t.Run("CEL", s.testCEL)
		t.Run("Kinds", s.testKinds)
		t.Run("README", s.testReadme)
		t.Run("Templates", s.testTemplates)
		t.Run("Sensors", s.testSensors)
		t.Run("Learned", s.testLearned)
		t.Run("WAO", s.testWAO)
		t.Run("Denied", s.testDenied)
		t.Run("WAODenied", s.testWAODenied)
		t.Run("MoveFromWAO", s.testMoveFromWAO)
		t.Run("MoveFromPeaks", s.testMoveFromPeaks)
		t.Run("Labels", s.testLabels)
		t.Run("Peaks", s.testPeaks)
		t.Run("Replicas", s.testReplicas)
		t.Run("LeaseOfAnotherName", s.testLeaseOfAnotherName)
		t.Run("Restart", s.testRestart)
		t.Run("RestartWAO", s.testRestartWAO)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// calls counts the requests to the API server, by method.
type calls struct {
	reads, writes, watches, denied atomic.Int64
	deny                           atomic.Pointer[string] // requests of paths that begin so are forbidden; nil is none
	next                           http.RoundTripper
}

func (c *calls) RoundTrip(r *http.Request) (*http.Response, error) {
	if path := c.deny.Load(); path != nil && strings.HasPrefix(r.URL.Path, *path) {
		c.denied.Add(1)
		w := httptest.NewRecorder()
		w.WriteHeader(http.StatusForbidden)
		return w.Result(), nil
	}
	switch {
	case r.Method != http.MethodGet:
		c.writes.Add(1)
	case strings.Contains(r.URL.RawQuery, "watch="):
		c.watches.Add(1)
	default:
		c.reads.Add(1)
	}
	return c.next.RoundTrip(r)
}

// told returns the program's flags as a user would give them, with metrics of its own.
func told(t *testing.T, args ...string) (*flags, *prometheus.Registry) {
	t.Helper()
	cmd := newCommand()
	f := &flags{}
	cmd.ResetFlags()
	f.add(cmd.Flags())
	registry := prometheus.NewRegistry()
	f.registry = registry
	if err := cmd.ParseFlags(append([]string{"--secrets-namespace=" + namespace, "--health-probe-bind-address=0", "--metrics-bind-address=0", "--interval=500ms"}, args...)); err != nil {
		t.Fatal(err)
	}
	return f, registry
}

// run runs the program as a user would, until the function that it returns is called.
func (s *server) run(t *testing.T, args ...string) (*calls, *prometheus.Registry, func()) {
	t.Helper()
	f, registry := told(t, args...)
	count, stop := begin(t, f, s.config)
	return count, registry, stop
}

// begin runs the program with a configuration.
func begin(t *testing.T, f *flags, config *rest.Config) (*calls, func()) {
	t.Helper()
	count := new(calls)
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { count.next = next; return count })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.run(ctx, config) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return count, stop
}

// until waits for what must come true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, patient, what, ok)
}

// patient is for how long tests wait for what must come, on a machine that they share.
const patient = 3 * time.Minute

func within(t *testing.T, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// apply creates objects, and removes them after the test.
func (s *server) apply(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		status := o.DeepCopyObject().(client.Object)
		if err := s.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if n, ok := o.(*v1.Node); ok {
			n.Status = status.(*v1.Node).Status
			if err := s.client.Status().Update(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { _ = client.IgnoreNotFound(s.client.Delete(context.Background(), o)) })
	}
}

func (s *server) profile(t *testing.T, name string) *v1alpha1.NodeProfile {
	t.Helper()
	n := new(v1alpha1.NodeProfile)
	if err := s.client.Get(t.Context(), client.ObjectKey{Name: name}, n); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	} else if err != nil {
		return nil
	}
	return n
}

func newNode(name, address string, labels map[string]string) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Status: v1.NodeStatus{
		Capacity:  v1.ResourceList{v1.ResourceCPU: quantity("16")},
		Addresses: []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: address}, {Type: v1.NodeHostName, Address: name}}}}
}

// Every document in testdata/bad is refused, with the message that its first line tells, and every rule of the definitions refuses one.
func (s *server) testCEL(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 45 {
		t.Fatal(len(files), err)
	}
	silent := rules(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(data), "\n")
			want := strings.TrimPrefix(first, "# ")
			maps.DeleteFunc(silent, func(message string, _ bool) bool { return strings.Contains(message, want) })
			err = s.client.Create(t.Context(), object(t, string(data)), client.DryRunAll)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		})
	}
	for message := range silent {
		t.Errorf("no document in testdata/bad is refused with %q", message)
	}
}

// rules are the messages of the rules of our resource definitions.
func rules(t *testing.T) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	var walk func(any)
	walk = func(in any) {
		switch in := in.(type) {
		case map[string]any:
			list, _ := in["x-kubernetes-validations"].([]any)
			for _, r := range list {
				message, _ := r.(map[string]any)["message"].(string)
				all[message] = true
			}
			for _, x := range in {
				walk(x)
			}
		case []any:
			for _, x := range in {
				walk(x)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(crds, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		walk(object(t, string(data)).Object)
	}
	if len(all) < 25 {
		t.Fatalf("%d rules: they are not read", len(all))
	}
	return all
}

// Every kind of reading that there is can be named wherever a profile names kinds.
func (s *server) testKinds(t *testing.T) {
	n := &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "kinds"}}
	bmc := v1alpha1.Sensor{Type: "redfish", URL: "https://10.0.0.7", Plausible: v1alpha1.Checks{}, Override: v1alpha1.ByKind{}}
	n.Spec.Precedence = v1alpha1.Precedence{}
	for _, k := range sensors.Kinds() {
		bmc.Kinds = append(bmc.Kinds, v1alpha1.Kind(k))
		bmc.Plausible[string(k)], bmc.Override[string(k)] = v1alpha1.Check{Max: new(1e9)}, "/redfish/v1#/x"
		n.Spec.Precedence[string(k)] = v1alpha1.SensorNames{"redfish"}
	}
	n.Spec.Sensors = []v1alpha1.Sensor{bmc, {Type: "ipmi", URL: "10.0.0.7", Sensors: bmc.Override}}
	if err := s.client.Create(t.Context(), n, client.DryRunAll); err != nil {
		t.Error(err)
	}
}

// object reads one YAML document.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := new(unstructured.Unstructured)
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}
