package scheduler

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// metrics are counted by the plugins of all profiles and, when asked for, read from the sites.
type metrics struct {
	decisions  *prometheus.CounterVec
	candidates *prometheus.CounterVec
	unknown    *prometheus.CounterVec
	assumed    *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	untold     *prometheus.CounterVec

	shadow *prometheus.CounterVec

	nodes, age, at, source, intensity, price            *prometheus.Desc
	saving, savingJoules, savingGrams, savingRate, dark *prometheus.Desc

	mu      sync.Mutex
	sites   map[int]Site       // guarded by mu
	last    int                // guarded by mu
	shadows map[string]*shadow // guarded by mu: by profile
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwatt_decisions_total",
			Help: "Scheduling cycles, by what the plugin did: scored, skipped (no candidate was known), failed (so skipped)."},
			[]string{"profile", "result"}),
		candidates: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwatt_candidates_total",
			Help: "Candidates of scheduling cycles, by what was known of their cost: known, over_capacity, unknown."},
			[]string{"profile", "state"}),
		unknown: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwatt_candidates_unknown_total",
			Help: "Candidates of scheduling cycles whose cost was unknown, by reason."}, []string{"profile", "reason"}),
		assumed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwatt_candidates_assumed_total",
			Help: "Known candidates of scheduling cycles whose load was taken from what their pods request, because it was not measured."}, []string{"profile"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "leastwatt_prescore_duration_seconds",
			Help:    "Time to bring up to date what pods of one kind cost on all nodes, for each pod that is placed.",
			Buckets: prometheus.ExponentialBuckets(10e-6, 2, 14)}, []string{"profile"}),
		untold: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwatt_notes_dropped_total",
			Help: "Pods that got no event and no annotation (binding: too many were being bound), or no annotation (queue: too many waited for theirs), although it was asked for."},
			[]string{"profile", "reason"}),
		shadow: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwatt_shadow_decisions_total",
			Help: "Pods placed while the plugin only watched, by where it would have placed them: same, other (node), unknown (too little was known), unasked (one candidate, or scores reused)."},
			[]string{"profile", "result"}),
		nodes: prometheus.NewDesc("leastwatt_nodes",
			"Nodes of the cluster, by state: known, or the reason why the state or model is not. Where profiles have several files, a node counts once, as by the one that knows it least.", []string{"state"}, nil),
		source: prometheus.NewDesc("leastwatt_utilization_nodes",
			"Nodes by the source that their load is known from; none is not measured.", []string{"source"}, nil),
		age: prometheus.NewDesc("leastwatt_utilization_age_seconds",
			"Age of the nodes' last utilization samples, by the hardware's time, over the nodes at this moment.", nil, nil),
		at: prometheus.NewDesc("leastwatt_view_timestamp_seconds",
			"When readings and models were last joined, the oldest of several sites; 0 is never.", nil, nil),
		saving: prometheus.NewDesc("leastwatt_shadow_saving_watts",
			"What the pods now running are predicted to draw less, had each gone where the watching plugin would have placed it.", []string{"profile"}, nil),
		savingJoules: prometheus.NewDesc("leastwatt_shadow_saving_joules",
			"The saving that the watching plugin predicts, since the scheduler started; may fall.", []string{"profile"}, nil),
		savingGrams: prometheus.NewDesc("leastwatt_shadow_saving_grams",
			"The saving that the watching plugin predicts in gCO2eq, since the scheduler started; may fall.", []string{"profile"}, nil),
		savingRate: prometheus.NewDesc("leastwatt_shadow_saving_grams_per_hour",
			"What the pods now running are predicted to emit less in gCO2eq an hour, had each gone where the watching plugin would have placed it; missing while the carbon intensity is not known.", []string{"profile"}, nil),
		intensity: prometheus.NewDesc("leastwatt_grid_intensity_grams_per_kwh",
			"Carbon intensity in gCO2eq per kWh as decisions count it, of the zones of the cluster's nodes; missing while it is not known.", []string{"zone", "source"}, nil),
		price: prometheus.NewDesc("leastwatt_grid_price_per_kwh",
			"Price per kWh as decisions count it, of the zones of the cluster's nodes; missing while it is not known.", []string{"zone", "source"}, nil),
		dark: prometheus.NewDesc("leastwatt_shadow_grams_unknown_seconds_total",
			"Time in which the saving in grams was not counted because the carbon intensity was not known.", []string{"profile"}, nil),
		sites:   make(map[int]Site),
		shadows: make(map[string]*shadow),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.decisions, m.candidates, m.unknown, m.assumed, m.duration, m.untold, m.shadow, m} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// watch shows a site's nodes until ctx ends.
func (m *metrics) watch(ctx context.Context, s Site) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	id := m.last
	m.sites[id] = s
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.sites, id)
	})
}

// cast shows a profile's shadow until ctx ends.
func (m *metrics) cast(ctx context.Context, profile string, s *shadow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shadows[profile] = s
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.shadows[profile] == s {
			delete(m.shadows, profile)
		}
	})
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.nodes
	ch <- m.age
	ch <- m.source
	ch <- m.at
	ch <- m.saving
	ch <- m.savingJoules
	ch <- m.savingGrams
	ch <- m.savingRate
	ch <- m.intensity
	ch <- m.price
	ch <- m.dark
}

