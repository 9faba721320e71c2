package nftables_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing/nftables"
)

// A tongue is one family's names of the lab's addresses.
type tongue struct {
	family                                 knftables.Family
	vip, external, node, client, a, b, far string
	pods                                   string
}

var tongues = map[string]tongue{
	"IPv4": {knftables.IPv4Family, "10.96.0.10", "198.51.100.7", "192.0.2.1", "192.0.2.10", "10.77.1.2", "10.77.1.3", "10.77.2.4", "10.77.0.0/16"},
	"IPv6": {knftables.IPv6Family, "fd96::a", "2001:db8:1::7", "2001:db8::1", "2001:db8::10", "fd77:1::2", "fd77:1::3", "fd77:2::4", "fd77::/16"},
}

func (g tongue) open(t *testing.T, l *lab, o nftables.Options) *nftables.Writer {
	t.Helper()
	o.LocalCIDRs = []netip.Prefix{netip.MustParsePrefix(g.pods)}
	var w *nftables.Writer
	var err error
	l.node.in(func() { w, err = nftables.Open(g.family, o) })
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (l *lab) apply(t *testing.T, w *nftables.Writer, services ...nftables.Service) {
	t.Helper()
	var r nftables.Result
	var err error
	l.node.in(func() { r, err = w.Apply(context.Background(), services) })
	if err != nil || len(r.Refused) > 0 {
		t.Fatal(err, r.Refused)
	}
}

// service is one of all three endpoints, with every address.
func (g tongue) service(p nftables.Protocol) nftables.Service {
	at := func(ip string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(ip), 8080) }
	return nftables.Service{Name: "shop/web:" + string(p), Protocol: p, IPs: []netip.Addr{netip.MustParseAddr(g.vip)}, Port: 80, NodePort: 30080,
		External: []netip.Addr{netip.MustParseAddr(g.external)}, Balancers: []netip.Addr{netip.MustParseAddr(g.external).Next()},
		Endpoints: []nftables.Endpoint{{Addr: at(g.a), Share: 0.5}, {Addr: at(g.b), Share: 0.3}, {Addr: at(g.far), Share: 0.2}}}
}

func at(ip string, port int) string { return net.JoinHostPort(ip, fmt.Sprint(port)) }

// TestTraffic sends connections of both protocols and families from pods and from outside.
func TestTraffic(t *testing.T) {
	for family, g := range tongues {
		for _, network := range []string{"tcp", "udp"} {
			t.Run(family+" "+network, func(t *testing.T) { traffic(t, g, network) })
		}
	}
}

