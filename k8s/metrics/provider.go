package metrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

// A Site tells of the cluster's servers from memory. A [scoring.Site] is one.
type Site interface {
	View() *scoring.View
	Machine(name string) (scoring.Machine, bool)
}

// Options tune a [Provider]. The zero value works.
type Options struct {
	// MaxAge is how old a sample may be, by the hardware's time; 0 means one minute.
	MaxAge time.Duration

	// Scorer predicts marginal_power_watts; nil means [scoring.EnvelopePower]. Its costs are in watts.
	Scorer scoring.Scorer

	// Pods is what Kepler says of pods; nil serves no metrics of pods and namespaces.
	Pods *kepler.Pods

	// Objects finds pods and namespaces by their labels; nil finds none.
	Objects Objects
}

// Provider answers for custom and external metrics. It is safe for concurrent use.
type Provider struct {
	site Site
	opts Options
}

var _ provider.MetricsProvider = (*Provider)(nil)

// New returns a provider of a site's metrics. It starts nothing.
func New(site Site, o Options) *Provider {
	o.MaxAge = cmp.Or(o.MaxAge, time.Minute)
	if o.Scorer == nil {
		o.Scorer = scoring.EnvelopePower{}
	}
	return &Provider{site: site, opts: o}
}

var (
	nodes      = schema.GroupResource{Resource: "nodes"}
	pods       = schema.GroupResource{Resource: "pods"}
	namespaces = schema.GroupResource{Resource: "namespaces"}
)

// A sample is one value of one object.
type sample struct {
	value  float64
	at     time.Time
	labels labels.Set // of the sample, which metric selectors choose by
}

// GetMetricByName implements [provider.CustomMetricsProvider]. A node is found from within any namespace: a
// HorizontalPodAutoscaler asks for nodes as if they were its namespace's.
func (p *Provider) GetMetricByName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, metricSelector labels.Selector) (*custom_metrics.MetricValue, error) {
	now := time.Now()
	var s sample
	var err error
	switch info.GroupResource {
	case nodes:
		s, err = p.node(ctx, p.site.View().Node(name.Name), info.Metric, now)
	case pods:
		s, err = p.pod(name, info.Metric, now)
	case namespaces:
		s, err = p.namespace(name.Name, info.Metric, now)
	default:
		err = errNoMetrics
	}
	if err == nil {
		err = matches(metricSelector, s)
	}
	if err != nil {
		return nil, notFound(provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name), err)
	}
	return value(info, name, s), nil
}

// matches returns an error where a metric selector does not choose a sample.
func matches(selector labels.Selector, s sample) error {
	if selector == nil || selector.Matches(s.labels) {
		return nil
	}
	return fmt.Errorf("its labels %v do not match %q", s.labels, selector)
}

// GetMetricBySelector implements [provider.CustomMetricsProvider]. Objects without the metric are left out.
func (p *Provider) GetMetricBySelector(ctx context.Context, namespace string, selector labels.Selector, info provider.CustomMetricInfo, metricSelector labels.Selector) (*custom_metrics.MetricValueList, error) {
	names, err := p.names(ctx, info.GroupResource, namespace, selector)
	if err != nil {
		return nil, err
	}
	list := &custom_metrics.MetricValueList{Items: []custom_metrics.MetricValue{}}
	sampleOf := p.samples(ctx, namespace, info, time.Now())
	for _, name := range names {
		s, err := sampleOf(name)
		if err == nil && matches(metricSelector, s) == nil {
			list.Items = append(list.Items, *value(info, types.NamespacedName{Namespace: namespace, Name: name}, s))
		}
	}
	return list, ctx.Err()
}

// samples returns what tells the samples of many objects, by name: what is known is gone through once for all of them.
func (p *Provider) samples(ctx context.Context, namespace string, info provider.CustomMetricInfo, now time.Time) func(name string) (sample, error) {
	switch info.GroupResource {
	case nodes:
		view := p.site.View()
		return func(name string) (sample, error) { return p.node(ctx, view.Node(name), info.Metric, now) }
	case pods:
		all := p.pods(namespace, info.Metric)
		return func(name string) (sample, error) { return p.ofPod(all[name], now) }
	case namespaces:
		all := p.namespaces(info.Metric, now)
		return func(name string) (sample, error) {
			if s := all[name]; s != nil {
				return s.sample, s.err
			}
			return sample{}, errNoPods
		}
	}
	return func(string) (sample, error) { return sample{}, errNoMetrics }
}

