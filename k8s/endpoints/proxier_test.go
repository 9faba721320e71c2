package endpoints_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/scoring"
)

func TestSharesFollowTheModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		p := start(t, &r, endpoints.Options{View: site(t), Weigher: &balancing.Optimal{}})
		p.OnServiceAdd(service("web", func(s *v1.Service) { s.Annotations = map[string]string{endpoints.RateAnnotation: "10"} }))
		// All slices count, not only the first.
		p.OnEndpointSliceAdd(slice("web-1", "web", endpoint("10.0.0.1", "cheap")))
		p.OnEndpointSliceAdd(slice("web-2", "web", endpoint("10.0.0.2", "dear")))
		p.OnEndpointSliceAdd(slice("web-3", "web", endpoint("10.0.0.3", "nobody knows this one")))
		settle()
		s := r.shares(web)
		if len(s) != 3 || s["10.0.0.1:8080"] < 0.9 || s["10.0.0.3:8080"] > s["10.0.0.2:8080"] || s["10.0.0.3:8080"] == 0 {
			t.Errorf("shares %v", s)
		}
		p.OnEndpointSliceDelete(slice("web-1", "web"))
		settle()
		if s := r.shares(web); len(s) != 2 {
			t.Errorf("after a slice is gone: %v", s)
		}
		p.OnServiceDelete(service("web"))
		settle()
		if len(r.last) != 0 {
			t.Errorf("after the Service is gone: %v", r.last)
		}
	})
}

// However often endpoints change, a reading moves no share by more than a step in a refresh.
func TestChangesDoNotHurryShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calm, full := site(t), busySite(t, 1)
		var busy atomic.Bool
		view := func() *scoring.View {
			if busy.Load() {
				return full()
			}
			return calm()
		}
		var r recorder
		p := start(t, &r, endpoints.Options{View: view, Refresh: 20 * time.Second})
		p.OnServiceAdd(service("web", func(s *v1.Service) { s.Annotations = map[string]string{endpoints.RateAnnotation: "20"} }))
		p.OnEndpointSliceAdd(slice("web-1", "web", endpoint("10.0.0.1", "cheap"), endpoint("10.0.0.2", "dear")))
		p.OnServiceAdd(service("other", func(s *v1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.96.0.11", []string{"10.96.0.11"} }))
		settle()
		before := r.shares(web)["10.0.0.1:8080"]
		busy.Store(true) // the cheap server has no room any more
		writes := r.count()
		for i := range 30 {
			e := endpoint("10.0.0.3", "dear")
			e.Conditions.Ready = new(i%2 == 0)
			p.OnEndpointSliceUpdate(nil, slice("other-1", "other", e))
			time.Sleep(200 * time.Millisecond)
		}
		synctest.Wait()
		after := r.shares(web)["10.0.0.1:8080"]
		if moved := before - after; r.count() < writes+20 || moved < balancing.DefaultStep/2 || moved > balancing.DefaultStep+1e-9 {
			t.Errorf("%d writes moved a share from %v to %v", r.count()-writes, before, after)
		}
	})
}

func TestNobodyKnownIsUniform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		p := start(t, &r, endpoints.Options{})
		p.OnServiceAdd(service("web"))
		p.OnEndpointSliceAdd(slice("web-1", "web", endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b")))
		settle()
		if s := r.shares(web); s["10.0.0.1:8080"] != 0.5 || s["10.0.0.2:8080"] != 0.5 {
			t.Errorf("shares %v", s)
		}
	})
}

