package charttest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

const inNamespace = "LEASTWATT_IN_NAMESPACE"

// What the image of the endpoint selector has beside its program.
var proxyTools = []string{"/usr/sbin/nft", "/usr/sbin/conntrack"}

// TestChartProxy runs itself again in a network namespace of its own, where a control plane, servers and their clients
// live, and where the chart's endpoint selector and what writes the weights of HTTPRoutes are run as installed.
func TestChartProxy(t *testing.T) {
	if os.Getenv(inNamespace) == "1" {
		chartProxy(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("not root: rules and a container's user need it")
	}
	for _, program := range append([]string{setpriv, "ip"}, proxyTools...) {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("it needs the program %s: apt-get install nftables iproute2 conntrack util-linux", program)
		}
	}
	controlplane.ForTest(t, "")
	controlplane.HelmForTest(t)
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=8m")
	c.Env = append(os.Environ(), inNamespace+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// servers answer on addresses of this namespace's loopback.
var servers = map[string]string{"frugal": "10.77.1.2", "middling": "10.77.1.3", "thirsty": "10.77.1.4"}

func chartProxy(t *testing.T) {
	commands := []string{"ip link set lo up", "ip link add v0 type veth peer name v1", "ip link set v0 up", "ip link set v1 up",
		"ip addr add 10.77.0.1/24 dev v0", "ip route add default via 10.77.0.254"}
	for _, address := range servers {
		commands = append(commands, "ip addr add "+address+"/32 dev lo")
	}
	for _, c := range commands {
		a := strings.Fields(c)
		if out, err := exec.CommandContext(t.Context(), a[0], a[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
	for name, address := range servers {
		answerWith(t, name, address)
	}
	hall := hall(t, map[string]float64{"frugal": 0.1, "middling": 0.1, "thirsty": 0.1})
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(hall.values), 0o600); err != nil {
		t.Fatal(err)
	}
	bin, program, selector := controlplane.ForTest(t, ""), controlplane.HelmForTest(t), controlplane.ProgramForTest(t, "endpoint-selector")
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Audit: true, Parent: t.TempDir(), Progress: t.Output(),
		APIServer: []string{"--enable-aggregator-routing=true"}}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		if err := populate(ctx, client, "frugal", "middling", "thirsty"); err != nil {
			return err
		}
		if _, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		if _, err := client.CoreV1().Secrets(namespace).Create(ctx, &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bmc"}, Data: hall.secret}, metav1.CreateOptions{}); err != nil {
			return err
		}
		x := &installation{T: t, helm: helm{program, t.TempDir(), c}, kubelet: kubelet{c, client}, values: file, hall: hall}
		x.more = []string{"scheduler.enabled=false", "endpointSelector.enabled=true", "endpointSelector.clusterCIDR=10.77.0.0/16", "gateway.enabled=true",
			"monitoring.podMonitors.enabled=true", "shift.enabled=true", "shift.grid=static:100", "shift.webhook.enabled=true", "shift.budgetNamespaces={default}", "shift.tell.zone=DE",
			"shift.policies.namespaces.default.budget.kWhPerDay=1", "shift.policies.namespaces.default.budget.over=refuse"}
		shift := controlplane.ProgramForTest(t, "shift")
		for _, step := range []func(context.Context) error{func(ctx context.Context) error { return x.define(ctx, monitoringDefinitions) }, x.install, x.granted, x.strict,
			func(ctx context.Context) error { return x.webhook(ctx, shift) },
			func(ctx context.Context) error { return x.proxy(ctx, selector) },
			func(ctx context.Context) error { return x.gateway(ctx, selector) },
			func(context.Context) error {
				both := maps.Clone(spare)
				maps.Copy(both, spareBesideProxy)
				return x.rights(both)
			},
			func(ctx context.Context) error { return x.clean(ctx, selector) }} {
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

// proxy runs the DaemonSet's container, as root with NET_ADMIN alone: connections to a Service are divided as its
// metrics say, most go where they cost the fewest watts, and they are still answered after its end.
func (x *installation) proxy(ctx context.Context, program string) error {
	service, err := x.client.CoreV1().Services("default").Create(ctx, &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{endpoints.NameLabel: endpoints.DefaultName},
			Annotations: map[string]string{balancing.CPUAnnotation: "50m", endpoints.RateAnnotation: "200"}},
		Spec: v1.ServiceSpec{Ports: []v1.ServicePort{{Name: "p", Port: 80}}}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := x.slice(ctx, "shop", "frugal", "middling", "thirsty"); err != nil {
		return err
	}
	d, err := x.client.AppsV1().DaemonSets(namespace).Get(ctx, "lw-leastwatt-endpoint-selector", metav1.GetOptions{})
	if err != nil {
		return err
	}
	metrics := fmt.Sprintf("http://127.0.0.1:%d", x.ports[proxyPort])
	p, err := x.kubelet.run(ctx, x.T, "endpoint-selector", program, namespace, d.Spec.Template, answers(metrics+"/readyz"), proxyTools...)
	if err != nil {
		return err
	}
	capabilities, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return err
	}
	if !strings.Contains(string(capabilities), "CapEff:\t0000000000001000\n") { // NET_ADMIN is the twelfth
		x.Errorf("it has other capabilities than NET_ADMIN:\n%s", capabilities)
	}
	address := net.JoinHostPort(service.Spec.ClusterIP, "80")
	var shares map[string]float64
	if err := until(ctx, func(ctx context.Context) (bool, error) { // sensors are read
		shares, err = x.shares(ctx, metrics+"/metrics")
		return shares["frugal"] > 0.5 && dial(ctx, address) != "", err
	}); err != nil {
		return fmt.Errorf("waiting for shares by watts: %w: %v", err, shares)
	}
	// 9.210 is the 99 % quantile of chi-square with two degrees of freedom; a second sample tells chance from a mistake.
	const n = 1000
	for try := range 2 {
		got, chi := make(map[string]int), 0.0
		for range n {
			got[dial(ctx, address)]++
		}
		for name, share := range shares {
			chi += math.Pow(float64(got[name])-n*share, 2) / (n * share)
		}
		x.Logf("shares %v, of %d connections %v, chi-square %.2f", shares, n, got, chi)
		if got[""] == 0 && chi < 9.210 {
			break
		}
		if try == 1 {
			x.Error("the split does not match the shares")
		}
	}
	rules, err := exec.CommandContext(ctx, "nft", "-s", "list", "table", "ip", "leastwatt").CombinedOutput()
	if err != nil {
		return fmt.Errorf("the rules: %w: %s", err, rules)
	}
	for line := range strings.Lines(string(rules)) {
		if strings.Contains(line, "numgen") {
			x.Logf("rule: %s", strings.TrimSpace(line))
		}
	}
	if err := x.scrape(ctx, "endpoint-selector", d.Spec.Template); err != nil {
		return err
	}
	x.stop(p)
	if dial(ctx, address) == "" {
		x.Error("after its end nobody answers: its rules should stay")
	}
	return nil
}

// webhook runs the controller that delays work with what refuses new work, as the API server asks it: what starts first
// uses up the day's budget of the namespace, what comes next is refused, and what is not ours is not.
func (x *installation) webhook(ctx context.Context, program string) error {
	create := func(ctx context.Context, name string, gated bool) error {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"leastwatt.github.io/max-delay": "1s", "leastwatt.github.io/watts": "5000"}},
			Spec: v1.PodSpec{SchedulerName: "nobody", Containers: []v1.Container{{Name: "c", Image: "none"}}}}
		if gated {
			p.Spec.SchedulingGates = []v1.PodSchedulingGate{{Name: "leastwatt.github.io/shift"}}
		}
		_, err := x.client.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{})
		return err
	}
	p, err := x.deployed(ctx, "shift", "shift", program, answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", x.ports[shiftHealth])))
	if err != nil {
		return err
	}
	// As its controller would say of the pod.
	s := &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "shift", Namespace: namespace, Labels: map[string]string{discovery.LabelServiceName: "lw-leastwatt-shift"}},
		AddressType: discovery.AddressTypeIPv4, Ports: []discovery.EndpointPort{{Name: new("webhook"), Port: new(int32(x.ports[webhookPort])), Protocol: new(v1.ProtocolTCP)}},
		Endpoints: []discovery.Endpoint{{Addresses: []string{"10.77.0.1"}, Conditions: discovery.EndpointConditions{Ready: new(true)}}}}
	if _, err := x.client.DiscoveryV1().EndpointSlices(namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
		return err
	}
	var said error
	n := 0
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		n++
		said = create(ctx, fmt.Sprint("gated-", n), true)
		return said != nil && strings.Contains(said.Error(), "used up the day's budget"), nil
	}); err != nil {
		return fmt.Errorf("waiting until new work is refused: %w: %w", err, said)
	}
	x.Logf("pod gated-%d: %v", n, said)
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		_, said = x.client.CoreV1().ConfigMaps("kube-system").Get(ctx, "carbon-intensity", metav1.GetOptions{})
		return said == nil, nil
	}); err != nil {
		x.Errorf("waiting for the ConfigMap that tells the forecast: %v: %v", err, said)
	}
	if err := create(ctx, "other", false); err != nil {
		x.Errorf("a pod that is not ours: %v", err)
	}
	x.stop(p.Process)
	if err := create(ctx, "late", true); err != nil {
		x.Errorf("without the webhook: %v", err)
	}
	return x.may(ctx, "lw-leastwatt-shift", []right{{"default", "patch", "", "pods", "", true}, {"default", "create", "", "pods", "", false}, {"default", "delete", "batch", "jobs", "", false},
		{"default", "update", "", "configmaps", "leastwatt-shift-budget", true}, {"kube-system", "update", "", "configmaps", "leastwatt-shift-budget", false},
		{"kube-system", "delete", "", "configmaps", "carbon-intensity", true}, {"kube-system", "get", "", "configmaps", "extension-apiserver-authentication", false}})
}

