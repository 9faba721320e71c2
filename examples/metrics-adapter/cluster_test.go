package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscaling "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/examples/internal/readme"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// The program behind a real API server: it answers for nodes, pods and namespaces to those who may ask, and a
// HorizontalPodAutoscaler follows a server's watts. When the BMC falls silent the metric is gone, and the
// replicas stay.
func TestMetricsAdapter(t *testing.T) {
	bin := controlplane.ForTest(t, "")
	program := controlplane.ProgramForTest(t, "metrics-adapter")
	n1, n2 := &server{name: "n1"}, &server{name: "n2"}
	n1.watts.Store(90)
	n2.watts.Store(210)
	const pod = `kepler_pod_cpu_watts{node_name="%s",pod_name="%s",pod_namespace="shop",state="running",zone="package"} %v` + "\n"
	n1.pods = fmt.Sprintf(pod, "n1", "db-0", 10.5)
	n2.pods = fmt.Sprintf(pod, "n2", "db-1", 4.5)
	config := hall(t, n1, n2)
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir(), Progress: t.Output()}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		if err := populate(ctx, client, n1.name, n2.name); err != nil {
			return err
		}
		url, err := install(ctx, c, client, program, config)
		if err != nil {
			return err
		}
		if err := answers(ctx, t, c, client); err != nil {
			return err
		}
		if err := discovers(t, client); err != nil {
			return err
		}
		if err := refuses(ctx, t, c, client, url); err != nil {
			return err
		}
		exposes(ctx, t, c, url)
		if err := profiled(ctx, t, c, client, program, n1, n2); err != nil {
			return fmt.Errorf("by NodeProfiles: %w", err)
		}
		return scales(ctx, t, client, n1)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// populate makes nodes, and a namespace with two pods.
func populate(ctx context.Context, client *kubernetes.Clientset, names ...string) error {
	create := metav1.CreateOptions{}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, create); err != nil {
		return err
	}
	room := v1.ResourceList{"cpu": resource.MustParse("8"), "memory": resource.MustParse("32Gi"), "pods": resource.MustParse("110")}
	for i, name := range names {
		_, err := client.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"rack": name}},
			Status: v1.NodeStatus{Capacity: room, Allocatable: room}}, create)
		if err != nil {
			return err
		}
		_, err = client.CoreV1().Pods("shop").Create(ctx, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("db-", i), Labels: map[string]string{"app": "db"}},
			Spec: v1.PodSpec{NodeName: name, Containers: []v1.Container{{Name: "c", Image: "none"}}}}, create)
		if err != nil {
			return err
		}
	}
	return nil
}

// item is one value of either API.
type item struct {
	DescribedObject v1.ObjectReference
	MetricLabels    map[string]string
	Timestamp       time.Time
	Value           resource.Quantity
}

// ask reads a path of the API server, as name=value.
func ask(ctx context.Context, client *kubernetes.Clientset, path string) (map[string]string, []item, error) {
	path, query, _ := strings.Cut(path, "?")
	r := client.CoreV1().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json")
	for p := range strings.SplitSeq(query, "&") {
		if k, v, ok := strings.Cut(p, "="); ok {
			r = r.Param(k, v)
		}
	}
	result := r.Do(ctx)
	body, err := result.Raw()
	if err != nil {
		return nil, nil, result.Error() // Raw's does not tell what the server says
	}
	var list struct{ Items []item }
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, nil, err
	}
	got := make(map[string]string)
	for _, i := range list.Items {
		name := i.DescribedObject.Name
		if name == "" {
			name = i.MetricLabels["node"]
		}
		got[name] = i.Value.String()
	}
	return got, list.Items, nil
}

const (
	custom   = "/apis/custom.metrics.k8s.io/v1beta2"
	external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default"
)