var ageBounds = []float64{1, 2, 5, 10, 15, 20, 30, 45, 60, 120, 300, 900, 3600}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	sites := make([]Site, 0, len(m.sites))
	for _, id := range slices.Sorted(maps.Keys(m.sites)) {
		sites = append(sites, m.sites[id])
	}
	shadows := maps.Clone(m.shadows)
	m.mu.Unlock()
	for profile, s := range shadows {
		s.collect(ch, m, profile)
	}
	now := time.Now()
	var known, sampled uint64
	var unknown [reasons]uint64
	var sum, oldest float64
	ages := make(map[float64]uint64, len(ageBounds))
	from := make(map[string]int)
	zones := make(map[string]scoring.Tariff)
	views := make([]*scoring.View, len(sites))
	for i, s := range sites {
		views[i] = s.View()
		at := 0.0
		if t := views[i].At(); !t.IsZero() {
			at = float64(t.UnixMilli()) / 1000
		}
		if i == 0 || at < oldest {
			oldest = at
		}
		for n := range views[i].All {
			if n.Meter != nil {
				zones[n.Meter.Zone()] = n.Meter.Tariff()
			}
		}
	}
	for n := range least(views) {
		from[sourceOf(n)]++
		if n.Err == nil {
			known++
		} else {
			unknown[reasonOf(n.Err)]++
		}
		r, ok := n.Readings.Find(sensors.CPUUtilization)
		if !ok {
			continue
		}
		age := r.Age(now).Seconds()
		sampled++
		sum += age
		for _, le := range ageBounds {
			if age <= le {
				ages[le]++
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(m.nodes, prometheus.GaugeValue, float64(known), "known")
	for r, n := range unknown {
		if n > 0 {
			ch <- prometheus.MustNewConstMetric(m.nodes, prometheus.GaugeValue, float64(n), reason(r).String())
		}
	}
	for name, count := range from {
		ch <- prometheus.MustNewConstMetric(m.source, prometheus.GaugeValue, float64(count), name)
	}
	for zone, t := range zones {
		if t.Err == nil && t.IntensityErr == nil {
			ch <- prometheus.MustNewConstMetric(m.intensity, prometheus.GaugeValue, t.Intensity, zone, t.Source)
		}
		if t.Err == nil && t.PriceErr == nil {
			ch <- prometheus.MustNewConstMetric(m.price, prometheus.GaugeValue, t.Price, zone, t.Source)
		}
	}
	ch <- prometheus.MustNewConstHistogram(m.age, sampled, sum, ages)
	ch <- prometheus.MustNewConstMetric(m.at, prometheus.GaugeValue, oldest)
}

// least yields every node of some views once, as the view that knows it least has it: one that does not know its cost, else the one whose
// sample is the oldest or missing.
func least(views []*scoring.View) iter.Seq[*scoring.Node] {
	if len(views) == 1 {
		return views[0].All
	}
	all := make(map[string]*scoring.Node)
	for _, v := range views {
		for n := range v.All {
			if old := all[n.Name]; old == nil || lessKnown(n, old) {
				all[n.Name] = n
			}
		}
	}
	return maps.Values(all)
}

func lessKnown(a, b *scoring.Node) bool {
	if (a.Err == nil) != (b.Err == nil) {
		return a.Err != nil
	}
	x, _ := a.Readings.Find(sensors.CPUUtilization) // at no time, if there is none
	y, _ := b.Readings.Find(sensors.CPUUtilization)
	return x.At.Before(y.At)
}

// sourceOf returns the protocol by which the load of a node is known.
func sourceOf(n *scoring.Node) string {
	r, ok := n.Readings.Find(sensors.CPUUtilization)
	if !ok || n.Unmeasured {
		return "none"
	}
	if i := strings.IndexAny(r.Source, ":|"); i > 0 {
		return r.Source[:i]
	}
	return r.Source
}

// profileMetrics are the metrics of one profile, looked up once.
type profileMetrics struct {
	scored, skipped, failed prometheus.Counter
	assumed                 prometheus.Counter
	known, over, unknownAll prometheus.Counter
	unknown                 [reasons]prometheus.Counter
	duration                prometheus.Observer
}

func (m *metrics) of(profile string) *profileMetrics {
	p := &profileMetrics{
		scored:     m.decisions.WithLabelValues(profile, "scored"),
		skipped:    m.decisions.WithLabelValues(profile, "skipped"),
		failed:     m.decisions.WithLabelValues(profile, "failed"),
		assumed:    m.assumed.WithLabelValues(profile),
		known:      m.candidates.WithLabelValues(profile, "known"),
		over:       m.candidates.WithLabelValues(profile, "over_capacity"),
		unknownAll: m.candidates.WithLabelValues(profile, "unknown"),
		duration:   m.duration.WithLabelValues(profile),
	}
	for r := range p.unknown {
		p.unknown[r] = m.unknown.WithLabelValues(profile, reason(r).String())
	}
	return p
}

// count counts what came out for a pod.
func (p *profileMetrics) count(t *tally) {
	if t.known == 0 {
		p.skipped.Inc()
	} else {
		p.scored.Inc()
	}
	p.known.Add(float64(t.known))
	if t.assumed > 0 {
		p.assumed.Add(float64(t.assumed))
	}
	p.over.Add(float64(t.over))
	for r, n := range t.unknown {
		if n > 0 {
			p.unknown[r].Add(float64(n))
			p.unknownAll.Add(float64(n))
		}
	}
}
