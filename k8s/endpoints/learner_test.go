package endpoints_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

func TestLearner(t *testing.T) {
	shop := types.NamespacedName{Namespace: "shop", Name: "web"}
	synctest.Test(t, func(t *testing.T) {
		var l endpoints.Learner
		if _, ok := l.Rate(shop, "http"); ok {
			t.Error("a rate of nothing")
		}
		observe := func(rate, cores float64) {
			l.Observe(time.Now(), []endpoints.Measurement{{Service: shop, Rates: map[string]float64{"http": rate, "admin": 1}, Cores: &cores}})
			time.Sleep(15 * time.Second)
		}
		// A steady rate tells only the mean, resting use included.
		for range 4 {
			observe(99, 3)
		}
		if _, ok := l.CPU(shop, "http"); ok {
			t.Error("learned from four measurements")
		}
		observe(99, 3)
		if i, ok := l.Interval(shop); !ok || math.Abs(i.Estimate-0.03) > 1e-9 || i.Low != 0 {
			t.Errorf("of a steady rate: %+v %v", i, ok)
		}
		// One that moves tells the work of a request: 0.02 core-seconds, and one core at rest.
		for k := range 40 {
			rate := 100 + 50*math.Sin(float64(k))
			observe(rate-1, 1+0.02*rate+0.001*math.Cos(7*float64(k)))
		}
		i, ok := l.Interval(shop)
		if !ok || math.Abs(i.Estimate-0.02) > 5e-4 || !(i.Low < i.Estimate && i.Estimate < i.High) {
			t.Errorf("of a rate that moves: %+v %v", i, ok)
		}
		before, _ := l.CPU(shop, "http")
		observe(math.NaN(), 3)
		observe(-1, 3)
		if after, _ := l.CPU(shop, "http"); after != before {
			t.Error("learned from what is no rate")
		}
		if r, ok := l.Rate(shop, "http"); !ok || r < 49 {
			t.Errorf("rate %v %v", r, ok)
		}
		if n := testutil.CollectAndCount(&l); n != 5 {
			t.Errorf("%d metrics, want two rates and three bounds", n)
		}
		time.Sleep(6 * time.Minute) // the source is gone
		if _, ok := l.Rate(shop, "http"); ok {
			t.Error("a rate of six minutes ago counts")
		}
		if _, ok := l.CPU(shop, "http"); !ok {
			t.Error("what was learned is forgotten")
		}
		l.Forget(func(types.NamespacedName) bool { return false })
		if _, ok := l.CPU(shop, "http"); ok {
			t.Error("a Service that is gone is remembered")
		}
	})
}

func TestBackends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		p := start(t, &r, endpoints.Options{})
		pod := func(name string) func(*discovery.Endpoint) {
			return func(e *discovery.Endpoint) {
				e.TargetRef = &v1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: name}
			}
		}
		p.OnServiceAdd(service("web", func(s *v1.Service) {
			s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: "admin", Port: 81, Protocol: v1.ProtocolTCP})
		}))
		s := slice("web-1", "web", endpoint("10.0.0.1", "a", pod("web-0")), endpoint("10.0.0.2", "b", pod("web-1")), endpoint("10.0.0.3", "b"))
		s.Ports = append(s.Ports, discovery.EndpointPort{Name: new("admin"), Port: new(int32(9090)), Protocol: new(v1.ProtocolTCP)})
		p.OnEndpointSliceAdd(s)
		settle()
		got := p.Backends()[types.NamespacedName{Namespace: "shop", Name: "web"}]
		if len(got) != 2 || got[0].Pod.Name != "web-0" || got[0].Node != "a" || got[1].Pod.Name != "web-1" {
			t.Errorf("backends %v", got)
		}
		// The CPU of a request is that of all pods over all requests, wherever this node sends its own.
		s.Endpoints[0].Hints = &discovery.EndpointHints{ForZones: []discovery.ForZone{{Name: "z1"}}}
		s.Endpoints[1].Hints = &discovery.EndpointHints{ForZones: []discovery.ForZone{{Name: "z2"}}}
		s.Endpoints = s.Endpoints[:2]
		p.OnTopologyChange(map[string]string{v1.LabelTopologyZone: "z1"})
		p.OnEndpointSliceUpdate(nil, s)
		settle()
		if got := p.Backends()[types.NamespacedName{Namespace: "shop", Name: "web"}]; len(got) != 2 || len(r.last[web].Endpoints) != 1 {
			t.Errorf("backends %v, endpoints %v", got, r.last[web].Endpoints)
		}
	})
}