// answers asks for each kind of metric through the API server.
func answers(ctx context.Context, t *testing.T, c *controlplane.Cluster, client *kubernetes.Clientset) error {
	for _, path := range []string{custom + "/nodes/*/power_watts", external + "/power_watts"} {
		if err := until(ctx, func(ctx context.Context) (bool, error) { // the aggregator learns in the background who serves, of each group by itself
			got, _, err := ask(ctx, client, path)
			return err == nil && len(got) == 2, nil
		}); err != nil {
			return fmt.Errorf("waiting for the metrics of two nodes at %s: %w", path, err)
		}
	}
	shell := readme.Shell{Programs: map[string]string{"kubectl": controlplane.KubectlForTest(t)}, Kubeconfig: c.Kubeconfig()}
	shell.Play(ctx, t, readme.Read(t, "### Scale on watts").Commands)
	for path, want := range map[string]map[string]string{
		custom + "/nodes/n1/power_watts":                                         {"n1": "90"},
		custom + "/nodes/*/inlet_temp":                                           {"n1": "24500m", "n2": "24500m"},
		custom + "/nodes/*/delta_p":                                              {"n1": "-1500m", "n2": "-1500m"},
		custom + "/nodes/*/predicted_power_watts":                                {"n1": "200", "n2": "200"},
		custom + "/nodes/*/marginal_power_watts?labelSelector=rack=n2":           {"n2": "25"},
		custom + "/nodes/*/power_watts?metricLabelSelector=source=ipmi":          {},
		custom + "/namespaces/default/nodes/n2/power_watts":                      {"n2": "210"},
		custom + "/namespaces/shop/pods/db-1/cpu_power_watts":                    {"db-1": "4500m"},
		custom + "/namespaces/shop/pods/*/cpu_power_watts?labelSelector=app=db":  {"db-0": "10500m", "db-1": "4500m"},
		custom + "/namespaces/shop/pods/*/cpu_power_watts?labelSelector=app=web": {},
		custom + "/namespaces/shop/metrics/cpu_power_watts":                      {"shop": "15"},
		external + "/power_watts":                                                {"n1": "90", "n2": "210"},
		external + "/power_watts?labelSelector=rack=n2":                          {"n2": "210"},
	} {
		got, items, err := ask(ctx, client, path)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", path, err, diff)
		}
		for _, i := range items {
			if age := time.Since(i.Timestamp); age < 0 || age > time.Minute {
				t.Errorf("%s: a sample is %v old", path, age)
			}
		}
	}
	for _, path := range []string{custom + "/nodes/n1/gpu_power_watts", custom + "/nodes/n3/power_watts", custom + "/namespaces/default/pods/db-1/cpu_power_watts", external + "/power_watts?labelSelector=rack=n3"} {
		if got, _, err := ask(ctx, client, path); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v, %v; want not found", path, got, err)
		}
	}
	return nil
}

// discovers reads the documents by which kubectl and autoscalers learn what there is.
func discovers(t *testing.T, client *kubernetes.Clientset) error {
	for gv, want := range map[string]map[string]string{
		"custom.metrics.k8s.io/v1beta2": {"nodes/power_watts": "MetricValueList of all", "nodes/inlet_temp": "MetricValueList of all", "nodes/inlet_temp_celsius": "MetricValueList of all",
			"nodes/delta_p": "MetricValueList of all", "nodes/predicted_power_watts": "MetricValueList of all", "nodes/marginal_power_watts": "MetricValueList of all",
			"pods/cpu_power_watts": "MetricValueList of a namespace", "namespaces/cpu_power_watts": "MetricValueList of all"},
		"external.metrics.k8s.io/v1beta1": {"power_watts": "ExternalMetricValueList of a namespace", "inlet_temp": "ExternalMetricValueList of a namespace", "delta_p": "ExternalMetricValueList of a namespace"},
	} {
		list, err := client.Discovery().ServerResourcesForGroupVersion(gv)
		if err != nil {
			return fmt.Errorf("discovery of %s: %w", gv, err)
		}
		got := make(map[string]string)
		for _, r := range list.APIResources {
			of := "all"
			if r.Namespaced {
				of = "a namespace"
			}
			if got[r.Name] = r.Kind + " of " + of; len(r.Verbs) != 1 || r.Verbs[0] != "get" {
				t.Errorf("%s of %s can be asked to %v", r.Name, gv, r.Verbs)
			}
		}
		for name, is := range want {
			if got[name] != is {
				t.Errorf("%s of %s is %q in its discovery document: want %q (%v)", name, gv, got[name], is, got)
			}
		}
	}
	return nil
}

