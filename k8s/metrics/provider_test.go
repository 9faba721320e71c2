package metrics

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// fakeSite is a fleet with two fixed machines: "new" was measured 5 s ago, "old" 5 minutes.
type fakeSite struct {
	*scoring.Fleet
	machines map[string]scoring.Machine
}

func (s fakeSite) Machine(name string) (scoring.Machine, bool) {
	m, ok := s.machines[name]
	return m, ok
}

func site(t *testing.T, now time.Time) fakeSite {
	t.Helper()
	s := fakeSite{scoring.NewFleet(scoring.FleetOptions{}), map[string]scoring.Machine{
		"new":  {Name: "new", Labels: map[string]string{"rack": "a"}},
		"old":  {Name: "old", Labels: map[string]string{"rack": "b"}},
		"bare": {Name: "bare", Labels: map[string]string{"rack": "a"}},
	}}
	readings := make(map[string]*sensors.NodeReadings)
	for name, at := range map[string]time.Time{"new": now.Add(-5 * time.Second), "old": now.Add(-5 * time.Minute)} {
		s.Put(scoring.Spec{Name: name, Capacity: power.Capacity{Cores: 10}, Predictor: power.Linear{Idle: 100, Peak: 300}})
		readings[name] = &sensors.NodeReadings{Node: name, Tried: now, Good: at, Readings: []sensors.Reading{
			{Kind: sensors.CPUUtilization, Value: 0.5, At: at, Source: "kepler:cpu_usage_ratio"},
			{Kind: sensors.Power, Value: 210.25, At: at.Add(-time.Second), Source: "redfish:PowerControl"},
			{Kind: sensors.InletTemp, Value: 24.5, At: at, Source: "redfish:Thermal"},
			{Kind: sensors.PressureDelta, Value: -1.5, At: at, Source: "pressure:by_nodename"},
		}}
	}
	// A node without a BMC and without a model: it was asked, and has nothing of the kind.
	s.Put(scoring.Spec{Name: "bare"})
	readings["bare"] = &sensors.NodeReadings{Node: "bare", Tried: now, Readings: []sensors.Reading{{Kind: sensors.CPUUtilization, Value: 0.1, At: now}}}
	if err := s.Refresh(t.Context(), sensors.NewSnapshot(now, readings), now); err != nil {
		t.Fatal(err)
	}
	return s
}

func of(resource schema.GroupResource, metric string) provider.CustomMetricInfo {
	return provider.CustomMetricInfo{GroupResource: resource, Metric: metric}
}

// Each metric has the hardware's value and time, under WAO's names as well.
func TestNodeMetrics(t *testing.T) {
	now := time.Now()
	p := New(site(t, now), Options{})
	for metric, want := range map[string]struct {
		milli int64
		age   time.Duration
	}{
		"power_watts":            {210250, 6 * time.Second},
		"inlet_temp":             {24500, 5 * time.Second},
		"inlet_temp_celsius":     {24500, 5 * time.Second},
		"delta_p":                {-1500, 5 * time.Second},
		"pressure_delta_pascals": {-1500, 5 * time.Second},
		"predicted_power_watts":  {200000, 5 * time.Second}, // 100 + 200 · 0.5
		"marginal_power_watts":   {20000, 5 * time.Second},  // 200 W over 10 cores
	} {
		// With a namespace, as a HorizontalPodAutoscaler asks.
		v, err := p.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "shop", Name: "new"}, of(nodes, metric), labels.Everything())
		if err != nil {
			t.Errorf("%s: %v", metric, err)
			continue
		}
		if v.Value.MilliValue() != want.milli || !v.Timestamp.Time.Equal(now.Add(-want.age)) {
			t.Errorf("%s is %v at %v, want %d m %v before %v", metric, &v.Value, v.Timestamp, want.milli, want.age, now)
		}
		if d := v.DescribedObject; d.Kind != "Node" || d.APIVersion != "v1" || d.Name != "new" || d.Namespace != "" {
			t.Errorf("%s describes %+v", metric, d)
		}
	}
}

// What is stale, unknown or never measured is not found: never 0, never an older value.
func TestMissing(t *testing.T) {
	p := New(site(t, time.Now()), Options{})
	for _, c := range []struct{ node, metric, why string }{
		{"old", "power_watts", "stale"},
		{"old", "predicted_power_watts", "stale"},
		{"old", "marginal_power_watts", "stale"},
		{"new", "gpu_power_watts", "no reading"},
		{"bare", "predicted_power_watts", "no model"},
		{"nobody", "power_watts", "unknown node"},
	} {
		v, err := p.GetMetricByName(t.Context(), types.NamespacedName{Name: c.node}, of(nodes, c.metric), labels.Everything())
		if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s of %s: %v, %v; want not found, because %s", c.metric, c.node, v, err, c.why)
		}
	}
	if _, err := p.GetMetricByName(t.Context(), types.NamespacedName{Name: "x"}, of(schema.GroupResource{Resource: "services"}, "power_watts"), nil); !apierrors.IsNotFound(err) {
		t.Errorf("a service has watts: %v", err)
	}
}