func traffic(t *testing.T, g tongue, network string) {
	l := newLab(t)
	l.a.serve("a")
	l.b.serve("b")
	l.far.serve("far")
	w := g.open(t, l, nftables.Options{Count: true})
	s := g.service(nftables.Protocol(network))
	l.apply(t, w, s)

	// From a pod: by the shares. The pod itself is one of the endpoints: it is reached through the node (hairpin),
	// the others see the pod's own address.
	const n = 1000
	l.forget()
	got := l.a.ask(network, at(g.vip, 80), n)
	sum, chi := who(got), 0.0
	for name, p := range map[string]float64{"a": 0.5, "b": 0.3, "far": 0.2} {
		chi += math.Pow(float64(sum[name])-n*p, 2) / (n * p)
	}
	t.Logf("from a pod: %v, chi-square %.2f", got, chi)
	if chi > 18.421 { // the 99.99 % quantile with two degrees of freedom: four such tests run each time
		t.Errorf("the split does not match the shares")
	}
	for seen := range got {
		name, from, _ := strings.Cut(seen, " ")
		if (name == "a") != (from != g.a) {
			t.Errorf("%s saw %s", name, from)
		}
	}
	if flows := l.flows(t, w); flows > n || flows < n*9/10 { // a UDP client's port may be used again: no new connection
		t.Errorf("%d new connections are counted, want %d", flows, n)
	}

	// From outside, by all three ways: masqueraded, so that the answer comes back through this node.
	ways := []string{at(g.node, 30080), at(g.external, 80), at(next(g.external), 80)}
	for _, to := range ways {
		got := l.client.ask(network, to, 60)
		if sum := who(got); sum["a"]+sum["b"]+sum["far"] != 60 || sum["far"] == 0 {
			t.Errorf("from outside to %s: %v", to, got)
		}
		for seen := range got {
			if strings.HasSuffix(seen, " "+g.client) {
				t.Errorf("from outside to %s: not masqueraded: %s", to, seen)
			}
		}
	}
	// The virtual address from outside the cluster is masqueraded too.
	for seen := range l.client.ask(network, at(g.vip, 80), 20) {
		if strings.HasSuffix(seen, " "+g.client) {
			t.Errorf("from outside to the virtual address: %s", seen)
		}
	}

	// A load balancer's address for some only; the other ways stay open.
	s.SourceRanges = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(g.client), netip.MustParseAddr(g.client).BitLen())}
	l.apply(t, w, s)
	if got := who(l.client.ask(network, ways[2], 20)); got["nobody"] > 0 {
		t.Errorf("the client in the source ranges: %v", got)
	}
	if !l.stranger.silent(network, ways[2]) {
		t.Error("the stranger is answered")
	}
	if got := who(l.stranger.ask(network, ways[1], 20)); got["nobody"] > 0 {
		t.Errorf("the stranger by another way: %v", got)
	}

	// Only endpoints of this node from outside, which see the client itself; pods still meet all.
	l.forget()
	s.SourceRanges = nil
	s.Outside = &nftables.Outside{Endpoints: s.Endpoints[:2], KeepSource: true, Drop: true}
	l.apply(t, w, s)
	for _, to := range ways {
		got := l.client.ask(network, to, 40)
		if got["a "+g.client]+got["b "+g.client] != 40 || got["a "+g.client] == 0 {
			t.Errorf("local policy, from outside to %s: %v", to, got)
		}
	}
	if got := who(l.b.ask(network, ways[1], 60)); got["far"] == 0 || got["nobody"] > 0 {
		t.Errorf("local policy, from a pod: %v", got)
	}
	s.Outside = &nftables.Outside{KeepSource: true, Drop: true}
	l.forget()
	l.apply(t, w, s)
	if !l.client.silent(network, ways[0]) {
		t.Error("local policy without endpoints here: the client is answered")
	}
	if got := who(l.b.ask(network, ways[1], 20)); got["nobody"]+got["refused"] > 0 {
		t.Errorf("local policy without endpoints here, from a pod: %v", got)
	}

	l.forget()
	// Without any endpoint clients are told so at once.
	s.Outside, s.Endpoints = nil, nil
	l.apply(t, w, s)
	for _, from := range []struct {
		h  *host
		to string
	}{{l.a, at(g.vip, 80)}, {l.client, ways[0]}, {l.client, ways[1]}, {l.node, at(g.vip, 80)}} {
		if got := from.h.ask(network, from.to, 1); got["refused"] != 1 {
			t.Errorf("no endpoints, to %s: %v", from.to, got)
		}
	}
	var rules []byte
	var err error
	l.node.in(func() {
		err = w.Cleanup(context.Background())
		rules, _ = exec.Command("nft", "list", "ruleset").CombinedOutput()
	})
	if err != nil || len(rules) > 0 {
		t.Errorf("%v, after the clean-up:\n%s", err, rules)
	}
}

func next(ip string) string { return netip.MustParseAddr(ip).Next().String() }

func (l *lab) flows(t *testing.T, w *nftables.Writer) int {
	t.Helper()
	var flows []nftables.Flow
	var err error
	l.node.in(func() { flows, err = w.Connections(context.Background()) })
	if err != nil || len(flows) != 1 {
		t.Fatal(flows, err)
	}
	return int(flows[0].New)
}

