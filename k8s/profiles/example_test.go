package profiles_test

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A node, its profile and its model, told by hand; [profiles.Provider.Follow] takes them from a cluster.
func Example() {
	exporter, err := emulate.Listen(nil, emulate.NewKepler("n1", machine, emulate.KeplerOptions{}))
	if err != nil {
		panic(err)
	}
	defer exporter.Close()
	p, err := profiles.New(profiles.Options{Interval: 50 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()

	p.Put(scoring.Machine{Name: "n1", Cores: 16})
	n := &v1alpha1.NodeProfile{}
	n.Name = "n1"
	n.Spec.Sensors = []v1alpha1.Sensor{{Type: "kepler", URL: exporter.URL + "/metrics"}}
	n.Spec.Power = &v1alpha1.PowerFacts{IdleWatts: new(100.0), PeakWatts: new(300.0)}
	p.SetProfile(n)

	for p.View().Node("n1") == nil || p.View().Node("n1").Err != nil {
		time.Sleep(time.Millisecond)
	}
	v := p.View().Node("n1")
	w, err := v.Predictor.Predict(ctx, v.State)
	fmt.Printf("%s: %.0f W at %.0f %% load, by %q (%v)\n", v.Name, w, 100*v.State.Utilization, v.Model, err)
	cancel()
	<-done
	// Output: n1: 200 W at 50 % load, by "profile: idle and peak" (<nil>)
}