// A list holds the objects that the labels choose and that have the metric.
func TestSelectors(t *testing.T) {
	p := New(site(t, time.Now()), Options{})
	for _, c := range []struct {
		objects, metric string
		want            []string
	}{
		{"", "", []string{"new"}},
		{"rack=a", "", []string{"new"}},
		{"rack=b", "", []string{}},
		{"", "source=redfish", []string{"new"}},
		{"", "source=ipmi", []string{}},
		{"", "rack in (a)", []string{"new"}},
	} {
		objects, metric := parseSelector(t, c.objects), parseSelector(t, c.metric)
		l, err := p.GetMetricBySelector(t.Context(), "", objects, of(nodes, "power_watts"), metric)
		got := []string{}
		if err == nil {
			for _, v := range l.Items {
				got = append(got, v.DescribedObject.Name)
			}
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%q, %q: %v %s", c.objects, c.metric, err, diff)
		}
	}
}

func parseSelector(t *testing.T, s string) labels.Selector {
	t.Helper()
	sel, err := labels.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

// An external metric is there for all nodes that a sum needs, or not at all; a node without such a sensor is
// no part of the sum.
func TestExternal(t *testing.T) {
	p := New(site(t, time.Now()), Options{})
	get := func(selector string) ([]string, error) {
		l, err := p.GetExternalMetric(t.Context(), "any", parseSelector(t, selector), provider.ExternalMetricInfo{Metric: "power_watts"})
		if err != nil {
			return nil, err
		}
		var got []string
		for _, v := range l.Items {
			got = append(got, v.MetricLabels["node"]+"="+v.Value.String())
		}
		return got, nil
	}
	for _, selector := range []string{"rack=a", "node=new", "node in (new,bare)"} {
		if got, err := get(selector); err != nil || !cmp.Equal(got, []string{"new=210250m"}) {
			t.Errorf("%s: %v, %v", selector, got, err)
		}
	}
	for selector, why := range map[string]string{"": "1 nodes are silent", "rack=b": "stale", "node=bare": "no node gives it"} {
		if got, err := get(selector); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, %v; want not found, because %s", selector, got, err, why)
		}
	}
}

// A node whose sensors failed from the start may belong to the sum.
func TestExternalOfUnreadNode(t *testing.T) {
	now := time.Now()
	s := site(t, now)
	for _, c := range []struct {
		readings *sensors.NodeReadings
		found    bool
	}{
		{nil, false},
		{&sensors.NodeReadings{Node: "bare"}, false},
		{&sensors.NodeReadings{Node: "bare", Tried: now, Err: sensors.ErrUnreachable}, false},
		{&sensors.NodeReadings{Node: "bare", Tried: now, Err: sensors.ErrUnknownNode}, true},
		{&sensors.NodeReadings{Node: "bare", Tried: now}, true},
	} {
		all := map[string]*sensors.NodeReadings{"new": s.View().Node("new").Readings}
		if c.readings != nil {
			all["bare"] = c.readings
		}
		if err := s.Refresh(t.Context(), sensors.NewSnapshot(now, all), now); err != nil {
			t.Fatal(err)
		}
		_, err := New(s, Options{}).GetExternalMetric(t.Context(), "", parseSelector(t, "rack=a"), provider.ExternalMetricInfo{Metric: "power_watts"})
		if (err == nil) != c.found {
			t.Errorf("readings %+v: %v", c.readings, err)
		}
	}
}

// Discovery names what can be asked for.
func TestList(t *testing.T) {
	p := New(site(t, time.Now()), Options{})
	want := []string{"cpu_utilization_ratio", "delta_p", "inlet_temp", "inlet_temp_celsius", "marginal_power_watts", "power_watts", "predicted_power_watts", "pressure_delta_pascals"}
	var got, external []string
	for _, m := range p.ListAllMetrics() {
		got = append(got, m.Metric)
		if m.Namespaced || m.GroupResource != nodes {
			t.Errorf("%v", m)
		}
	}
	for _, m := range p.ListAllExternalMetrics() {
		external = append(external, m.Metric)
	}
	if diff := cmp.Diff(want, got) + cmp.Diff(want, external); diff != "" {
		t.Error(diff)
	}
}

// A quantity is the value to a millionth, or to a billionth part of it.
func TestQuantity(t *testing.T) {
	for _, v := range []float64{0, 0.000001, 0.03, 1.5, -12.25, 210.123456, 1e9 + 0.5, 4.2e12, 1e15, 3e18, 1e300} {
		q := quantity(v)
		want := max(-math.MaxInt64/2, min(math.MaxInt64/2, v))
		if got := q.AsApproximateFloat64(); math.Abs(got-want) > max(1e-6, 1e-9*math.Abs(want)) {
			t.Errorf("%v is %v = %v", v, q.String(), got)
		}
	}
}

// A caller that has gone is told so, and not that there is nothing.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if l, err := New(site(t, time.Now()), Options{}).GetMetricBySelector(ctx, "", nil, of(nodes, "marginal_power_watts"), nil); err == nil {
		t.Errorf("list of %d", len(l.Items))
	}
}
