package endpoints_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// HTTP requests are counted by Service, not by port: such a rate counts for a Service's only port.
func TestRatesOfServices(t *testing.T) {
	two := func(s *v1.Service) {
		s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: "admin", Port: 81, Protocol: v1.ProtocolTCP})
	}
	for name, c := range map[string]struct {
		change func(*v1.Service)
		rates  map[string]float64
		want   float64 // the rate that the shares of http are made of; 0 is none
	}{
		"of the port":             {func(*v1.Service) {}, map[string]float64{"http": 70, "": 5}, 70},
		"of the Service":          {func(*v1.Service) {}, map[string]float64{"": 70}, 70},
		"of a Service, two ports": {two, map[string]float64{"": 70}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var r recorder
			var w rateRecorder
			p := start(t, &r, endpoints.Options{Weigher: &w, Rate: func(_ types.NamespacedName, port string) (float64, bool) {
				v, ok := c.rates[port]
				return v, ok
			}})
			p.OnServiceAdd(service("web", c.change))
			settle()
			if got := w.of("IPv4 shop/web:http/tcp"); got != c.want {
				t.Errorf("%s: rate %v, want %v", name, got, c.want)
			}
		})
	}
}

// As long as nobody knows how many requests there are, no endpoint gets much more of them than the others.
func TestUnknownRateIsDividedWithCare(t *testing.T) {
	annotated := func(s *v1.Service) { s.Annotations = map[string]string{endpoints.RateAnnotation: "10"} }
	for name, c := range map[string]struct {
		shares map[string]float64 // by node
		change func(*v1.Service)
		want   map[string]float64
	}{
		"two":          {map[string]float64{"a": 0.975, "b": 0.025}, nil, map[string]float64{"a": 0.75, "b": 0.25}},
		"in order":     {map[string]float64{"a": 0.9, "b": 0.06, "c": 0.04}, nil, map[string]float64{"a": 0.5, "b": 0.3, "c": 0.2}},
		"two too many": {map[string]float64{"a": 0.8, "b": 0.19, "c": 0.006, "d": 0.004}, nil, map[string]float64{"a": 0.375, "b": 0.375, "c": 0.15, "d": 0.1}},
		"none":         {map[string]float64{"a": 1, "b": 0, "c": 0}, nil, map[string]float64{"a": 0.5, "b": 0.25, "c": 0.25}},
		"moderate":     {map[string]float64{"a": 0.4, "b": 0.35, "c": 0.25}, nil, map[string]float64{"a": 0.4, "b": 0.35, "c": 0.25}},
		"one":          {map[string]float64{"a": 1}, nil, map[string]float64{"a": 1}},
		"rate known":   {map[string]float64{"a": 0.975, "b": 0.025}, annotated, map[string]float64{"a": 0.975, "b": 0.025}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.change == nil {
					c.change = func(*v1.Service) {}
				}
				nodes := slices.Sorted(maps.Keys(c.shares))
				var values []float64
				var eps []discovery.Endpoint
				want := map[string]float64{}
				for i, n := range nodes {
					ip := fmt.Sprintf("10.0.0.%d", i+1)
					eps, values = append(eps, endpoint(ip, n)), append(values, c.shares[n])
					want[ip+":8080"] = c.want[n]
				}
				var r recorder
				p := start(t, &r, endpoints.Options{Weigher: fixed(values)})
				p.OnServiceAdd(service("web", c.change))
				p.OnEndpointSliceAdd(slice("web-1", "web", eps...))
				settle()
				if d := cmp.Diff(want, r.shares(web), cmpopts.EquateApprox(0, 1e-12)); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

// fixed is a Weigher that always says the same.
type fixed []float64

func (f fixed) Weigh(_ context.Context, services []balancing.Service) ([][]balancing.Share, error) {
	out := make([][]balancing.Share, len(services))
	for i := range services {
		for j := range services[i].Endpoints {
			out[i] = append(out[i], balancing.Share{Value: f[j]})
		}
	}
	return out, nil
}

// What policies and hints leave to other nodes is no load of the endpoints that are left.
func TestRatesOfSomeOfTheEndpoints(t *testing.T) {
	zone := func(z string) func(*discovery.Endpoint) {
		return func(e *discovery.Endpoint) {
			e.Hints = &discovery.EndpointHints{ForZones: []discovery.ForZone{{Name: z}}}
		}
	}
	ending := func(e *discovery.Endpoint) {
		e.Conditions = discovery.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
	}
	local := func(s *v1.Service) { s.Spec.InternalTrafficPolicy = new(v1.ServiceInternalTrafficPolicyLocal) }
	outside := func(s *v1.Service) {
		s.Spec.Type, s.Spec.Ports[0].NodePort, s.Spec.ExternalTrafficPolicy = v1.ServiceTypeNodePort, 30080, v1.ServiceExternalTrafficPolicyLocal
	}
	for name, c := range map[string]struct {
		change    func(*v1.Service)
		endpoints []discovery.Endpoint
		want      float64 // of 60
	}{
		"all":              {func(*v1.Service) {}, []discovery.Endpoint{endpoint("10.0.0.1", "us"), endpoint("10.0.0.2", "b"), endpoint("10.0.0.3", "b", ending)}, 60},
		"those of a zone":  {func(*v1.Service) {}, []discovery.Endpoint{endpoint("10.0.0.1", "a", zone("z1")), endpoint("10.0.0.2", "b", zone("z2")), endpoint("10.0.0.3", "c", zone("z2"))}, 20},
		"those here":       {local, []discovery.Endpoint{endpoint("10.0.0.1", "us"), endpoint("10.0.0.2", "b"), endpoint("10.0.0.3", "b", ending)}, 30},
		"all, some by one": {outside, []discovery.Endpoint{endpoint("10.0.0.1", "us"), endpoint("10.0.0.2", "b")}, 60},
		"none":             {local, []discovery.Endpoint{endpoint("10.0.0.2", "b")}, 60},
	} {
		synctest.Test(t, func(t *testing.T) {
			var r recorder
			var w rateRecorder
			p := start(t, &r, endpoints.Options{Node: "us", Weigher: &w, Rate: func(types.NamespacedName, string) (float64, bool) { return 60, true }})
			p.OnTopologyChange(map[string]string{v1.LabelTopologyZone: "z1"})
			p.OnServiceAdd(service("web", c.change))
			p.OnEndpointSliceAdd(slice("web-1", "web", c.endpoints...))
			settle()
			if got := w.of("IPv4 shop/web:http/tcp"); got != c.want {
				t.Errorf("%s: rate %v, want %v", name, got, c.want)
			}
		})
	}
}

// rateRecorder divides evenly and keeps the rates that it is told.
type rateRecorder struct {
	balancing.Uniform
	mu    sync.Mutex
	rates map[string]float64
}

func (w *rateRecorder) Weigh(ctx context.Context, services []balancing.Service) ([][]balancing.Share, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rates = make(map[string]float64)
	for i := range services {
		w.rates[services[i].Name] = services[i].Rate
	}
	return w.Uniform.Weigh(ctx, services)
}

func (w *rateRecorder) of(name string) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rates[name]
}
