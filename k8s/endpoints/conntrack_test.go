package endpoints_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// forgetter keeps what it was told to forget since the last look, and fails when told to.
type forgetter struct {
	mu    sync.Mutex
	stale []string
	err   error
}

func (f *forgetter) forget(_ context.Context, stale []endpoints.Stale) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range stale {
		f.stale = append(f.stale, fmt.Sprint(s.Service, " but to ", s.Endpoints))
	}
	return f.err
}

func (f *forgetter) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.stale
	f.stale = nil
	return out
}

// UDP clients of whatever address are torn from endpoints that are gone, and from those alone.
func TestUDPIsForgotten(t *testing.T) {
	udp := func(s *v1.Service) { s.Spec.Ports[0].Protocol = v1.ProtocolUDP }
	reached := func(s *v1.Service) {
		udp(s)
		s.Spec.Type, s.Spec.Ports[0].NodePort, s.Spec.ExternalIPs = v1.ServiceTypeLoadBalancer, 30053, []string{"198.51.100.7"}
		s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "198.51.100.8"}}
	}
	local := func(s *v1.Service) {
		udp(s)
		s.Spec.InternalTrafficPolicy = new(v1.ServiceInternalTrafficPolicyLocal)
	}
	ending := func(e *discovery.Endpoint) {
		e.Conditions = discovery.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
	}
	a, b, there := endpoint("10.0.0.1", "us"), endpoint("10.0.0.2", "us"), endpoint("10.0.0.3", "there")
	vip := func(but string) []string { return []string{"10.96.0.10:80 but to [" + but + "]"} }
	both := "10.0.0.1:8080 10.0.0.2:8080"
	for name, c := range map[string]struct {
		service         *v1.Service
		before, now     []discovery.Endpoint
		atFirst, change []string
	}{
		"one goes":            {service("dns", udp), []discovery.Endpoint{a, b}, []discovery.Endpoint{b}, vip(both), vip("10.0.0.2:8080")},
		"one comes":           {service("dns", udp), []discovery.Endpoint{a}, []discovery.Endpoint{a, b}, vip("10.0.0.1:8080"), nil},
		"the first comes":     {service("dns", udp), nil, []discovery.Endpoint{a}, vip(""), vip("10.0.0.1:8080")},
		"the last goes":       {service("dns", udp), []discovery.Endpoint{a}, nil, vip("10.0.0.1:8080"), vip("")},
		"one ends gracefully": {service("dns", udp), []discovery.Endpoint{a, b}, []discovery.Endpoint{endpoint("10.0.0.1", "us", ending), b}, vip(both), nil},
		"elsewhere":           {service("dns", local), []discovery.Endpoint{a, there}, []discovery.Endpoint{a}, vip("10.0.0.1:8080 10.0.0.3:8080"), vip("10.0.0.1:8080")},
		"TCP":                 {service("web"), []discovery.Endpoint{a, b}, []discovery.Endpoint{b}, nil, nil},
		"every address": {service("dns", reached), []discovery.Endpoint{a, b}, []discovery.Endpoint{a},
			[]string{"0.0.0.0:30053 but to [" + both + "]", "10.96.0.10:80 but to [" + both + "]", "198.51.100.7:80 but to [" + both + "]", "198.51.100.8:80 but to [" + both + "]"},
			[]string{"0.0.0.0:30053 but to [10.0.0.1:8080]", "10.96.0.10:80 but to [10.0.0.1:8080]", "198.51.100.7:80 but to [10.0.0.1:8080]", "198.51.100.8:80 but to [10.0.0.1:8080]"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r recorder
				var f forgetter
				p := start(t, &r, endpoints.Options{Node: "us", Forget: f.forget})
				us := func(eps ...discovery.Endpoint) *discovery.EndpointSlice {
					s := slice("web-1", c.service.Name, eps...)
					s.Ports[0].Protocol = &c.service.Spec.Ports[0].Protocol
					return s
				}
				p.OnServiceAdd(c.service)
				p.OnEndpointSliceAdd(us(c.before...))
				settle()
				// A process that begins does not know what went before.
				if d := cmp.Diff(c.atFirst, last(f.told(), len(c.atFirst))); d != "" {
					t.Errorf("at the start: %s", d)
				}
				p.OnEndpointSliceUpdate(nil, us(c.now...))
				settle()
				if d := cmp.Diff(c.change, f.told()); d != "" {
					t.Errorf("after the change: %s", d)
				}
				p.Sync()
				settle()
				if got := f.told(); len(got) > 0 {
					t.Errorf("nothing changed: %q", got)
				}
				p.OnServiceDelete(c.service)
				settle()
				for _, got := range f.told() {
					if !strings.HasSuffix(got, "[]") {
						t.Errorf("the Service is gone: %q", got)
					}
				}
			})
		})
	}
}

// last returns the last n texts; nil for none.
func last(all []string, n int) []string {
	if len(all) == 0 {
		return nil
	}
	return all[max(len(all)-n, 0):]
}

func TestForgettingIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		f := forgetter{err: errors.New("table is busy")}
		p := start(t, &r, endpoints.Options{Forget: f.forget})
		p.OnServiceAdd(service("dns", func(s *v1.Service) { s.Spec.Ports[0].Protocol = v1.ProtocolUDP }))
		settle()
		if len(f.told()) == 0 || p.Written().IsZero() {
			t.Error("rules are written, whatever conntrack does")
		}
		f.mu.Lock()
		f.err = nil
		f.mu.Unlock()
		for i, want := range []int{1, 0} {
			p.Sync()
			settle()
			if got := f.told(); len(got) != want {
				t.Errorf("sync %d: %q", i, got)
			}
		}
	})
}

func TestConntrackWithoutTheProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := endpoints.Conntrack(t.Context(), []endpoints.Stale{{Service: netip.MustParseAddrPort("10.96.0.10:53")}})
	if err == nil || !strings.Contains(err.Error(), "conntrack") {
		t.Errorf("error is %v", err)
	}
}
