package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

const inNamespace = "LEASTWATT_IN_NAMESPACE"

// TestBesideKubeProxy runs itself again in a network namespace of its own, where a control plane, a stock kube-proxy,
// this proxy, three servers and their clients all live.
func TestBesideKubeProxy(t *testing.T) {
	if os.Getenv(inNamespace) == "1" {
		besideKubeProxy(t)
		return
	}
	needRoot(t)
	again(t, "LEASTWATT_KUBE_PROXY="+kubeProxy(t))
}

// needRoot skips where rules cannot be written.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("rules beside a kube-proxy need root: run as root to test them")
	}
	for _, program := range []string{"nft", "ip", "conntrack"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("rules beside a kube-proxy need the program %s: apt-get install nftables iproute2 conntrack", program)
		}
	}
	controlplane.ForTest(t, "")
}

// outage is for how long the API server is away: LEASTWATT_OUTAGE=5m does by hand what CI does for seconds.
func outage(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("LEASTWATT_OUTAGE")
	if text == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("LEASTWATT_OUTAGE=%s: want a duration above 0, such as 5m", text)
	}
	return d
}

// again runs the test once more in a network namespace of its own.
func again(t *testing.T, env ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+(5*time.Minute+outage(t)).String())
	c.Env = append(append(os.Environ(), inNamespace+"=1"), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// kubeProxy returns a stock kube-proxy of the version that go.mod pins, built once into the user's cache.
func kubeProxy(t *testing.T) string {
	t.Helper()
	if p := os.Getenv("LEASTWATT_KUBE_PROXY"); p != "" {
		return p
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes").Output()
	if err != nil {
		t.Fatalf("which version of k8s.io/kubernetes: %v", err)
	}
	v := strings.TrimSpace(string(version))
	path := filepath.Join(cache, "leastwatt", "kube-proxy-"+v)
	if now := time.Now(); os.Chtimes(path, now, now) == nil { // it is there, and used: package controlplane removes what is not
		return path
	}
	// What it is made of was compiled for the control plane, so that this takes seconds.
	part := path + ".part"
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion="+v, "-o", part, "k8s.io/kubernetes/cmd/kube-proxy")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build kube-proxy: %v\n%s", err, out)
	}
	if err := os.Rename(part, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func besideKubeProxy(t *testing.T) {
	for _, c := range []string{ // the clients, servers and proxies are all in one namespace here; balancing/nftables has a lab with several
		"ip link set lo up", "ip link add v0 type veth peer name v1", "ip link set v0 up", "ip link set v1 up",
		"ip addr add 10.77.0.1/24 dev v0", "ip route add default via 10.77.0.254",
		"ip addr add 10.77.1.2/32 dev lo", "ip addr add 10.77.1.3/32 dev lo", "ip addr add 10.77.1.4/32 dev lo",
		"ip addr add fd77::1/64 dev v0 nodad", "ip -6 route add default via fd77::fe dev v0",
		"ip addr add fd77:1::2/128 dev lo nodad", "ip addr add fd77:1::3/128 dev lo nodad", "ip addr add fd77:1::4/128 dev lo nodad",
	} {
		a := strings.Fields(c)
		if out, err := exec.Command(a[0], a[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
	err := controlplane.Run(t.Context(), controlplane.ForTest(t, ""), controlplane.Options{Parent: t.TempDir(), APIServer: []string{"--service-cluster-ip-range=10.96.0.0/16,fd96::/112"}}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		s := &stage{t: t, client: client, kubeconfig: c.Kubeconfig()}
		if s.line, err = openLine(c.RESTConfig()); err != nil {
			return err
		}
		defer s.line.cut()
		s.play(ctx)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A stage is the namespace with its cluster.
type stage struct {
	t          *testing.T
	client     *kubernetes.Clientset
	kubeconfig string
	line       *line // our proxy's only way to the API server
}

// What a thing is in each family: every Service here has both.
type both [2]string

var (
	servers  = map[string]both{"cheap": {"10.77.1.2", "fd77:1::2"}, "middle": {"10.77.1.3", "fd77:1::3"}, "dear": {"10.77.1.4", "fd77:1::4"}}
	protocol = both{"IPv4", "IPv6"}
)

func (s *stage) play(ctx context.Context) {
	t := s.t
	for name := range servers {
		n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.NodeStatus{Capacity: v1.ResourceList{v1.ResourceCPU: resource.MustParse("10")}}}
		if _, err := s.client.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	us := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "us"}, Status: v1.NodeStatus{Addresses: []v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: "10.77.0.1"}, {Type: v1.NodeInternalIP, Address: "fd77::1"}}}}
	if _, err := s.client.CoreV1().Nodes().Create(ctx, us, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, ips := range servers {
		for _, ip := range ips {
			serve(t, name, ip)
		}
	}
	proxy := exec.CommandContext(ctx, os.Getenv("LEASTWATT_KUBE_PROXY"), "--kubeconfig="+s.kubeconfig, "--proxy-mode=nftables", "--hostname-override=us",
		"--cluster-cidr=10.77.0.0/16,fd77::/16", "--bind-address=127.0.0.1", "--metrics-bind-address=127.0.0.1:10249", "--healthz-bind-address=127.0.0.1:10256")
	proxy.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proxy.Process.Kill(); _ = proxy.Wait() }()

	stock := s.service(ctx, "stock", v1.ProtocolTCP, false)
	ours := s.service(ctx, "ours", v1.ProtocolTCP, true)
	udp := s.service(ctx, "names", v1.ProtocolUDP, true)

	registry := prometheus.NewRegistry()
	appliers := map[v1.IPFamily]endpoints.Applier{}
	for name, family := range families {
		w, err := nftables.Open(family, nftables.Options{LocalCIDRs: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/16"), netip.MustParsePrefix("fd77::/16")}})
		if err != nil {
			t.Fatal(err)
		}
		appliers[name] = w
	}
	view := models(t)
	wire, err := s.line.client()
	if err != nil {
		t.Fatal(err)
	}
	p, err := endpoints.New(appliers, endpoints.Options{Node: "us", View: view, Registerer: registry,
		Weigher: &balancing.Optimal{Floor: 0.3}, Refresh: time.Second, Forget: forget(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Watch(running, wire) })
	wg.Go(func() { _ = p.Run(running) })
	defer wg.Wait()
	defer stop()
	for f := range protocol {
		s.until("our Service answers by "+protocol[f], func() bool { return dial(ours[f]) != "" })
		s.until("kube-proxy's Service answers by "+protocol[f], func() bool { return dial(stock[f]) != "" })
	}
	theirs := kubeProxyTables(t)

	const n = 3000
	third := map[string]float64{"cheap": 1. / 3, "middle": 1. / 3, "dear": 1. / 3}
	for f, table := range (both{"ip", "ip6"}) {
		s.split("ours, "+protocol[f], func() map[string]int { return count(ours[f], n) }, shares(t, registry, "ours", f), n)
		s.split("ours, UDP over "+protocol[f], func() map[string]int { return ask(udp[f], n) }, shares(t, registry, "names", f), n)
		s.split("kube-proxy's, "+protocol[f], func() map[string]int { return count(stock[f], n) }, third, n)
		for line := range strings.Lines(nftList(t, "-s", "list", "table", table, "leastwatt")) {
			if strings.Contains(line, "numgen") {
				t.Logf("rule: %s", strings.TrimSpace(line))
			}
		}
	}

	// An endpoint that turns unready gets nothing after a second; an established connection of it lives on.
	var held [2]net.Conn
	for f := range held {
		held[f] = holdTo(t, ours[f], "cheap")
	}
	began := time.Now()
	s.endpoints(ctx, "ours", v1.ProtocolTCP, true, "cheap")
	s.until("the unready endpoint gets nothing", func() bool {
		return shares(t, registry, "ours", 0)["cheap"] == 0 && shares(t, registry, "ours", 1)["cheap"] == 0
	})
	t.Logf("unready to no share: %v", time.Since(began).Round(time.Millisecond))
	for f, c := range held {
		if got := count(ours[f], 500); got["cheap"] > 0 || got[""] > 0 {
			t.Errorf("after cheap turned unready, by %s: %v", protocol[f], got)
		}
		if !echoes(c) {
			t.Errorf("the established connection is cut: %s", protocol[f])
		}
		c.Close()
	}

	// A UDP client that keeps its port moves on when its endpoint goes: conntrack forgets it.
	for f := range protocol {
		client, name := udpClient(t, udp[f])
		s.endpoints(ctx, "names", v1.ProtocolUDP, true, name)
		s.until("the UDP client meets another server by "+protocol[f], func() bool { now := client(); return now != name && now != "" })
		s.endpoints(ctx, "names", v1.ProtocolUDP, true, "")
		s.until("the server is back", func() bool { return shares(t, registry, "names", f)[name] > 0 })
	}

	// The API server goes away: traffic goes on, weights are refreshed, and what changed meanwhile is seen afterwards.
	away := outage(t)
	s.line.cut()
	s.endpoints(ctx, "ours", v1.ProtocolTCP, true, "middle")
	met, refreshed, began := map[string]int{}, 0, time.Now()
	for last := p.Written(); time.Since(began) < away || refreshed < 5; time.Sleep(10 * time.Millisecond) {
		met[dial(ours[0])]++
		met[dial(ours[1])]++
		if now := p.Written(); now != last {
			last, refreshed = now, refreshed+1
		}
		if err := p.Ready(); err != nil || time.Since(began) > away+time.Minute {
			t.Fatalf("%d refreshes in %v without an API server: %v", refreshed, time.Since(began), err)
		}
	}
	t.Logf("%v without an API server: %d refreshes, connections %v", time.Since(began).Round(time.Second), refreshed, met)
	if met[""] > 0 || met["cheap"] > 0 || met["middle"] == 0 {
		t.Errorf("without an API server the connections are %v", met)
	}
	if sh := shares(t, registry, "ours", 0); sh["middle"] == 0 || sh["cheap"] != 0 {
		t.Errorf("without an API server the shares are %v", sh)
	}
	if err := s.line.mend(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	s.until("the change is seen afterwards", func() bool { sh := shares(t, registry, "ours", 1); return sh["cheap"] > 0 && sh["middle"] == 0 })
	t.Logf("back to the change seen: %v", time.Since(began).Round(100*time.Millisecond))
	s.endpoints(ctx, "ours", v1.ProtocolTCP, true, "cheap")
	s.until("and the next one", func() bool { sh := shares(t, registry, "ours", 1); return sh["cheap"] == 0 && sh["middle"] > 0 })

	// The proxy stops: traffic goes on. A new one adopts the table.
	stop()
	wg.Wait()
	for f := range protocol {
		if got := count(ours[f], 100); got[""] > 0 {
			t.Errorf("while no proxy runs, by %s: %v", protocol[f], got)
		}
	}
	var printed, said bytes.Buffer
	if err := run(ctx, []string{"-print", "-kubeconfig", s.kubeconfig, "-node", "us"}, &printed, &said); err != nil {
		t.Errorf("-print: %v\n%s", err, said.String())
	}
	text := printed.String()
	for f, want := range (both{"numgen random mod 10000 map { 0-4999 : 10.77.1.3 . 8080, 5000-9999 : 10.77.1.4 . 8080 }",
		"numgen random mod 10000 map { 0-4999 : fd77:1::3 . 8080, 5000-9999 : fd77:1::4 . 8080 }"}) {
		vip, _, err := net.SplitHostPort(ours[f])
		if err != nil || !strings.Contains(text, vip+" . tcp . 80 : goto svc-") || !strings.Contains(text, want) {
			t.Errorf("-print, %s: %v\n%s\n%s", protocol[f], err, text, said.String())
		}
	}
	// With models and sensors it prints the shares of what is measured, not those of the first moment.
	printed.Reset()
	if err := run(ctx, []string{"-print", "-kubeconfig", s.kubeconfig, "-node", "us", "-config", siteConfig(t)}, &printed, &said); err != nil {
		t.Errorf("-print with -config: %v\n%s", err, said.String())
	}
	for f, even := range (both{"{ 0-4999 : 10.77.1.3 . 8080,", "{ 0-4999 : fd77:1::3 . 8080,"}) {
		if text := printed.String(); strings.Contains(text, even) || !strings.Contains(text, strings.TrimPrefix(even, "{ 0-4999")) {
			t.Errorf("-print with -config, %s: %q\n%s\n%s", protocol[f], even, text, said.String())
		}
	}
	// While none runs, a server goes to which UDP clients of both families talk.
	client4, name := udpClient(t, udp[0])
	client6, name6 := udpClient(t, udp[1])
	for name6 != name {
		client6, name6 = udpClient(t, udp[1])
	}
	s.endpoints(ctx, "names", v1.ProtocolUDP, true, name)
	if client4() != name || client6() != name {
		t.Errorf("UDP clients left %s while nobody could move them", name)
	}
	// A new process writes rules before it knows a server, and anew when it does, however far off its refresh is.
	var may atomic.Bool
	begun, end := context.WithCancel(ctx)
	config := siteConfigOnce(t, may.Load)
	wg.Go(func() {
		if err := run(begun, []string{"-kubeconfig", s.kubeconfig, "-node", "us", "-config", config, "-refresh", "10m", "-metrics-address", "127.0.0.1:9418"}, io.Discard, io.Discard); err != nil {
			t.Errorf("a new process: %v", err)
		}
	})
	known := func() string {
		resp, err := http.Get("http://127.0.0.1:9418/metrics")
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		_, after, _ := strings.Cut(string(text), `leastwatt_endpoint_known{namespace="default",service="ours",port="p/tcp",endpoint="10.77.1.3:8080",node="middle"} `)
		v, _, _ := strings.Cut(after, "\n")
		return v
	}
	s.until("rules are written before a server is known", func() bool { return known() == "0" })
	may.Store(true)
	s.until("what sensors say first counts", func() bool { return known() == "1" })
	for f, client := range []func() string{client4, client6} {
		s.until("the UDP client meets another server after a restart by "+protocol[f], func() bool { now := client(); return now != name && now != "" })
	}
	end()
	wg.Wait()
	// A proxy of another name has a table of its own, and keeps it.
	other, err := nftables.Open(families[v1.IPv4Protocol], nftables.Options{Table: tableOf("an-other.1")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Apply(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if err := run(ctx, []string{"-cleanup"}, &printed, &said); err != nil {
		t.Errorf("-cleanup: %v", err)
	}
	if out, _ := exec.Command("nft", "list", "tables").CombinedOutput(); strings.Count(string(out), "leastwatt") != 1 {
		t.Errorf("after the clean-up of one of two names: %s", out)
	}
	if err := run(ctx, []string{"-cleanup", "-name", "an-other.1"}, &printed, &said); err != nil {
		t.Errorf("-cleanup -name: %v", err)
	}
	if out, _ := exec.Command("nft", "list", "tables").CombinedOutput(); strings.Contains(string(out), "leastwatt") || !strings.Contains(string(out), "kube-proxy") {
		t.Errorf("after the clean-up: %s", out)
	}
	if now := kubeProxyTables(t); now != theirs {
		t.Errorf("kube-proxy's rules before ours:\n%s\nand after:\n%s", theirs, now)
	}
	for f := range protocol {
		if got := count(stock[f], 300); got[""] > 0 {
			t.Errorf("kube-proxy's Service after our clean-up, by %s: %v", protocol[f], got)
		}
	}
}

// models returns a view of the three servers.
func models(t *testing.T) func() *scoring.View {
	f, readings := scoring.NewFleet(scoring.FleetOptions{MaxAge: time.Hour}), map[string]*sensors.NodeReadings{}
	for name, peak := range map[string]power.Watts{"cheap": 100, "middle": 200, "dear": 400} {
		c, err := power.EvenPiecewise(80, peak)
		if err != nil {
			t.Fatal(err)
		}
		f.Put(scoring.Spec{Name: name, Capacity: power.Capacity{Cores: 10}, Predictor: c})
		readings[name] = &sensors.NodeReadings{Node: name, Readings: []sensors.Reading{{Kind: sensors.CPUUtilization, Value: 0.1, At: time.Now(), Source: "test"}}}
	}
	if err := f.Refresh(t.Context(), sensors.NewSnapshot(time.Now(), readings), time.Now()); err != nil {
		t.Fatal(err)
	}
	return f.View
}

// service creates a Service of both families with the three endpoints and returns its addresses.
func (s *stage) service(ctx context.Context, name string, protocol v1.Protocol, ours bool) both {
	svc := &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{},
		Annotations: map[string]string{balancing.CPUAnnotation: "50m", endpoints.RateAnnotation: "200"}},
		Spec: v1.ServiceSpec{IPFamilyPolicy: new(v1.IPFamilyPolicyRequireDualStack), IPFamilies: []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol},
			Ports: []v1.ServicePort{{Name: "p", Port: 80, Protocol: protocol}}}}
	if ours {
		svc.Labels[endpoints.NameLabel] = endpoints.DefaultName
	}
	svc, err := s.client.CoreV1().Services("default").Create(ctx, svc, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.endpoints(ctx, name, protocol, ours, "")
	return both{net.JoinHostPort(svc.Spec.ClusterIPs[0], "80"), net.JoinHostPort(svc.Spec.ClusterIPs[1], "80")}
}

// endpoints creates or updates a Service's slices; all servers are ready but one.
func (s *stage) endpoints(ctx context.Context, name string, protocol v1.Protocol, ours bool, unready string) {
	for f, family := range []discovery.AddressType{discovery.AddressTypeIPv4, discovery.AddressTypeIPv6} {
		sl := &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name + "-" + strings.ToLower(string(family)), Namespace: "default", Labels: map[string]string{discovery.LabelServiceName: name}},
			AddressType: family, Ports: []discovery.EndpointPort{{Name: new("p"), Port: new(int32(8080)), Protocol: &protocol}}}
		if ours {
			sl.Labels[endpoints.NameLabel] = endpoints.DefaultName
		}
		for node, ips := range servers {
			sl.Endpoints = append(sl.Endpoints, discovery.Endpoint{Addresses: []string{ips[f]}, NodeName: &node, Conditions: discovery.EndpointConditions{Ready: new(node != unready)}})
		}
		slices := s.client.DiscoveryV1().EndpointSlices("default")
		_, err := slices.Create(ctx, sl, metav1.CreateOptions{})
		if err != nil {
			_, err = slices.Update(ctx, sl, metav1.UpdateOptions{})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *stage) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			out, _ := exec.Command("nft", "list", "ruleset").CombinedOutput()
			s.t.Fatalf("never: %s\n%s", what, out)
		}
	}
}

// split checks counts against shares: 9.210 is the 99 % quantile of chi-square with two degrees of freedom. A test at one
// per cent fails once in a hundred runs; a second sample tells chance from a mistake.
func (s *stage) split(what string, sample func() map[string]int, want map[string]float64, n int) {
	s.t.Helper()
	for range 2 {
		got, chi, parts := sample(), 0.0, map[string]string{}
		for name, p := range want {
			chi += math.Pow(float64(got[name])-float64(n)*p, 2) / (float64(n) * p)
			parts[name] = fmt.Sprintf("%.4g", p)
		}
		s.t.Logf("%s: shares %v, of %d connections %v, chi-square %.2f", what, parts, n, got, chi)
		if len(want) == 3 && chi < 9.210 {
			return
		}
	}
	s.t.Errorf("%s: the split does not match the shares", what)
}

// kubeProxyTables returns kube-proxy's rules without what its counters and clients make of them.
func kubeProxyTables(t *testing.T) string {
	t.Helper()
	return nftList(t, "-s", "list", "table", "ip", "kube-proxy") + nftList(t, "-s", "list", "table", "ip6", "kube-proxy")
}

func nftList(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// udpClient returns a client that asks from one port who answers, and who does now; "" is nobody.
func udpClient(t *testing.T, addr string) (ask func() string, first string) {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ask = func() string {
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 64)
		if _, err := c.Write([]byte("who?")); err != nil {
			return ""
		}
		k, err := c.Read(b)
		if err != nil {
			return ""
		}
		return string(b[:k])
	}
	first = ask()
	for range 20 {
		if now := ask(); now != first || now == "" {
			t.Fatalf("one UDP client meets %q and %q", first, now)
		}
	}
	return ask, first
}

// shares reads a Service's shares by node in one family from the metrics.
func shares(t *testing.T, r *prometheus.Registry, service string, family int) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "leastwatt_endpoint_share_ratio" {
			continue
		}
		for _, m := range f.Metric {
			labels := map[string]string{}
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["service"] == service && strings.HasPrefix(labels["endpoint"], "[") == (family == 1) {
				out[labels["node"]] = m.Gauge.GetValue()
			}
		}
	}
	return out
}

// serve answers TCP connections and UDP packets with the server's name, then echoes.
func serve(t *testing.T, name, ip string) {
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "8080"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", net.JoinHostPort(ip, "8080"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); u.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, name)
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	go func() {
		b := make([]byte, 64)
		for {
			_, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = u.WriteTo([]byte(name), from)
		}
	}()
}

func connect(addr string) (net.Conn, string) {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return nil, ""
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	var name string
	if _, err := fmt.Fscanln(c, &name); err != nil {
		c.Close()
		return nil, ""
	}
	return c, name
}

// dial returns who answers, "" if nobody does.
func dial(addr string) string {
	c, name := connect(addr)
	if c != nil {
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	return name
}

func count(addr string, n int) map[string]int {
	out := map[string]int{}
	for range n {
		out[dial(addr)]++
	}
	return out
}

// ask sends n packets from different ports; "?" counts those without an answer.
func ask(addr string, n int) map[string]int {
	out := map[string]int{}
	for range n {
		c, err := net.Dial("udp", addr)
		if err != nil {
			out["?"]++
			continue
		}
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 64)
		_, _ = c.Write([]byte("who?"))
		if k, err := c.Read(b); err == nil {
			out[string(b[:k])]++
		} else {
			out["?"]++
		}
		c.Close()
	}
	return out
}

func holdTo(t *testing.T, addr, name string) net.Conn {
	for range 500 {
		c, who := connect(addr)
		if who == name {
			return c
		}
		if c != nil {
			c.Close()
		}
	}
	t.Fatalf("no connection to %s in 500", name)
	return nil
}

func echoes(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	b := make([]byte, 1)
	_, err := io.ReadFull(c, b)
	return err == nil && b[0] == 'x'
}
