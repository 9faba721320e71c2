package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	promapi "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/scoring"
	sensorprom "github.com/leastwatt/leastwatt/sensors/prometheus"
)

// rateFlags say where request rates and the CPU of pods come from.
type rateFlags struct {
	source           string // "", "local" or "prometheus"
	url, rateQ, cpuQ string
	tokenFile        string
	interval         time.Duration
}

// The default queries. The first adds up what the proxies of all nodes count, the second is cAdvisor's.
const (
	defaultRateQuery = `sum by (namespace, service, port) (rate(leastwatt_endpoint_new_connections_total[2m]))`
	defaultCPUQuery  = `sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!=""}[2m]))`
)

// A meter measures Services and tells a learner.
type meter struct {
	flags    rateFlags
	api      promapi.API // nil: no CPU
	flows    func(context.Context) ([]nftables.Flow, error)
	backends func() map[types.NamespacedName][]endpoints.Backend
	view     func() *scoring.View
	learner  *endpoints.Learner
	log      *slog.Logger

	at   time.Time // of the last look at the counters
	last map[serviceName]uint64
}

// A serviceName names one port of a Service.
type serviceName struct {
	types.NamespacedName
	port string
}

// parseFlow returns what a flow's Service "namespace/name:port" names.
func parseFlow(f nftables.Flow) (serviceName, bool) {
	i := strings.LastIndexByte(f.Service, ':')
	if i < 0 {
		return serviceName{}, false
	}
	ns, name, ok := strings.Cut(f.Service[:i], "/")
	return serviceName{types.NamespacedName{Namespace: ns, Name: name}, f.Service[i+1:]}, ok
}

// newMeter returns what measures, or nil if the flags want nothing measured.
func newMeter(f rateFlags, flows func(context.Context) ([]nftables.Flow, error), p *endpoints.Proxier, view func() *scoring.View, learner *endpoints.Learner, log *slog.Logger) (*meter, error) {
	m := &meter{flags: f, flows: flows, backends: p.Backends, view: view, learner: learner, log: log}
	switch f.source {
	case "":
		return nil, nil
	case "local", "prometheus":
	default:
		return nil, fmt.Errorf("-rates %q: want local or prometheus", f.source)
	}
	if f.url == "" {
		if f.source == "prometheus" {
			return nil, errors.New("-rates prometheus needs -prometheus")
		}
		return m, nil
	}
	e := sensorprom.Endpoint{URL: f.url}
	if f.tokenFile != "" {
		e.TokenFrom = func() (string, error) {
			b, err := os.ReadFile(f.tokenFile)
			return strings.TrimSpace(string(b)), err
		}
	}
	api, err := sensorprom.NewAPI(e, sensorprom.Options{})
	if err != nil {
		return nil, fmt.Errorf("-prometheus: %w", err)
	}
	m.api = api
	return m, nil
}

