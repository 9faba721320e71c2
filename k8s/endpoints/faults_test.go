package endpoints_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// A port that the writer refuses gets an Event, and the others are written.
func TestRefusedPortsGetAnEvent(t *testing.T) {
	nft := knftables.NewFake(knftables.IPv4Family, "leastwatt")
	w, err := nftables.New(nft, knftables.IPv4Family, nftables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		rec := events.NewFakeRecorder(10)
		p, err := endpoints.New(map[v1.IPFamily]endpoints.Applier{v1.IPv4Protocol: w}, endpoints.Options{Events: rec})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = p.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		p.OnServiceSynced()
		p.OnEndpointSlicesSynced()
		p.OnServiceAdd(service("a"))
		p.OnServiceAdd(service("b")) // with the address of a
		settle()
		if len(rec.Events) != 1 {
			t.Fatalf("%d events, want one", len(rec.Events))
		}
		if e := <-rec.Events; !strings.Contains(e, `belongs to "shop/a:http"`) {
			t.Errorf("event %q", e)
		}
		if !strings.Contains(nft.Dump(), "10.96.0.10 . tcp . 80 : goto reject-new") {
			t.Errorf("a is not there:\n%s", nft.Dump())
		}
	})
}

// A flapping endpoint costs a bounded number of writes, and the end state is written.
func TestFlappingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		p := start(t, &r, endpoints.Options{})
		p.OnServiceAdd(service("web"))
		settle()
		before := r.count()
		for i := range 1000 { // 10 s at 100 a second
			e := endpoint("10.0.0.1", "a")
			e.Conditions.Ready = new(i%2 == 1)
			p.OnEndpointSliceUpdate(nil, slice("web-1", "web", e))
			time.Sleep(10 * time.Millisecond)
		}
		settle()
		if n := r.count() - before; n > 120 || n < 50 {
			t.Errorf("%d writes in 10 s of flapping", n)
		}
		if len(r.shares(web)) != 1 {
			t.Error("the last change is not written")
		}
	})
}

func TestFailedWriteIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recorder{err: errors.New("nft says no")}
		reg := prometheus.NewRegistry()
		p := start(t, &r, endpoints.Options{Registerer: reg})
		p.OnServiceAdd(service("web"))
		settle()
		r.mu.Lock()
		r.err = nil
		r.mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(r.last) != 1 {
			t.Error("not written after the failure ended")
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "leastwatt_endpoint_sync_failures_total" && f.Metric[0].Counter.GetValue() < 1 {
				t.Error("the failure is not counted")
			}
		}
	})
}

// hanging is an Applier whose first call ends only with its context.
type hanging struct {
	recorder
	hung atomic.Bool
}

func (h *hanging) Apply(ctx context.Context, services []nftables.Service) (nftables.Result, error) {
	if !h.hung.Swap(true) {
		<-ctx.Done()
		return nftables.Result{}, ctx.Err()
	}
	return h.recorder.Apply(ctx, services)
}

func TestHangingWriteIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hanging
		p := start(t, &h, endpoints.Options{})
		p.OnServiceAdd(service("web"))
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if h.count() == 0 || len(h.last) != 1 || p.Ready() != nil {
			t.Errorf("%d writes after one that hung, %d Services, %v", h.count(), len(h.last), p.Ready())
		}
	})
}

func TestBadAnnotationsAndUnsupportedGetAnEvent(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1.Service)
		want   string
	}{
		"cpu abc":  {func(s *v1.Service) { s.Annotations = map[string]string{balancing.CPUAnnotation: "abc"} }, "abc"},
		"cpu -5":   {func(s *v1.Service) { s.Annotations = map[string]string{balancing.WAOCPUAnnotation: "-5"} }, "-5"},
		"cpu 1e99": {func(s *v1.Service) { s.Annotations = map[string]string{balancing.CPUAnnotation: "1e99"} }, "1e99"},
		"rate":     {func(s *v1.Service) { s.Annotations = map[string]string{endpoints.RateAnnotation: "many"} }, "many"},
		"cpu twice": {func(s *v1.Service) {
			s.Annotations = map[string]string{balancing.CPUAnnotation: "x", endpoints.RateAnnotation: "0"}
		}, "above 0"},
		"health port": {healthPort, "healthCheckNodePort 31000"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r recorder
				rec := events.NewFakeRecorder(10)
				p := start(t, &r, endpoints.Options{Events: rec})
				p.OnServiceAdd(service("web", c.change))
				p.OnEndpointSliceAdd(slice("web-1", "web", endpoint("10.0.0.1", "a")))
				settle()
				p.Sync()
				settle()
				if len(rec.Events) != 1 {
					t.Fatalf("%d events, want one", len(rec.Events))
				}
				if e := <-rec.Events; !strings.Contains(e, c.want) {
					t.Errorf("event %q", e)
				}
				if len(r.shares(web)) != 1 {
					t.Error("the Service is not served")
				}
			})
		})
	}
}