// TestClientsStay: with affinity each client stays with its endpoint, over changes of weights too, from inside and
// outside.
func TestClientsStay(t *testing.T) {
	for family, g := range tongues {
		t.Run(family, func(t *testing.T) {
			l := newLab(t)
			l.a.serve("a")
			l.b.serve("b")
			l.far.serve("far")
			w := g.open(t, l, nftables.Options{})
			s := g.service(nftables.TCP)
			s.Affinity = time.Hour
			l.apply(t, w, s)
			home := map[*host]string{}
			for _, h := range []*host{l.a, l.b, l.client, l.stranger} {
				to := at(g.vip, 80)
				if h == l.client || h == l.stranger {
					to = at(g.node, 30080)
				}
				got := who(h.ask("tcp", to, 40))
				if len(got) != 1 || got["nobody"] > 0 {
					t.Fatalf("one client meets %v", got)
				}
				home[h] = slices.Collect(maps.Keys(got))[0]
			}
			s.Endpoints = slices.Clone(s.Endpoints)
			s.Endpoints[0].Share, s.Endpoints[1].Share = 0.1, 0.7
			l.apply(t, w, s)
			for h, name := range home {
				if got := who(h.ask("tcp", at(g.vip, 80), 20)); got[name] != 20 {
					t.Errorf("after new weights: %v, before: %s", got, name)
				}
			}
			// Those whose endpoint goes find another one, and stay there.
			s.Endpoints = slices.DeleteFunc(s.Endpoints, func(e nftables.Endpoint) bool { return e.Addr.Addr().String() == g.a })
			l.apply(t, w, s)
			for h := range home {
				if got := who(h.ask("tcp", at(g.vip, 80), 20)); len(got) != 1 || got["a"] > 0 || got["nobody"] > 0 {
					t.Errorf("without a: %v", got)
				}
			}
		})
	}
}

// TestRestartUnderLoad: while connections are made without pause, writers are replaced and weights change; no connection
// fails, and those that are there live on.
func TestRestartUnderLoad(t *testing.T) {
	g := tongues["IPv4"]
	l := newLab(t)
	l.a.serve("a")
	l.b.serve("b")
	l.far.serve("far")
	s := g.service(nftables.TCP)
	l.apply(t, g.open(t, l, nftables.Options{}), s)
	var held net.Conn
	l.a.in(func() { held, _ = net.DialTimeout("tcp", at(g.vip, 80), 3*time.Second) })
	if held == nil {
		t.Fatal("no connection to hold")
	}
	defer held.Close()
	buf := make([]byte, 64)
	if _, err := held.Read(buf); err != nil { // the greeting
		t.Fatal(err)
	}
	var stop atomic.Bool
	total := make(chan map[string]int)
	for _, x := range []struct {
		h  *host
		to string
	}{{l.b, at(g.vip, 80)}, {l.client, at(g.node, 30080)}} {
		go func() {
			out := map[string]int{}
			for !stop.Load() {
				for k, n := range who(x.h.ask("tcp", x.to, 20)) {
					out[k] += n
				}
			}
			total <- out
		}()
	}
	for i := range 20 {
		w := g.open(t, l, nftables.Options{}) // a new process adopts what it finds
		s.Endpoints = slices.Clone(s.Endpoints)
		for j := range s.Endpoints {
			s.Endpoints[j].Share = float64(1 + (i+j)%3)
		}
		l.apply(t, w, s)
		s.Endpoints[0].Share = 2.5
		l.apply(t, w, s)
	}
	stop.Store(true)
	for range 2 {
		got := <-total
		t.Logf("over 20 restarts and 40 changes of weights: %v", got)
		if got["nobody"]+got["refused"] > 0 || got["a"]+got["b"]+got["far"] < 20 {
			t.Errorf("connections were lost: %v", got)
		}
	}
	_ = held.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := held.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if k, err := held.Read(buf); err != nil || string(buf[:k]) != "x" {
		t.Errorf("the connection that was there is cut: %v", err)
	}
}
