package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Fresh values are there under their unit, stale ones are not, and names are as Prometheus wants them.
func TestCollector(t *testing.T) {
	c := NewCollector(New(site(t, time.Now()), Options{Pods: readPods(t, map[string]string{"new": podsOfNew})}))
	want := `
# HELP leastwatt_namespace_cpu_power_watts Watts of packages and memory that Kepler gives the pods of a namespace.
# TYPE leastwatt_namespace_cpu_power_watts gauge
leastwatt_namespace_cpu_power_watts{namespace="batch"} 3
leastwatt_namespace_cpu_power_watts{namespace="shop"} 10.5
# HELP leastwatt_node_power_watts What a node measured last, by the protocol that told it.
# TYPE leastwatt_node_power_watts gauge
leastwatt_node_power_watts{node="new",source="redfish"} 210.25
# HELP leastwatt_node_predicted_power_watts Watts that the model says the node draws in its present state.
# TYPE leastwatt_node_predicted_power_watts gauge
leastwatt_node_predicted_power_watts{node="new",source="model"} 200
`
	names := []string{"leastwatt_namespace_cpu_power_watts", "leastwatt_node_power_watts", "leastwatt_node_predicted_power_watts"}
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
