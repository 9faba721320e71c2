package endpoints

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var routeShareDesc = prometheus.NewDesc("leastwatt_route_backend_share_ratio", "Part of a rule's requests that a backend of an HTTPRoute should get.", []string{"namespace", "route", "rule", "backend"}, nil)

// A shownRoute is what the last round decided of one rule. It is not changed.
type shownRoute struct {
	route    *unstructured.Unstructured
	index    int
	backends []backendKey
	parts    []float64
}

type routeMetrics struct {
	writes, failures prometheus.Counter
	last             atomic.Pointer[[]shownRoute]
}

func newRouteMetrics(r prometheus.Registerer) (*routeMetrics, error) {
	m := &routeMetrics{
		writes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "leastwatt_route_writes_total", Help: "HTTPRoutes whose weights were written."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "leastwatt_route_write_failures_total", Help: "Writes of weights that the API server refused."}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.writes, m.failures, m} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Describe implements prometheus.Collector.
func (m *routeMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- routeShareDesc }

// Collect implements prometheus.Collector.
func (m *routeMetrics) Collect(ch chan<- prometheus.Metric) {
	all := m.last.Load()
	if all == nil {
		return
	}
	for _, s := range *all {
		parts := make(map[string]float64, len(s.parts)) // a backend may be named twice
		for j, b := range s.backends {
			parts[b.name.String()] += s.parts[j]
		}
		for name, p := range parts {
			ch <- prometheus.MustNewConstMetric(routeShareDesc, prometheus.GaugeValue, p, s.route.GetNamespace(), s.route.GetName(), strconv.Itoa(s.index), name)
		}
	}
}