// slice makes the endpoints of a Service.
func (x *installation) slice(ctx context.Context, service string, nodes ...string) error {
	s := &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: service, Namespace: "default",
		Labels: map[string]string{discovery.LabelServiceName: service, endpoints.NameLabel: endpoints.DefaultName}},
		AddressType: discovery.AddressTypeIPv4, Ports: []discovery.EndpointPort{{Name: new("p"), Port: new(int32(8080)), Protocol: new(v1.ProtocolTCP)}}}
	for _, n := range nodes {
		s.Endpoints = append(s.Endpoints, discovery.Endpoint{Addresses: []string{servers[n]}, NodeName: &n, Conditions: discovery.EndpointConditions{Ready: new(true)}})
	}
	_, err := x.client.DiscoveryV1().EndpointSlices("default").Create(ctx, s, metav1.CreateOptions{})
	return err
}

var shareLine = regexp.MustCompile(`(?m)^leastwatt_endpoint_share_ratio\{.*node="([^"]+)".*\} (\S+)$`)

// shares reads the shares of the one Service from the metrics.
func (x *installation) shares(ctx context.Context, url string) (map[string]float64, error) {
	_, body, err := x.get(ctx, url, "", nil)
	if err != nil {
		return nil, err
	}
	out := make(map[string]float64)
	for _, m := range shareLine.FindAllStringSubmatch(body, -1) {
		if out[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// gateway runs two replicas of what writes the weights of HTTPRoutes; when the leader ends, the other goes on.
func (x *installation) gateway(ctx context.Context, program string) error {
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	if err := x.define(ctx, gatewayDefinitions); err != nil {
		return err
	}
	for name, node := range map[string]string{"cheap": "frugal", "dear": "thirsty"} {
		if err := x.slice(ctx, name, node); err != nil {
			return err
		}
	}
	routes := client.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}).Namespace("default")
	route := new(unstructured.Unstructured)
	if err := json.Unmarshal([]byte(`{"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute","metadata":{"name":"shop","annotations":{
"leastwatt.github.io/weights":"true","leastwatt.github.io/cpu-per-request":"50m","leastwatt.github.io/requests-per-second":"20"}},
"spec":{"parentRefs":[{"name":"edge"}],"rules":[{"backendRefs":[{"name":"cheap","port":80},{"name":"dear","port":80}]}]}}`), &route.Object); err != nil {
		return err
	}
	apply := func(ctx context.Context) (bool, error) { // the API server serves a new kind within moments
		_, err := routes.Apply(ctx, "shop", route, metav1.ApplyOptions{FieldManager: "owner", Force: true})
		return err == nil, nil
	}
	if err := until(ctx, apply); err != nil {
		return fmt.Errorf("waiting for HTTPRoutes: %w", err)
	}
	var weights []int64
	weighed := func(ctx context.Context) (bool, error) {
		got, err := routes.Get(ctx, "shop", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		rules, _, err := unstructured.NestedSlice(got.Object, "spec", "rules")
		if err != nil {
			return false, err
		}
		weights = weights[:0]
		for _, ref := range rules[0].(map[string]any)["backendRefs"].([]any) {
			w, _ := ref.(map[string]any)["weight"].(int64)
			weights = append(weights, w)
		}
		return weights[0] > weights[1] && weights[0]+weights[1] == 1000, nil
	}
	ready := answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", x.ports[gatewayPort]))
	first, err := x.deployed(ctx, "gateway", "gateway-0", program, ready)
	if err != nil {
		return err
	}
	if err := until(ctx, weighed); err != nil {
		return fmt.Errorf("waiting for the weights: %w: %v", err, weights)
	}
	x.Logf("weights of the HTTPRoute: %v", weights)
	if err := x.scrape(ctx, "gateway", first.template); err != nil {
		return err
	}
	x.stop(first.Process)
	if _, err := apply(ctx); err != nil { // its owner takes the weights away
		return err
	}
	second, err := x.deployed(ctx, "gateway", "gateway-1", program, ready)
	if err != nil {
		return err
	}
	if err := until(ctx, weighed); err != nil {
		return fmt.Errorf("waiting for the weights of the second leader: %w: %v", err, weights)
	}
	x.stop(second.Process)
	return x.may(ctx, "lw-leastwatt-gateway", []right{{"default", "patch", "gateway.networking.k8s.io", "httproutes", "", true}, {"default", "delete", "gateway.networking.k8s.io", "httproutes", "", false},
		{namespace, "update", "coordination.k8s.io", "leases", "lw-leastwatt-scheduler", false}, {namespace, "get", "", "secrets", "bmc", false}})
}

// clean upgrades to the clean-up of the nodes, after which no rule is left, and uninstalls.
func (x *installation) clean(ctx context.Context, program string) error {
	path, err := chart()
	if err != nil {
		return err
	}
	if _, err := x.helm.run(ctx, append([]string{"upgrade", "lw", path}, x.set("endpointSelector.cleanup=true")...)...); err != nil {
		return err
	}
	d, err := x.client.AppsV1().DaemonSets(namespace).Get(ctx, "lw-leastwatt-endpoint-selector", metav1.GetOptions{})
	if err != nil {
		return err
	}
	p, err := x.kubelet.run(ctx, x.T, "endpoint-selector-cleanup", program, namespace, d.Spec.Template, nil, append([]string{"/usr/bin/sleep"}, proxyTools...)...)
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "nft", "list", "tables").CombinedOutput(); err != nil || strings.Contains(string(out), "leastwatt") {
		x.Errorf("after the clean-up: %v: %s", err, out)
	}
	if err := p.Kill(); err != nil {
		return err
	}
	_, err = x.helm.run(ctx, "uninstall", "lw", "--namespace="+namespace)
	return err
}

// answerWith tells its name to whoever connects.
func answerWith(t *testing.T, name, address string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(address, "8080"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, name)
			c.Close()
		}
	}()
}

// dial tells who answers, "" for nobody.
func dial(ctx context.Context, address string) string {
	c, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	name, err := io.ReadAll(io.LimitReader(c, 64))
	if err != nil {
		return ""
	}
	return string(name)
}