func TestConditionsAndPolicies(t *testing.T) {
	not := func(e *discovery.Endpoint) { e.Conditions.Ready = new(false) }
	ending := func(e *discovery.Endpoint) {
		e.Conditions = discovery.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
	}
	dead := func(e *discovery.Endpoint) {
		e.Conditions = discovery.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(true)}
	}
	unsaid := func(e *discovery.Endpoint) { e.Conditions.Ready = nil }
	zone := func(z string) func(*discovery.Endpoint) {
		return func(e *discovery.Endpoint) {
			e.Hints = &discovery.EndpointHints{ForZones: []discovery.ForZone{{Name: z}}}
		}
	}
	forNode := func(n string) func(*discovery.Endpoint) {
		return func(e *discovery.Endpoint) {
			e.Hints = &discovery.EndpointHints{ForNodes: []discovery.ForNode{{Name: n}}}
		}
	}
	local := func(s *v1.Service) { s.Spec.InternalTrafficPolicy = new(v1.ServiceInternalTrafficPolicyLocal) }
	for name, c := range map[string]struct {
		service   *v1.Service
		endpoints []discovery.Endpoint
		want      string
	}{
		"ready and not":              {service("web"), []discovery.Endpoint{endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b", not)}, "1"},
		"not said is ready":          {service("web"), []discovery.Endpoint{endpoint("10.0.0.1", "a", unsaid)}, "1"},
		"terminating beside ready":   {service("web"), []discovery.Endpoint{endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b", ending)}, "1"},
		"only terminating":           {service("web"), []discovery.Endpoint{endpoint("10.0.0.1", "a", dead), endpoint("10.0.0.2", "b", ending)}, "2"},
		"internal policy Local":      {service("web", local), []discovery.Endpoint{endpoint("10.0.0.1", "us"), endpoint("10.0.0.2", "b")}, "1"},
		"Local without one here":     {service("web", local), []discovery.Endpoint{endpoint("10.0.0.2", "b")}, " drop"},
		"hints for our zone":         {service("web"), []discovery.Endpoint{endpoint("10.0.0.1", "a", zone("z1")), endpoint("10.0.0.2", "b", zone("z2"))}, "1"},
		"one without a hint":         {service("web"), []discovery.Endpoint{endpoint("10.0.0.1", "a", zone("z1")), endpoint("10.0.0.2", "b")}, "12"},
		"hints, none for our zone":   {service("web"), []discovery.Endpoint{endpoint("10.0.0.1", "a", zone("z3")), endpoint("10.0.0.2", "b", zone("z2"))}, "12"},
		"hints for our node":         {service("web"), []discovery.Endpoint{endpoint("10.0.0.1", "us", forNode("us")), endpoint("10.0.0.2", "b", forNode("b"))}, "1"},
		"the same address twice":     {service("web"), []discovery.Endpoint{endpoint("10.0.0.1", "a"), endpoint("10.0.0.1", "a", not)}, "1"},
		"no address, not an address": {service("web"), []discovery.Endpoint{{}, endpoint("nonsense", "a"), endpoint("fd00::1", "a")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r recorder
				p := start(t, &r, endpoints.Options{Node: "us"})
				p.OnTopologyChange(map[string]string{v1.LabelTopologyZone: "z1"})
				p.OnServiceAdd(c.service)
				p.OnEndpointSliceAdd(slice("web-1", "web", c.endpoints...))
				settle()
				got := ""
				for _, e := range r.last[web].Endpoints {
					got += fmt.Sprint(e.Addr.Addr().As4()[3])
				}
				if r.last[web].Drop && got == "" {
					got = " drop"
				}
				if got != c.want {
					t.Errorf("endpoints %q, want %q", got, c.want)
				}
			})
		})
	}
}

// Where several slices have one address, ready wins over terminating, that over neither, and then the first by name.
func TestOneAddressInSeveralSlices(t *testing.T) {
	zone := func(z string) func(*discovery.Endpoint) {
		return func(e *discovery.Endpoint) {
			e.Hints = &discovery.EndpointHints{ForZones: []discovery.ForZone{{Name: z}}}
		}
	}
	gone := func(e *discovery.Endpoint) { e.Conditions.Ready = new(false) }
	ending := func(e *discovery.Endpoint) {
		e.Conditions = discovery.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
	}
	for name, c := range map[string]struct {
		first, second, other discovery.Endpoint
		want                 string
	}{
		"hints, ours first":         {endpoint("10.0.0.1", "a", zone("z1")), endpoint("10.0.0.1", "a", zone("z2")), endpoint("10.0.0.2", "b", zone("z2")), "1"},
		"hints, ours second":        {endpoint("10.0.0.1", "a", zone("z2")), endpoint("10.0.0.1", "a", zone("z1")), endpoint("10.0.0.2", "b", zone("z1")), "2"},
		"ready wins":                {endpoint("10.0.0.1", "a", gone), endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b"), "12"},
		"terminating beats neither": {endpoint("10.0.0.1", "a", gone), endpoint("10.0.0.1", "a", ending), endpoint("10.0.0.2", "b", gone), "1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r recorder
				p := start(t, &r, endpoints.Options{Node: "us"})
				p.OnTopologyChange(map[string]string{v1.LabelTopologyZone: "z1"})
				p.OnServiceAdd(service("web"))
				p.OnEndpointSliceAdd(slice("web-2", "web", c.second))
				p.OnEndpointSliceAdd(slice("web-1", "web", c.first))
				p.OnEndpointSliceAdd(slice("web-3", "web", c.other))
				for range 20 { // a map's order would show itself
					p.OnEndpointSliceUpdate(nil, slice("web-3", "web", c.other))
					settle()
					var got strings.Builder
					for _, e := range r.last[web].Endpoints {
						got.WriteString(fmt.Sprint(e.Addr.Addr().As4()[3]))
					}
					if got.String() != c.want {
						t.Fatalf("endpoints %q, want %q", got.String(), c.want)
					}
				}
			})
		})
	}
}