// refuses shows that nobody reads past the API server without an identity, and that one without rights is refused on both ways.
func refuses(ctx context.Context, t *testing.T, c *controlplane.Cluster, client *kubernetes.Clientset, url string) error {
	if _, err := client.CoreV1().ServiceAccounts("default").Create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "nobody"}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, "default", "nobody")
	if err != nil {
		return err
	}
	through, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	past := rest.CopyConfig(through)
	past.Host = url
	for way, to := range map[string]*rest.Config{"through the API server": through, "past it": past} {
		nobody, err := kubernetes.NewForConfig(to)
		if err != nil {
			return err
		}
		for _, path := range []string{custom + "/nodes/n1/power_watts", external + "/power_watts"} {
			if got, _, err := ask(ctx, nobody, path); !apierrors.IsForbidden(err) {
				t.Errorf("%s, %s, as one without rights: %v, %v; want it forbidden", path, way, got, err)
			}
		}
	}
	anonymous := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, path := range []string{custom + "/nodes/n1/power_watts", external + "/power_watts", "/metrics"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			return err
		}
		resp, err := anonymous.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without an identity: %s", path, resp.Status)
		}
	}
	return nil
}

// exposes looks for our own metrics beside the library's.
func exposes(ctx context.Context, t *testing.T, c *controlplane.Cluster, url string) {
	body, err := c.Get(ctx, url+"/metrics")
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"leastwatt_sensor_reading_age_seconds", "leastwatt_node_power_watts", "metrics_apiserver_metric_freshness_seconds_count"} {
		if !strings.Contains(string(body), "\n"+want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
}

// scales has a HorizontalPodAutoscaler follow a server's watts, also after they were not known for a while.
func scales(ctx context.Context, t *testing.T, client *kubernetes.Clientset, s *server) error {
	if err := deploy(ctx, client, s.name); err != nil {
		return err
	}
	replicas := func(want int) error {
		var last string
		err := until(ctx, func(ctx context.Context) (bool, error) {
			pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
			if err != nil {
				return false, err
			}
			h, err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Get(ctx, "web", metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			last = fmt.Sprintf("%d pods, %+v", len(pods.Items), h.Status)
			return len(pods.Items) == want && h.Status.DesiredReplicas == int32(want), nil
		})
		if err != nil {
			return fmt.Errorf("waiting for %d replicas at %d W: %w: %s", want, s.watts.Load(), err, last)
		}
		return nil
	}
	if err := replicas(1); err != nil {
		return err
	}
	s.watts.Store(350)
	start := time.Now()
	if err := replicas(4); err != nil {
		return err
	}
	t.Logf("90 W to 350 W: 1 to 4 replicas after %.1f s", time.Since(start).Seconds())

	s.bmc.SetFault(emulate.Hang)
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		h, err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, c := range h.Status.Conditions {
			if c.Type == autoscaling.ScalingActive && c.Status == v1.ConditionFalse {
				return true, nil
			}
		}
		return false, nil
	}); err != nil {
		return fmt.Errorf("waiting for the autoscaler to have no metric: %w", err)
	}
	if _, _, err := ask(ctx, client, external+"/power_watts?labelSelector=node="+s.name); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "stale") {
		t.Errorf("the metric of a silent BMC: %v", err)
	}
	if err := replicas(4); err != nil {
		return err
	}

	s.watts.Store(560)
	s.bmc.SetFault(emulate.NoFault)
	if err := until(ctx, func(ctx context.Context) (bool, error) { // a device that hung is asked less often
		got, _, err := ask(ctx, client, external+"/power_watts?labelSelector=node="+s.name)
		return err == nil && got[s.name] == "560", nil
	}); err != nil {
		return fmt.Errorf("waiting for the metric to come back: %w", err)
	}
	return replicas(6)
}

// until asks every 100 ms until it is so, for at most a minute.
func until(ctx context.Context, is func(ctx context.Context) (bool, error)) error {
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, is)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
