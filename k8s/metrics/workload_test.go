package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	metadatafake "k8s.io/client-go/metadata/fake"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

// readPods fills Pods as the adapter does: from exporters' text, one a node.
func readPods(t *testing.T, texts map[string]string) *kepler.Pods {
	t.Helper()
	endpoints := make(map[string]kepler.Endpoint)
	for node, text := range texts {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
		t.Cleanup(s.Close)
		endpoints[node] = kepler.Endpoint{URL: s.URL}
	}
	all := new(kepler.Pods)
	src := kepler.New(kepler.Nodes(endpoints), kepler.Options{})
	src.KeepPods = all
	defer src.Close()
	for node := range texts {
		if _, err := src.Read(t.Context(), node); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

const (
	podsOfNew = `kepler_node_cpu_watts{zone="package"} 50
kepler_pod_cpu_watts{pod_name="web-1",pod_namespace="shop",state="running",zone="package"} 10.5
kepler_pod_cpu_watts{pod_name="job",pod_namespace="batch",state="running",zone="package"} 3
`
	podsOfOld = `kepler_node_cpu_watts{zone="package"} 50
kepler_pod_cpu_watts{pod_name="web-2",pod_namespace="shop",state="running",zone="package"} 4.5
`
	podsOfGone = `kepler_node_cpu_watts{zone="package"} 50
kepler_pod_cpu_watts{pod_name="web-3",pod_namespace="shop",state="running",zone="package"} 100
`
)

type byName map[string][]string

func (b byName) Names(_ context.Context, _ schema.GroupResource, namespace string, selector labels.Selector) ([]string, error) {
	if namespace == "forbidden" {
		return nil, errors.New("no access")
	}
	return b[namespace+" "+selector.String()], nil
}

// Pods have their own watts, namespaces the sum of theirs; a node that left the cluster has none.
func TestWorkloads(t *testing.T) {
	p := New(site(t, time.Now()), Options{Pods: readPods(t, map[string]string{"new": podsOfNew, "old": podsOfOld, "gone": podsOfGone}),
		Objects: byName{"shop app=web": {"web-1", "web-2", "web-3"}, " team=a": {"shop", "empty"}}})
	get := func(namespace, name, metric string) string {
		info := of(pods, metric)
		if namespace == "" {
			info = of(namespaces, metric)
		}
		v, err := p.GetMetricByName(t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, info, labels.Everything())
		if apierrors.IsNotFound(err) {
			return "-"
		} else if err != nil {
			t.Fatal(err)
		}
		return v.DescribedObject.Kind + " " + v.Value.String()
	}
	for _, c := range []struct{ namespace, name, metric, want string }{
		{"shop", "web-1", "cpu_power_watts", "Pod 10500m"},
		{"shop", "web-2", "cpu_power_watts", "Pod 4500m"},
		{"shop", "web-3", "cpu_power_watts", "-"},
		{"batch", "web-1", "cpu_power_watts", "-"},
		{"shop", "web-1", "power_watts", "-"},
		{"", "shop", "cpu_power_watts", "Namespace 15"},
		{"", "batch", "cpu_power_watts", "Namespace 3"},
		{"", "empty", "cpu_power_watts", "-"},
	} {
		if got := get(c.namespace, c.name, c.metric); got != c.want {
			t.Errorf("%s of %s/%s is %s, want %s", c.metric, c.namespace, c.name, got, c.want)
		}
	}
	l, err := p.GetMetricBySelector(t.Context(), "shop", parseSelector(t, "app=web"), of(pods, "cpu_power_watts"), labels.Everything())
	if err != nil || len(l.Items) != 2 || l.Items[0].DescribedObject.Namespace != "shop" {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err = p.GetMetricBySelector(t.Context(), "", parseSelector(t, "team=a"), of(namespaces, "cpu_power_watts"), labels.Everything()); err != nil || len(l.Items) != 1 {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err = p.GetMetricBySelector(t.Context(), "forbidden", labels.Everything(), of(pods, "cpu_power_watts"), nil); err == nil {
		t.Error("pods that cannot be listed are an empty list")
	}
}

// A site that counts how often it is asked for a machine.
type countingSite struct {
	fakeSite
	asked *int
}

func (s countingSite) Machine(name string) (scoring.Machine, bool) {
	*s.asked++
	return s.fakeSite.Machine(name)
}

// However many pods or namespaces are asked for, each node is looked at once.
func TestSelectorsLookAtEachNodeOnce(t *testing.T) {
	asked := 0
	text := readPods(t, map[string]string{"new": podsOfNew, "old": podsOfOld})
	p := New(countingSite{site(t, time.Now()), &asked}, Options{Pods: text,
		Objects: byName{"shop app=web": {"web-1", "web-2", "web-3"}, " team=a": {"shop", "batch", "empty"}}})
	for selector, info := range map[string]provider.CustomMetricInfo{"app=web": of(pods, cpuPower), "team=a": of(namespaces, cpuPower)} {
		asked = 0
		namespace := ""
		if info.GroupResource == pods {
			namespace = "shop"
		}
		l, err := p.GetMetricBySelector(t.Context(), namespace, parseSelector(t, selector), info, nil)
		if err != nil || len(l.Items) != 2 || asked != 2 {
			t.Errorf("%s: %d of 2 values, two nodes were looked at %d times, %v", selector, len(l.Items), asked, err)
		}
	}
	asked = 0
	if n := testutil.CollectAndCount(NewCollector(p), "leastwatt_namespace_cpu_power_watts"); n != 2 {
		t.Errorf("the collector gives %d namespaces, want 2", n)
	}
	each := 3 * len(NewCollector(p).nodes) // what is asked of the nodes' own metrics
	if asked != each+2 {
		t.Errorf("the collector looks at nodes %d times, want %d", asked, each+2)
	}
}

// A namespace whose pods ran on a node that fell silent is not found, for its sum would be too small; the pods
// of other nodes and namespaces are.
func TestSilentNode(t *testing.T) {
	text := readPods(t, map[string]string{"new": podsOfNew, "old": podsOfOld})
	p := New(site(t, time.Now()), Options{Pods: text, MaxAge: time.Minute})
	late := text.All()[0].At.Add(2 * time.Minute)
	if _, err := p.namespace("shop", cpuPower, late); err == nil || !strings.Contains(err.Error(), "a sum would be too small") {
		t.Errorf("namespace: %v", err)
	}
	if _, err := p.pod(types.NamespacedName{Namespace: "shop", Name: "web-1"}, cpuPower, late); err == nil || !strings.Contains(err.Error(), "stale") {
		t.Errorf("pod: %v", err)
	}
	delete(p.site.(fakeSite).machines, "old") // the silent node leaves the cluster
	if s, err := p.namespace("shop", cpuPower, text.All()[0].At); err != nil || s.value != 10.5 {
		t.Errorf("namespace without the node that left: %+v, %v", s, err)
	}
}

// While a node's Kepler has told nothing yet, nobody knows whether pods of a namespace are on it.
func TestKeplerThatNeverAnswered(t *testing.T) {
	now := time.Now()
	s := site(t, now)
	p := New(s, Options{Pods: readPods(t, map[string]string{"new": podsOfNew})})
	for _, c := range []struct {
		readings *sensors.NodeReadings
		found    bool
	}{
		{&sensors.NodeReadings{Node: "old", Tried: now}, true}, // has none
		{&sensors.NodeReadings{Node: "old", Tried: now, Err: &sensors.Error{Source: "kepler", Node: "old", Err: sensors.ErrUnknownNode}}, true},
		{&sensors.NodeReadings{Node: "old", Tried: now, Err: &sensors.Error{Source: "redfish", Node: "old", Err: sensors.ErrUnreachable}}, true},
		{&sensors.NodeReadings{Node: "old", Tried: now, Err: &sensors.Error{Source: "kepler", Node: "old", Err: sensors.ErrUnreachable}}, false},
		{nil, false},
	} {
		all := map[string]*sensors.NodeReadings{"new": s.View().Node("new").Readings, "bare": s.View().Node("bare").Readings}
		if c.readings != nil {
			all["old"] = c.readings
		}
		if err := s.Refresh(t.Context(), sensors.NewSnapshot(now, all), now); err != nil {
			t.Fatal(err)
		}
		_, err := p.GetMetricByName(t.Context(), types.NamespacedName{Name: "shop"}, of(namespaces, cpuPower), labels.Everything())
		if found := err == nil; found != c.found || !found && !apierrors.IsNotFound(err) {
			t.Errorf("readings %+v: %v", c.readings, err)
		}
	}
}

// Names come from the API server, by label.
func TestObjects(t *testing.T) {
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	pod := func(namespace, name, app string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}}}
	}
	o := NewObjects(metadatafake.NewSimpleMetadataClient(scheme, pod("a", "x", "web"), pod("a", "y", "db"), pod("b", "z", "web")))
	names, err := o.Names(t.Context(), pods, "a", parseSelector(t, "app=web"))
	if diff := cmp.Diff([]string{"x"}, names); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if names, err = o.Names(t.Context(), pods, "a", nil); err != nil || len(names) != 2 {
		t.Errorf("%v, %v", names, err)
	}
}

// Time alone makes a value go away.
func TestBecomesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(site(t, time.Now()), Options{MaxAge: 30 * time.Second})
		get := func() error {
			_, err := p.GetMetricByName(t.Context(), types.NamespacedName{Name: "new"}, of(nodes, "power_watts"), nil)
			return err
		}
		time.Sleep(24 * time.Second) // 6 s old at first
		if err := get(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := get(); !apierrors.IsNotFound(err) {
			t.Errorf("31 s old: %v", err)
		}
	})
}

