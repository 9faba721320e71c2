package sensors

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Registerer is where collectors are registered: a [prometheus.Registry], or what wraps one.
type Registerer = prometheus.Registerer

// pollMetrics are the counters of a poller, and the collector of what its snapshot holds.
type pollMetrics struct {
	latency  *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	inFlight prometheus.Gauge
	stuck    prometheus.Gauge
}

func newPollMetrics() *pollMetrics {
	return &pollMetrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "leastwatt_sensor_read_seconds", Help: "How long reads took, by source.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"source"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "leastwatt_sensor_errors_total", Help: "Failures to read a node, or one kind of it, by source and reason.",
		}, []string{"node", "source", "reason"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "leastwatt_sensor_reads_in_flight", Help: "Reads under way.",
		}),
		stuck: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "leastwatt_sensor_reads_stuck", Help: "Reads that were given up, because they ignored their deadline, and have not returned.",
		}),
	}
}

func (m *pollMetrics) register(r Registerer, p *Poller) error {
	var errs []error
	for _, c := range []prometheus.Collector{m.latency, m.errors, m.inFlight, m.stuck, snapshotCollector{p}} {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}

// count counts each of the errors of a read.
func (m *pollMetrics) count(node string, err error) {
	for _, e := range Errors(err) {
		source := "other"
		if s, ok := errors.AsType[*Error](e); ok {
			source = s.Source
		}
		m.errors.WithLabelValues(node, source, Reason(e)).Inc()
	}
}

// forget drops the counters of a node that is no longer read.
func (m *pollMetrics) forget(node string) {
	m.errors.DeletePartialMatch(prometheus.Labels{"node": node})
}

// snapshotCollector tells what the snapshot holds at the time of a scrape.
type snapshotCollector struct{ *Poller }

// Describe implements [prometheus.Collector].
func (snapshotCollector) Describe(c chan<- *prometheus.Desc) {
	c <- readingAge
	c <- nodeFailures
}

// Collect implements [prometheus.Collector].
func (s snapshotCollector) Collect(c chan<- prometheus.Metric) {
	now := time.Now()
	for n := range s.Snapshot().All {
		c <- prometheus.MustNewConstMetric(nodeFailures, prometheus.GaugeValue, float64(n.Failures), n.Node)
		for _, r := range n.Readings {
			c <- prometheus.MustNewConstMetric(readingAge, prometheus.GaugeValue, r.Age(now).Seconds(), n.Node, string(r.Kind), r.Source)
		}
	}
}

var (
	readingAge = prometheus.NewDesc("leastwatt_sensor_reading_age_seconds",
		"How long ago the hardware measured the reading that is in use.", []string{"node", "kind", "source"}, nil)
	nodeFailures = prometheus.NewDesc("leastwatt_sensor_node_failures",
		"Reads of the node that failed in a row.", []string{"node"}, nil)
)