// names returns the objects of a resource that a selector chooses.
func (p *Provider) names(ctx context.Context, resource schema.GroupResource, namespace string, selector labels.Selector) ([]string, error) {
	switch {
	case resource == nodes:
		var names []string
		for n := range p.site.View().All {
			if m, ok := p.site.Machine(n.Name); ok && (selector == nil || selector.Matches(labels.Set(m.Labels))) {
				names = append(names, n.Name)
			}
		}
		return names, nil
	case (resource == pods || resource == namespaces) && p.opts.Objects != nil:
		return p.opts.Objects.Names(ctx, resource, namespace, selector)
	}
	return nil, nil
}

// ListAllMetrics implements [provider.CustomMetricsProvider]: what any node gives, however old.
func (p *Provider) ListAllMetrics() []provider.CustomMetricInfo {
	var all []provider.CustomMetricInfo
	for _, m := range p.nodeMetrics() {
		all = append(all, provider.CustomMetricInfo{GroupResource: nodes, Metric: m})
	}
	if p.opts.Pods != nil {
		all = append(all, provider.CustomMetricInfo{GroupResource: pods, Namespaced: true, Metric: cpuPower},
			provider.CustomMetricInfo{GroupResource: namespaces, Metric: cpuPower})
	}
	return all
}

// GetExternalMetric implements [provider.ExternalMetricsProvider]: one value for each node that the selector
// chooses by the node's labels, and by its name as label node. Nodes that do not have such a sensor are left out.
func (p *Provider) GetExternalMetric(ctx context.Context, _ string, selector labels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	now := time.Now()
	list := &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{}}
	var silent []error
	view := p.site.View()
	for n := range view.All {
		m, ok := p.site.Machine(n.Name)
		if !ok || selector != nil && !selector.Matches(nodeLabels(m)) {
			continue
		}
		s, err := p.node(ctx, n, info.Metric, now)
		switch {
		case err == nil:
			list.Items = append(list.Items, external_metrics.ExternalMetricValue{MetricName: info.Metric,
				MetricLabels: map[string]string{nodeLabel: n.Name}, Timestamp: metav1.NewTime(s.at), Value: quantity(s.value)})
		case !lacks(n, err):
			silent = append(silent, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	missing := provider.NewMetricNotFoundForSelectorError(nodes, info.Metric, "*", cmp.Or(selector, labels.Everything()))
	switch {
	case len(silent) > 0:
		return nil, notFound(missing, fmt.Errorf("%d nodes are silent, so a sum would be too small: %w", len(silent), silent[0]))
	case len(list.Items) == 0:
		return nil, notFound(missing, errors.New("no node gives it"))
	}
	return list, nil
}

// ListAllExternalMetrics implements [provider.ExternalMetricsProvider].
func (p *Provider) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	var all []provider.ExternalMetricInfo
	for _, m := range p.nodeMetrics() {
		all = append(all, provider.ExternalMetricInfo{Metric: m})
	}
	return all
}

// nodeMetrics returns the names of the metrics that nodes give, sorted.
func (p *Provider) nodeMetrics() []string {
	seen := make(map[string]bool)
	for n := range p.site.View().All {
		if n.Predictor != nil {
			seen[predictedPower], seen[marginalPower] = true, true
		}
		if n.Readings == nil {
			continue
		}
		for _, r := range n.Readings.Readings {
			seen[string(r.Kind)] = true
			for alias, kind := range aliases {
				if kind == r.Kind {
					seen[alias] = true
				}
			}
		}
	}
	names := make([]string, 0, len(seen))
	for n := range seen {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

var errNoMetrics = errors.New("there are metrics of nodes, pods and namespaces only")

// sourceOf returns the protocol of a reading's source, which unlike the whole of it may stand in a selector.
func sourceOf(r sensors.Reading) string {
	protocol, _, _ := strings.Cut(r.Source, ":")
	return protocol
}
