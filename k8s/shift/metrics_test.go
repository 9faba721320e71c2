package shift

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A namespace has a series for each limit of its budget, and none when that is gone.
func TestLimits(t *testing.T) {
	r := prometheus.NewRegistry()
	m, err := newMetrics(r)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		policies *Policies
		want     string
	}{
		{&Policies{Namespaces: map[string]Policy{"a": {Budget: &Budget{KWhPerDay: 2}}, "b": {Budget: &Budget{KWhPerDay: 3, GramsPerDay: 500}}, "c": {}}}, "grams b 500, kilowatthours a 2, kilowatthours b 3"},
		{&Policies{Namespaces: map[string]Policy{"a": {Budget: &Budget{GramsPerDay: 7}}, "b": {}}}, "grams a 7"},
		{&Policies{Namespaces: map[string]Policy{"b": {Budget: &Budget{KWhPerDay: 1}}}}, "kilowatthours b 1"},
		{nil, ""},
	} {
		m.limits(step.policies, nil)
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range families {
			if limit, ok := strings.CutPrefix(f.GetName(), "leastwatt_shift_budget_"); ok && (limit == "grams" || limit == "kilowatthours") {
				for _, x := range f.GetMetric() {
					got = append(got, fmt.Sprintf("%s %s %g", limit, x.GetLabel()[0].GetValue(), x.GetGauge().GetValue()))
				}
			}
		}
		if text := strings.Join(got, ", "); text != step.want {
			t.Errorf("step %d: %s, want %s", i, text, step.want)
		}
	}
}