// What comes from outside follows its own policy.
func TestFromOutside(t *testing.T) {
	nodePort := func(s *v1.Service) { s.Spec.Type, s.Spec.Ports[0].NodePort = v1.ServiceTypeNodePort, 30080 }
	balanced := func(s *v1.Service) {
		nodePort(s)
		s.Spec.Type, s.Spec.ExternalIPs, s.Spec.LoadBalancerSourceRanges = v1.ServiceTypeLoadBalancer, []string{"198.51.100.7", "fd00::7"}, []string{"192.0.2.0/24"}
		s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "198.51.100.8"}, {IP: "198.51.100.9", IPMode: new(v1.LoadBalancerIPModeProxy)}, {Hostname: "lb.example"}}
	}
	internal := func(s *v1.Service) { s.Spec.InternalTrafficPolicy = new(v1.ServiceInternalTrafficPolicyLocal) }
	external := func(s *v1.Service) { s.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal }
	here, there := endpoint("10.0.0.1", "us"), endpoint("10.0.0.2", "b")
	for name, c := range map[string]struct {
		service   *v1.Service
		endpoints []discovery.Endpoint
		want      string
	}{
		"cluster and cluster":          {service("web", nodePort), []discovery.Endpoint{here, there}, "inside 12"},
		"external Local":               {service("web", nodePort, external), []discovery.Endpoint{here, there}, "inside 12, outside 1 kept dropped"},
		"external Local, none here":    {service("web", nodePort, external), []discovery.Endpoint{there}, "inside 2, outside  kept dropped"},
		"external Local, none":         {service("web", nodePort, external), nil, "inside , outside  kept"},
		"internal Local":               {service("web", nodePort, internal), []discovery.Endpoint{here, there}, "inside 1, outside 12"},
		"both Local":                   {service("web", nodePort, internal, external), []discovery.Endpoint{here, there}, "inside 1, outside 1 kept dropped"},
		"external Local, not reached":  {service("web", external), []discovery.Endpoint{here, there}, "inside 12"},
		"load balancer and externalIP": {service("web", balanced), []discovery.Endpoint{here}, "inside 1, at 198.51.100.7 198.51.100.8 from 192.0.2.0/24"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r recorder
				p := start(t, &r, endpoints.Options{Node: "us"})
				p.OnServiceAdd(c.service)
				p.OnEndpointSliceAdd(slice("web-1", "web", c.endpoints...))
				settle()
				s := r.last[web]
				list := func(eps []nftables.Endpoint) (out string) {
					for _, e := range eps {
						out += fmt.Sprint(e.Addr.Addr().As4()[3])
					}
					return out
				}
				got := "inside " + list(s.Endpoints)
				if o := s.Outside; o != nil {
					got += ", outside " + list(o.Endpoints)
					if o.KeepSource {
						got += " kept"
					}
					if o.Drop {
						got += " dropped"
					}
				}
				if len(s.External) > 0 {
					got += fmt.Sprintf(", at %v %v from %v", s.External[0], s.Balancers[0], s.SourceRanges[0])
				}
				if got != c.want || len(s.External) > 1 || len(s.Balancers) > 1 {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}

// Five thousand endpoints of one Service, in fifty slices that overlap, each count once.
func TestManyEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		p := start(t, &r, endpoints.Options{View: site(t)})
		p.OnServiceAdd(service("web"))
		for i := range 50 {
			var eps []discovery.Endpoint
			for j := range 110 { // ten of the next slice too
				k := (i*100 + j) % 5000
				eps = append(eps, endpoint(fmt.Sprintf("10.1.%d.%d", k/250, k%250), []string{"cheap", "dear", "unknown"}[k%3]))
			}
			p.OnEndpointSliceAdd(slice(fmt.Sprint("web-", i), "web", eps...))
		}
		settle()
		s, sum := r.shares(web), 0.0
		for a, v := range s {
			if sum += v; !(v > 0) {
				t.Fatalf("%s starves", a)
			}
		}
		if len(s) != 5000 || sum < 0.999999 || sum > 1.000001 {
			t.Errorf("%d endpoints, shares sum to %v", len(s), sum)
		}
	})
}

