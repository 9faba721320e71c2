package metrics

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/sensors"
)

// Collector exposes what a [Provider] has to Prometheus: leastwatt_node_KIND of each kind of package sensors,
// leastwatt_node_predicted_power_watts, leastwatt_node_marginal_power_watts, and
// leastwatt_namespace_cpu_power_watts. What is stale is missing. Samples bear no time of their own, so that
// Prometheus marks the end of what goes missing; leastwatt_sensor_reading_age_seconds tells how old they are.
type Collector struct {
	provider *Provider
	nodes    map[string]nodeDesc // by metric of the provider
	spaces   *prometheus.Desc
}

type nodeDesc struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// NewCollector returns a collector to register.
func NewCollector(p *Provider) *Collector {
	c := &Collector{provider: p, nodes: make(map[string]nodeDesc),
		spaces: prometheus.NewDesc("leastwatt_namespace_cpu_power_watts", "Watts of packages and memory that Kepler gives the pods of a namespace.", []string{"namespace"}, nil)}
	add := func(metric, help string) {
		kind := prometheus.GaugeValue
		if strings.HasSuffix(metric, "_total") {
			kind = prometheus.CounterValue
		}
		c.nodes[metric] = nodeDesc{prometheus.NewDesc("leastwatt_node_"+metric, help, []string{"node", sourceLabel}, nil), kind}
	}
	for _, k := range sensors.Kinds() {
		add(string(k), "What a node measured last, by the protocol that told it.")
	}
	add(predictedPower, "Watts that the model says the node draws in its present state.")
	add(marginalPower, "Watts that one more core of work is predicted to add to the node.")
	return c
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.nodes {
		ch <- d.desc
	}
	ch <- c.spaces
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	ctx := context.Background() // reads memory only
	for n := range c.provider.site.View().All {
		for metric, d := range c.nodes {
			if s, err := c.provider.node(ctx, n, metric, now); err == nil {
				ch <- prometheus.MustNewConstMetric(d.desc, d.kind, s.value, n.Name, s.labels[sourceLabel])
			}
		}
	}
	for namespace, s := range c.provider.namespaces(cpuPower, now) {
		if s.err == nil {
			ch <- prometheus.MustNewConstMetric(c.spaces, prometheus.GaugeValue, s.value, namespace)
		}
	}
}
