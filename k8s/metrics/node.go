package metrics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// The metrics of nodes that no sensor gives.
const (
	predictedPower = "predicted_power_watts"
	marginalPower  = "marginal_power_watts"
)

// cpuPower is the metric of pods and namespaces.
const cpuPower = string(sensors.CPUPower)

// aliases are the names that wao-metrics-adapter gives two kinds.
var aliases = map[string]sensors.Kind{"inlet_temp": sensors.InletTemp, "delta_p": sensors.PressureDelta}

// The labels of samples, beside those of their node.
const (
	nodeLabel   = "node"
	sourceLabel = "source" // the protocol of a measurement, or model
)

// nodeLabels are the labels of a node, and its name as label node.
func nodeLabels(m scoring.Machine) labels.Set {
	set := maps.Clone(m.Labels)
	if set == nil {
		set = make(map[string]string)
	}
	set[nodeLabel] = m.Name
	return set
}

// node returns a node's sample of a metric, measured at most MaxAge before now.
func (p *Provider) node(ctx context.Context, n *scoring.Node, metric string, now time.Time) (sample, error) {
	if n == nil {
		return sample{}, sensors.ErrUnknownNode
	}
	m, _ := p.site.Machine(n.Name)
	m.Name = n.Name
	s := sample{labels: nodeLabels(m)}
	switch metric {
	case predictedPower, marginalPower:
		if n.Err != nil {
			return s, n.Err
		}
		o := scoring.Observe(n.Readings, now, p.opts.MaxAge)
		if o.Utilization != nil {
			return s, o.Utilization
		}
		s.at, s.labels[sourceLabel] = o.At, "model"
		var err error
		s.value, err = p.predict(ctx, n, metric)
		return s, err
	}
	kind, ok := aliases[metric]
	if !ok {
		kind = sensors.Kind(metric)
	}
	r, err := n.Readings.Fresh(kind, now, p.opts.MaxAge)
	s.value, s.at, s.labels[sourceLabel] = r.Value, r.At, sourceOf(r)
	return s, err
}

// predict asks the node's model, which is a table in memory.
func (p *Provider) predict(ctx context.Context, n *scoring.Node, metric string) (float64, error) {
	if metric == predictedPower {
		w, err := n.Predictor.Predict(ctx, n.State)
		return float64(w), err
	}
	costs, err := p.opts.Scorer.Score(ctx, scoring.Demand{CPU: 1}, []scoring.Node{*n})
	if err != nil {
		return 0, err
	}
	if c := costs[0]; c.Err != nil {
		return 0, c.Err
	} else if c.Unit != scoring.Watts {
		return 0, fmt.Errorf("the scorer's cost is in %v, not in watts", c.Unit)
	} else {
		return c.Value, nil
	}
}

// lacks reports whether a node has no such sensor or model at all, as opposed to one that gives nothing now.
// A node of which nothing was read without an error does not tell what it lacks.
func lacks(n *scoring.Node, err error) bool {
	if !errors.Is(err, sensors.ErrNoReading) && !errors.Is(err, sensors.ErrUnknownNode) {
		return false
	}
	r := n.Readings
	if r == nil || r.Tried.IsZero() {
		return false
	}
	for _, e := range sensors.Errors(r.Err) {
		if !errors.Is(e, sensors.ErrUnknownNode) {
			return false
		}
	}
	return true
}