func TestOnlyOurServices(t *testing.T) {
	other := func(s *v1.Service) { s.Labels[endpoints.NameLabel] = "someone-else" }
	none := func(s *v1.Service) { delete(s.Labels, endpoints.NameLabel) }
	headless := func(s *v1.Service) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = v1.ClusterIPNone, []string{v1.ClusterIPNone}
	}
	for _, c := range []struct {
		name    string
		all     bool
		service *v1.Service
		want    int
	}{{"labelled", false, service("web"), 1}, {"another proxy's", false, service("web", other), 0}, {"kube-proxy's", false, service("web", none), 0},
		{"headless", false, service("web", headless), 0}, {"in a fork", true, service("web", none), 1}, {"labelled, in a fork", true, service("web"), 0}} {
		synctest.Test(t, func(t *testing.T) {
			var r recorder
			p := start(t, &r, endpoints.Options{All: c.all})
			p.OnServiceAdd(c.service)
			settle()
			if len(r.last) != c.want {
				t.Errorf("%s: %d Services written, want %d", c.name, len(r.last), c.want)
			}
			p.OnServiceUpdate(c.service, service("web", other)) // the label is taken away
			settle()
			if len(r.last) != 0 {
				t.Errorf("%s: it is kept", c.name)
			}
		})
	}
}

// The API server goes away: what is there stays, and weights are still refreshed.
func TestWeightsAreRefreshedWithoutChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		p := start(t, &r, endpoints.Options{View: site(t), Refresh: 5 * time.Second})
		p.OnServiceAdd(service("web"))
		p.OnEndpointSliceAdd(slice("web-1", "web", endpoint("10.0.0.1", "cheap"), endpoint("10.0.0.2", "dear")))
		settle()
		before := r.count()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := r.count() - before; n < 50 || len(r.shares(web)) != 2 {
			t.Errorf("%d refreshes in five minutes of 5 s, shares %v", n, r.shares(web))
		}
	})
}

func TestWatchWithTheRealWriter(t *testing.T) {
	client := fake.NewClientset(service("web"), slice("web-1", "web", endpoint("10.0.0.1", "cheap"), endpoint("10.0.0.2", "dear")))
	nft := knftables.NewFake(knftables.IPv4Family, "leastwatt")
	w, err := nftables.New(nft, knftables.IPv4Family, nftables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	p, err := endpoints.New(map[v1.IPFamily]endpoints.Applier{v1.IPv4Protocol: w}, endpoints.Options{View: site(t), Registerer: reg, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wait := watched(client)
	wg.Go(func() { _ = p.Watch(ctx, client) })
	wg.Go(func() { _ = p.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	await := func(want ...string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			dump, all := nft.Dump(), true
			for _, s := range want {
				all = all && strings.Contains(dump, s)
			}
			if all {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("no %q in\n%s", want, dump)
			}
		}
	}
	await("10.0.0.1 . 8080", "10.0.0.2 . 8080")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		n, err := testutil.GatherAndCount(reg, "leastwatt_endpoint_share_ratio", "leastwatt_endpoint_node_watts", "leastwatt_endpoint_node_age_seconds",
			"leastwatt_endpoint_watts", "leastwatt_endpoint_age_seconds")
		if err == nil && n == 10 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d metrics, %v: want two shares, and watts and ages of endpoints and nodes", n, err)
		}
	}
	wait()
	if err := client.CoreV1().Services("shop").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); strings.Contains(nft.Dump(), "10.0.0.1"); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still there:\n%s", nft.Dump())
		}
	}
}

func TestNewNeedsAnApplier(t *testing.T) {
	if _, err := endpoints.New(nil, endpoints.Options{}); err == nil {
		t.Error("no error")
	}
}
