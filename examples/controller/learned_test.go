package main

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// What is learned of a server without a model is put into its profile's status, again and again, and is there after a
// restart; of one that has a model nothing is learned.
func (s *server) testLearned(t *testing.T) {
	kepler := func(name string) []v1alpha1.Sensor {
		url := listen(t, nil, emulate.NewKepler(name, machine, emulate.KeplerOptions{Platform: true}))
		return []v1alpha1.Sensor{{Type: "kepler", URL: url + "/metrics"}}
	}
	s.apply(t, newNode("l1", "10.0.0.1", nil), newNode("l2", "10.0.0.2", nil),
		&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "l1"}, Spec: v1alpha1.NodeProfileSpec{Sensors: kepler("l1")}},
		&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "l2"}, Spec: v1alpha1.NodeProfileSpec{Sensors: kepler("l2"),
			Power: &v1alpha1.PowerFacts{IdleWatts: new(100.0), PeakWatts: new(200.0)}}})
	_, _, stop := s.run(t, "--learned-every=1s")
	readings := func() int64 {
		if l := s.profile(t, "l1").Status.Learned; l != nil {
			return l.Readings
		}
		return 0
	}
	until(t, "something is learned", func() bool { return readings() > 0 })
	first := readings()
	until(t, "more is learned", func() bool { return readings() > first })
	stop()
	last := readings()
	_, _, stop = s.run(t, "--learned-every=1s")
	until(t, "it goes on from what was learned", func() bool {
		n := readings()
		if n < last {
			t.Fatalf("after the restart it has learned from %d readings, before from %d", n, last)
		}
		return n > last
	})
	stop()
	if l := s.profile(t, "l2").Status.Learned; l != nil {
		t.Errorf("of a server with a model, %d readings were learned from", l.Readings)
	}
}
