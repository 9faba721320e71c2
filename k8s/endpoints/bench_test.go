package endpoints_test

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// counted tells when rules were applied and how many endpoints they have.
type counted struct {
	done chan int
}

func (c *counted) Apply(ctx context.Context, services []nftables.Service) (nftables.Result, error) {
	n := 0
	for _, s := range services {
		n += len(s.Endpoints)
	}
	c.done <- n
	return nftables.Result{}, nil
}

// thousand tells a proxier of 1,000 Services of 20 endpoints, and returns their slices.
func thousand(p *endpoints.Proxier) (slices []*discovery.EndpointSlice) {
	for i := range 1000 {
		name := fmt.Sprint("s", i)
		p.OnServiceAdd(service(name, func(s *v1.Service) {
			s.Spec.ClusterIP = netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}).String()
			s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
		}))
		var eps []discovery.Endpoint
		for j := range 20 {
			eps = append(eps, endpoint(fmt.Sprintf("10.%d.%d.%d", j, i>>8, i&255), []string{"cheap", "dear"}[j%2]))
		}
		slices = append(slices, slice(name, name, eps...))
		p.OnEndpointSliceAdd(slices[i])
	}
	p.OnServiceSynced()
	p.OnEndpointSlicesSynced()
	return slices
}

// BenchmarkSync1000x20 measures one change of an endpoint until its rules are handed over, all 1,000 Services of 20
// endpoints weighed anew, and the heap that the proxier and the objects hold.
func BenchmarkSync1000x20(b *testing.B) {
	c := &counted{done: make(chan int)}
	p, err := endpoints.New(map[v1.IPFamily]endpoints.Applier{v1.IPv4Protocol: c}, endpoints.Options{View: site(b), Pause: time.Nanosecond, Refresh: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	slices := thousand(p)
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	if n := <-c.done; n != 20_000 {
		b.Fatalf("%d endpoints", n)
	}
	k := 0
	for b.Loop() {
		k++
		p.OnEndpointSliceUpdate(slices[k%1000], slices[k%1000])
		<-c.done
	}
	b.StopTimer()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/1e6, "MB-heap")
}
