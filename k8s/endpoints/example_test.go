package endpoints_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// show is an Applier that prints instead of writing rules.
type show struct{ stop func() }

func (s show) Apply(_ context.Context, services []nftables.Service) (nftables.Result, error) {
	for _, svc := range services {
		fmt.Println(svc.Name, svc.IPs[0], svc.Endpoints[0].Addr, svc.Endpoints[0].Share)
	}
	s.stop()
	return nftables.Result{}, nil
}

// A proxier is told of objects by its handlers, as by kube-proxy; Watch follows them in a cluster.
func ExampleProxier() {
	ctx, stop := context.WithCancel(context.Background())
	p, err := endpoints.New(map[v1.IPFamily]endpoints.Applier{v1.IPv4Protocol: show{stop}}, endpoints.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	p.OnServiceAdd(service("web"))
	p.OnEndpointSliceAdd(slice("web-1", "web", endpoint("10.0.0.1", "n1")))
	p.OnServiceSynced()
	p.OnEndpointSlicesSynced()
	fmt.Println(errors.Is(p.Run(ctx), context.Canceled))
	// Output:
	// shop/web:http 10.96.0.10 10.0.0.1:8080 1
	// true
}

// Rates and the pods' CPU, from wherever they are measured; Rate and CPU are what [endpoints.Options] want.
func ExampleLearner() {
	var l endpoints.Learner
	web := types.NamespacedName{Namespace: "shop", Name: "web"}
	for i, rate := range []float64{10, 40, 25, 60, 30, 55} {
		l.Observe(time.Now().Add(time.Duration(i-6)*15*time.Second), []endpoints.Measurement{{Service: web, Rates: map[string]float64{"http": rate}, Cores: new(0.5 + 0.02*rate)}})
	}
	rate, _ := l.Rate(web, "http")
	cpu, _ := l.CPU(web, "http")
	fmt.Printf("%.0f requests/s of %.3f core-seconds\n", rate, cpu)
	// Output: 55 requests/s of 0.020 core-seconds
}
