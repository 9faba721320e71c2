package endpoints

import (
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// A gauge is one of the metrics whose series are endpoints or servers.
type gauge struct {
	name, help string
	labels     []string
	desc       *prometheus.Desc
}

func newGauge(name, help string, labels ...string) *gauge {
	return &gauge{name, help, labels, prometheus.NewDesc(name, help, labels, nil)}
}

var (
	endpointLabels = []string{"namespace", "service", "port", "endpoint", "node"}

	shareGauge = newGauge("leastwatt_endpoint_share_ratio", "Part of a Service port's new connections that an endpoint gets.", endpointLabels...)
	knownGauge = newGauge("leastwatt_endpoint_known", "1 where the endpoint's server has a model and fresh readings, else 0.", endpointLabels...)
	addedGauge = newGauge("leastwatt_endpoint_watts", "Watts that an endpoint's requests are predicted to add to its server with the present shares.", endpointLabels...)
	oldGauge   = newGauge("leastwatt_endpoint_age_seconds", "Time since the CPU utilization of an endpoint's server was measured.", endpointLabels...)
	wattsGauge = newGauge("leastwatt_endpoint_node_watts", "Watts that the server of endpoints is predicted to draw with the present shares.", "node")
	ageGauge   = newGauge("leastwatt_endpoint_node_age_seconds", "Time since the CPU utilization of a server of endpoints was measured.", "node")

	gauges = []*gauge{shareGauge, knownGauge, addedGauge, oldGauge, wattsGauge, ageGauge}
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

func newMetrics(r prometheus.Registerer, streamed bool) (*metrics, error) {
	m := &metrics{
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "leastwatt_endpoint_sync_seconds", Help: "Time to weigh all Services and to write what changed.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "leastwatt_endpoint_sync_failures_total", Help: "Syncs that left the rules as they were."}),
	}
	if r == nil {
		return m, nil
	}
	all := []prometheus.Collector{m.latency, m.failures}
	if !streamed {
		all = append(all, m)
	}
	for _, c := range all {
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
	for _, g := range gauges {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	_ = m.each(func(g *gauge, v float64, labels []string) error {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, v, labels...)
		return nil
	})
}

// each calls f for every series of the last sync, those of one gauge together, until it returns an error. The labels are
// f's only until it returns.
func (m *metrics) each(f func(g *gauge, v float64, labels []string) error) error {
	s := m.last.Load()
	if s == nil {
		return nil
	}
	draw, now := balancing.Predict(s.services, s.shares), time.Now()
	nodes := make(map[string]*scoring.Node)
	var labels [5]string
	for _, g := range []*gauge{shareGauge, knownGauge, addedGauge, oldGauge} {
		for i := range s.ports {
			p := &s.ports[i]
			port := p.port + "/" + string(p.rules.Protocol)
			for j := range p.endpoints {
				v, ok := s.value(g, &draw, now, i, j)
				if !ok {
					continue
				}
				e := &p.endpoints[j]
				if g == knownGauge && v == 1 {
					nodes[e.node] = s.services[i].Endpoints[j].Node
				}
				labels = [...]string{p.key.Namespace, p.key.Name, port, e.id, e.node}
				if err := f(g, v, labels[:]); err != nil {
					return err
				}
			}
		}
	}
	for name, w := range draw.Nodes {
		labels[0] = name
		if err := f(wattsGauge, float64(w), labels[:1]); err != nil {
			return err
		}
	}
	for name, n := range nodes {
		if at, ok := measured(n); ok {
			labels[0] = name
			if err := f(ageGauge, now.Sub(at).Seconds(), labels[:1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// value returns a gauge of endpoint j of port i; false where it has none.
func (s *shown) value(g *gauge, draw *balancing.Draw, now time.Time, i, j int) (float64, bool) {
	share, known := &s.shares[i][j], s.shares[i][j].Err == nil
	ep := &s.services[i].Endpoints[j]
	switch g {
	case shareGauge:
		return share.Value, true
	case knownGauge:
		if known {
			return 1, true
		}
		return 0, true
	case addedGauge:
		var w power.Watts
		if known {
			w, known = draw.Added(&s.services[i], ep, share.Value)
		}
		return float64(w), known
	case oldGauge:
		var at time.Time
		if known {
			at, known = measured(ep.Node)
		}
		return now.Sub(at).Seconds(), known
	}
	return 0, false
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

// WriteSeries writes the series of single endpoints and servers as they are after the last sync in Prometheus' text
// format (version 0.0.4), one by one, so that 80,000 of them take no memory. Nothing is written before the first sync.
func (p *Proxier) WriteSeries(w io.Writer) error {
	const chunk = 32 << 10
	var (
		b    = make([]byte, 0, chunk+1024)
		last *gauge
	)
	err := p.metrics.each(func(g *gauge, v float64, labels []string) error {
		if g != last {
			last = g
			b = append(b, "# HELP "+g.name+" "+g.help+"\n# TYPE "+g.name+" gauge\n"...)
		}
		b = append(b, g.name...)
		for i, l := range labels {
			sep := byte(',')
			if i == 0 {
				sep = '{'
			}
			b = append(b, sep)
			b = append(b, g.labels[i]...)
			b = append(b, '=', '"')
			b = append(b, labelValue.Replace(l)...)
			b = append(b, '"')
		}
		b = append(b, '}', ' ')
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
		b = append(b, '\n')
		if len(b) < chunk {
			return nil
		}
		_, err := w.Write(b)
		b = b[:0]
		return err
	})
	if err == nil && len(b) > 0 {
		_, err = w.Write(b)
	}
	return err
}

// labelValue escapes as the text format wants it.
var labelValue = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
