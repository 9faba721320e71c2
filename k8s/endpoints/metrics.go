package endpoints

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

var (
	shareDesc = prometheus.NewDesc("leastwatt_endpoint_share_ratio", "Part of a Service port's new connections that an endpoint gets.", []string{"namespace", "service", "port", "endpoint", "node"}, nil)
	knownDesc = prometheus.NewDesc("leastwatt_endpoint_known", "1 where the endpoint's server has a model and fresh readings, else 0.", []string{"namespace", "service", "port", "endpoint", "node"}, nil)
	addedDesc = prometheus.NewDesc("leastwatt_endpoint_watts", "Watts that an endpoint's requests are predicted to add to its server with the present shares.", []string{"namespace", "service", "port", "endpoint", "node"}, nil)
	oldDesc   = prometheus.NewDesc("leastwatt_endpoint_age_seconds", "Time since the CPU utilization of an endpoint's server was measured.", []string{"namespace", "service", "port", "endpoint", "node"}, nil)
	wattsDesc = prometheus.NewDesc("leastwatt_endpoint_node_watts", "Watts that the server of endpoints is predicted to draw with the present shares.", []string{"node"}, nil)
	ageDesc   = prometheus.NewDesc("leastwatt_endpoint_node_age_seconds", "Time since the CPU utilization of a server of endpoints was measured.", []string{"node"}, nil)
)

// metrics tells of the last sync. It is a prometheus.Collector whose values are of one moment.
type metrics struct {
	latency  prometheus.Histogram
	failures prometheus.Counter
	last     atomic.Pointer[shown]
}

// shown is what the last sync decided. It is not changed.
type shown struct {
	ports    []servicePort
	services []balancing.Service
	shares   [][]balancing.Share
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "leastwatt_endpoint_sync_seconds", Help: "Time to weigh all Services and to write what changed.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "leastwatt_endpoint_sync_failures_total", Help: "Syncs that left the rules as they were."}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.latency, m.failures, m} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) failed() { m.failures.Inc() }

func (m *metrics) synced(took time.Duration, ports []servicePort, services []balancing.Service, shares [][]balancing.Share) {
	m.latency.Observe(took.Seconds())
	m.last.Store(&shown{ports, services, shares})
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{shareDesc, knownDesc, addedDesc, oldDesc, wattsDesc, ageDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.last.Load()
	if s == nil {
		return
	}
	nodes := make(map[string]*scoring.Node)
	draw := balancing.Predict(s.services, s.shares)
	now := time.Now()
	for i := range s.ports {
		p := &s.ports[i]
		port := p.port + "/" + string(p.rules.Protocol)
		for j, e := range p.endpoints {
			labels := []string{p.key.Namespace, p.key.Name, port, e.addr.String(), e.node}
			known := 0.0
			if s.shares[i][j].Err == nil {
				known = 1
				ep := &s.services[i].Endpoints[j]
				nodes[e.node] = ep.Node
				if w, ok := draw.Added(&s.services[i], ep, s.shares[i][j].Value); ok {
					ch <- prometheus.MustNewConstMetric(addedDesc, prometheus.GaugeValue, float64(w), labels...)
				}
				if at, ok := measured(ep.Node); ok {
					ch <- prometheus.MustNewConstMetric(oldDesc, prometheus.GaugeValue, now.Sub(at).Seconds(), labels...)
				}
			}
			ch <- prometheus.MustNewConstMetric(shareDesc, prometheus.GaugeValue, s.shares[i][j].Value, labels...)
			ch <- prometheus.MustNewConstMetric(knownDesc, prometheus.GaugeValue, known, labels...)
		}
	}
	for name, w := range draw.Nodes {
		ch <- prometheus.MustNewConstMetric(wattsDesc, prometheus.GaugeValue, float64(w), name)
	}
	for name, n := range nodes {
		if at, ok := measured(n); ok {
			ch <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, now.Sub(at).Seconds(), name)
		}
	}
}

// measured returns when a node's utilization was measured.
func measured(n *scoring.Node) (time.Time, bool) {
	if n == nil || n.Readings == nil {
		return time.Time{}, false
	}
	for _, r := range n.Readings.Readings {
		if r.Kind == sensors.CPUUtilization {
			return r.At, true
		}
	}
	return time.Time{}, false
}
