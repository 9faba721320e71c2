package endpoints_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// recorder is an Applier that keeps what it was told last and fails when told to.
type recorder struct {
	mu    sync.Mutex
	last  map[string]nftables.Service
	calls int
	err   error
}

func (r *recorder) Apply(_ context.Context, services []nftables.Service) (nftables.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.err != nil {
		return nftables.Result{}, r.err
	}
	r.last = make(map[string]nftables.Service)
	for _, s := range services {
		r.last[s.Name+"/"+string(s.Protocol)] = s
	}
	return nftables.Result{}, nil
}

func (r *recorder) shares(name string) map[string]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]float64{}
	for _, e := range r.last[name].Endpoints {
		out[e.Addr.String()] = e.Share
	}
	return out
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

func service(name string, change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), Labels: map[string]string{endpoints.NameLabel: endpoints.DefaultName}},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeClusterIP, ClusterIP: "10.96.0.10", ClusterIPs: []string{"10.96.0.10"}, IPFamilies: []v1.IPFamily{v1.IPv4Protocol},
			Ports: []v1.ServicePort{{Name: "http", Port: 80, Protocol: v1.ProtocolTCP}}}}
	for _, c := range change {
		c(s)
	}
	return s
}

func endpoint(ip, node string, change ...func(*discovery.Endpoint)) discovery.Endpoint {
	e := discovery.Endpoint{Addresses: []string{ip}, NodeName: &node, Conditions: discovery.EndpointConditions{Ready: new(true)}}
	for _, c := range change {
		c(&e)
	}
	return e
}

func slice(name, svc string, eps ...discovery.Endpoint) *discovery.EndpointSlice {
	return &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name,
		Labels: map[string]string{discovery.LabelServiceName: svc, endpoints.NameLabel: endpoints.DefaultName}},
		AddressType: discovery.AddressTypeIPv4, Endpoints: eps,
		Ports: []discovery.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(v1.ProtocolTCP)}}}
}

// site returns a view of two servers, one cheap and one dear.
func site(t testing.TB) func() *scoring.View {
	t.Helper()
	return busySite(t, 0.1)
}

// busySite is a site whose cheap server is as busy as that.
func busySite(t testing.TB, cheap float64) func() *scoring.View {
	t.Helper()
	f := scoring.NewFleet(scoring.FleetOptions{})
	snap := map[string]*sensors.NodeReadings{}
	for name, watts := range map[string][]power.Watts{"cheap": {80, 100}, "dear": {80, 400}} {
		c, err := power.EvenPiecewise(watts...)
		if err != nil {
			t.Fatal(err)
		}
		f.Put(scoring.Spec{Name: name, Capacity: power.Capacity{Cores: 10}, Predictor: c})
		snap[name] = &sensors.NodeReadings{Node: name, Readings: []sensors.Reading{{Kind: sensors.CPUUtilization, Value: map[string]float64{"cheap": cheap, "dear": 0.1}[name], At: time.Now(), Source: "test"}}}
	}
	if err := f.Refresh(t.Context(), sensors.NewSnapshot(time.Now(), snap), time.Now()); err != nil {
		t.Fatal(err)
	}
	return f.View
}

// start runs a proxier in a synctest bubble with both kinds of objects synced.
func start(t *testing.T, r endpoints.Applier, o endpoints.Options) *endpoints.Proxier {
	t.Helper()
	p, err := endpoints.New(map[v1.IPFamily]endpoints.Applier{v1.IPv4Protocol: r}, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	p.OnServiceSynced()
	p.OnEndpointSlicesSynced()
	return p
}

// settle lets the proxier do what there is to do.
func settle() {
	time.Sleep(time.Second) // of the bubble's clock
	synctest.Wait()
}

const web = "shop/web:http/tcp"