// run measures at every interval until ctx ends.
func (m *meter) run(ctx context.Context) {
	tick := time.NewTicker(m.flags.interval)
	defer tick.Stop()
	for {
		if err := m.measure(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn("request rates are not measured; the last ones count for five minutes", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// measure measures once.
func (m *meter) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(m.flags.interval, 5*time.Second))
	defer cancel()
	at := time.Now()
	measured := m.local
	if m.flags.source == "prometheus" {
		measured = m.asked
	}
	rates, err := measured(ctx, at)
	if err != nil {
		return err
	}
	backends := m.backends()
	m.learner.Forget(func(k types.NamespacedName) bool { _, ok := backends[k]; return ok })
	by := make(map[types.NamespacedName]map[string]float64)
	for k, r := range rates {
		if by[k.NamespacedName] == nil {
			by[k.NamespacedName] = make(map[string]float64)
		}
		by[k.NamespacedName][k.port] += r
	}
	cores, err := m.cores(ctx, at)
	var all []endpoints.Measurement
	for k, r := range by {
		all = append(all, endpoints.Measurement{Service: k, Rates: r, Cores: m.sum(backends[k], cores)})
	}
	m.learner.Observe(at, all)
	return err
}

// local returns the rates of new connections that this node's kernel counted since the last time; none the first time.
func (m *meter) local(ctx context.Context, at time.Time) (map[serviceName]float64, error) {
	flows, err := m.flows(ctx)
	if err != nil {
		return nil, err
	}
	now, rates := make(map[serviceName]uint64), make(map[serviceName]float64)
	for _, f := range flows {
		if k, ok := parseFlow(f); ok {
			now[k] += f.New // both families
		}
	}
	if passed := at.Sub(m.at).Seconds(); !m.at.IsZero() && passed > 0 {
		for k, n := range now {
			if before, ok := m.last[k]; ok && n >= before {
				rates[k] = float64(n-before) / passed
			}
		}
	}
	m.at, m.last = at, now
	return rates, nil
}

// asked returns what the rate query answers.
func (m *meter) asked(ctx context.Context, at time.Time) (map[serviceName]float64, error) {
	v, err := m.query(ctx, cmp.Or(m.flags.rateQ, defaultRateQuery), at)
	if err != nil {
		return nil, err
	}
	out := make(map[serviceName]float64)
	for _, s := range v {
		port, _, _ := strings.Cut(string(s.Metric["port"]), "/")
		out[serviceName{types.NamespacedName{Namespace: string(s.Metric["namespace"]), Name: string(s.Metric["service"])}, port}] += float64(s.Value)
	}
	return out, nil
}

// cores returns the cores that each pod uses; nil without a Prometheus.
func (m *meter) cores(ctx context.Context, at time.Time) (map[types.NamespacedName]float64, error) {
	if m.api == nil {
		return nil, nil
	}
	v, err := m.query(ctx, cmp.Or(m.flags.cpuQ, defaultCPUQuery), at)
	if err != nil {
		return nil, err
	}
	out := make(map[types.NamespacedName]float64)
	for _, s := range v {
		out[types.NamespacedName{Namespace: string(s.Metric["namespace"]), Name: string(s.Metric["pod"])}] += float64(s.Value)
	}
	return out, nil
}

func (m *meter) query(ctx context.Context, q string, at time.Time) (model.Vector, error) {
	v, _, _, err := m.api.Query(ctx, q, at)
	if err != nil {
		return nil, fmt.Errorf("query %.80q: %w", q, err)
	}
	vector, ok := v.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("query %.80q answers a %v: want an instant vector", q, v.Type())
	}
	return vector, nil
}

// sum returns the cores of speed 1 that pods use together; nil if one of them is not known, because the rest would
// make requests look cheap.
func (m *meter) sum(pods []endpoints.Backend, cores map[types.NamespacedName]float64) *float64 {
	if len(pods) == 0 || cores == nil {
		return nil
	}
	view, total := m.view(), 0.0
	for _, b := range pods {
		c, ok := cores[b.Pod]
		if !ok {
			return nil
		}
		if view != nil {
			if n := view.Node(b.Node); n != nil && n.Capacity.Speed > 0 {
				c *= n.Capacity.Speed
			}
		}
		total += c
	}
	return &total
}

var connectionsDesc = prometheus.NewDesc("leastwatt_endpoint_new_connections_total", "New connections of a Service port that this node's kernel has divided.", []string{"namespace", "service", "port"}, nil)

// connections shows the kernel's counters as metrics.
type connections struct {
	flows func(context.Context) ([]nftables.Flow, error)
	log   *slog.Logger
}

// Describe implements prometheus.Collector.
func (c connections) Describe(ch chan<- *prometheus.Desc) { ch <- connectionsDesc }

// Collect implements prometheus.Collector.
func (c connections) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	flows, err := c.flows(ctx)
	if err != nil {
		c.log.Warn("connections are not counted", "err", err)
		return
	}
	sums := make(map[serviceName]uint64)
	for _, f := range flows {
		if k, ok := parseFlow(f); ok {
			sums[k] += f.New
		}
	}
	for k, n := range sums {
		ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.CounterValue, float64(n), k.Namespace, k.Name, k.port)
	}
}