// A Kepler whose clock runs far ahead tells nothing, of its pods as of its node: what it said would never grow stale.
func TestKeplerAhead(t *testing.T) {
	now := time.Now()
	text := func(at time.Time) string {
		return fmt.Sprintf(`kepler_node_cpu_watts{zone="package"} 50 %[1]d
kepler_pod_cpu_watts{pod_name="web-1",pod_namespace="shop",state="running",zone="package"} 10.5 %[1]d
`, at.UnixMilli())
	}
	for ahead, found := range map[time.Duration]bool{-2 * time.Minute: false, 0: true, 20 * time.Second: true, 2 * time.Minute: false} {
		p := New(site(t, now), Options{MaxAge: time.Minute, Pods: readPods(t, map[string]string{"new": text(now.Add(ahead))})})
		_, pod := p.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web-1"}, of(pods, cpuPower), nil)
		_, space := p.GetMetricByName(t.Context(), types.NamespacedName{Name: "shop"}, of(namespaces, cpuPower), nil)
		for _, err := range []error{pod, space} {
			if found != (err == nil) || err != nil && !apierrors.IsNotFound(err) {
				t.Errorf("%v ahead: %v: want it found %v", ahead, err, found)
			}
		}
	}
}

var _ Site = (*scoring.Site)(nil)
