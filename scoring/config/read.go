package config

import (
	"cmp"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/internal/strictyaml"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

// model reads one model.
func (d *document) model(p *place) Model {
	kind := ""
	if n := strictyaml.Field(p.node, "kind"); n != nil {
		kind = n.Value
	}
	switch kind {
	case "piecewise":
		return read(p, func(m *Model, s *piecewiseSection) (*which, error) { return &s.which, m.piecewise(p, s) })
	case "linear":
		return read(p, func(m *Model, s *linearSection) (*which, error) {
			m.Predictor = power.Linear{Idle: power.Watts(s.IdleWatts), Peak: power.Watts(s.PeakWatts)}
			return &s.which, nil
		})
	case "exponential":
		return read(p, func(m *Model, s *exponentialSection) (*which, error) {
			m.Predictor = power.Exponential{K0: s.K0, K1: s.K1, K2: s.K2}
			return &s.which, nil
		})
	case "published":
		return read(p, func(m *Model, s *publishedSection) (*which, error) {
			m.published(p, s)
			return &s.which, nil
		})
	case "prior":
		return read(p, func(m *Model, s *priorSection) (*which, error) {
			m.prior(p, s)
			return &s.which, nil
		})
	case "remote":
		return read(p, func(m *Model, s *remoteSection) (*which, error) { return &s.which, m.readRemote(p, s) })
	case "file":
		return read(p, func(m *Model, s *fileSection) (*which, error) {
			m.readFile(p, s)
			return &s.which, nil
		})
	}
	d.Decode(p.node, p.path, new(which)) // which tells what is wrong with the kind
	return Model{}
}

// read decodes a section and makes a model of it. What the section says is only looked at where all of it could be
// read.
func read[S any](p *place, kind func(*Model, *S) (*which, error)) Model {
	var m Model
	s := new(S)
	if !p.doc.Decode(p.node, p.path, s) {
		return m
	}
	w, err := kind(&m, s)
	m.which(p, w)
	if err == nil {
		m.Predictor, err = m.respond(m.Predictor)
	}
	if err != nil {
		p.fail("", "%w", err)
	}
	return m
}

// which takes in what all kinds of models have.
func (m *Model) which(p *place, w *which) {
	m.Name, m.Labels, m.Hardware = cmp.Or(w.Name, p.path), w.Labels, w.Hardware
	m.HardwareLabel = cmp.Or(w.HardwareLabel, HardwareLabel)
	m.facts(p, w)
	if len(w.Nodes) > 0 {
		m.Nodes = make(map[string]bool, len(w.Nodes))
		for _, n := range w.Nodes {
			m.Nodes[n] = true
		}
	}
	var err error
	if w.Selector != "" {
		if m.Selector, err = model.ParseSelector(w.Selector); err != nil {
			p.fail("selector", "%w", err)
		}
	}
	if w.Speed != 0 {
		m.Speed = w.Speed
	}
	if t := w.Throughput; t != nil {
		if w.Speed != 0 {
			p.fail("throughput", "and speed say the same: give one of them")
		}
		m.Speed = power.Speed(t.SSJOps, t.Threads)
	}
	if w.Prior != nil {
		m.told, m.Prior = true, *w.Prior
	}
	if w.Inlet != nil {
		m.Inlet = p.inlet(w.Inlet)
	}
	switch {
	case w.Inlet == nil:
	case m.guess != nil && m.guess.learn:
		p.fail("inlet", "is for models that do not learn: one that learns finds the response itself")
	case m.remote != nil:
		p.fail("inlet", "is not for a remote model: give it the feature inlet")
	}
}

func (m *Model) published(p *place, s *publishedSection) {
	m.Prior = true
	if s.Server == "" {
		m.Published = true
		return
	}
	server, err := findServer(s.Server)
	if err != nil {
		p.fail("server", "%w", err)
		return
	}
	m.Predictor, m.Speed = server.Curve(), server.Speed()
}

func (m *Model) piecewise(p *place, s *piecewiseSection) error {
	if p.has("watts") == p.has("knots") {
		p.fail("", "want watts, at even steps from idle to full load, or else knots")
		return nil
	}
	var curve *power.Piecewise
	var err error
	if p.has("watts") {
		watts := make([]power.Watts, len(s.Watts))
		for i, w := range s.Watts {
			watts[i] = power.Watts(w)
		}
		curve, err = power.EvenPiecewise(watts...)
	} else {
		knots := make([]power.Knot, len(s.Knots))
		for i, k := range s.Knots {
			knots[i] = power.Knot{Utilization: k.Utilization, Watts: power.Watts(k.Watts)}
		}
		curve, err = power.NewPiecewise(knots)
	}
	if err == nil { // a nil curve must not become a predictor that is not nil
		m.Predictor = curve
	}
	return err
}

// inlet reads an inlet response; nil where it is wrong.
func (p *place) inlet(n *yaml.Node) *power.InletResponse {
	if n.Kind == yaml.ScalarNode {
		if n.Value != "published" {
			p.fail("inlet", "is %q: want published, or a mapping of fields", n.Value)
			return nil
		}
		return new(power.PublishedInletResponse())
	}
	var s inletSection
	if !p.doc.Decode(n, p.path+".inlet", &s) {
		return nil
	}
	r := power.InletResponse{Reference: power.Celsius(s.ReferenceCelsius), PerDegree: s.PerDegree, Fan: power.Watts(s.FanWatts),
		FanKnee: power.Celsius(s.FanKneeCelsius), FanGain: s.FanGain, FanLimit: s.FanLimit, Low: power.Celsius(s.LowCelsius), High: power.Celsius(s.HighCelsius)}
	if s.Outside == "reject" {
		r.Outside = power.Reject
	}
	if err := r.Validate(); err != nil {
		p.fail("inlet", "%w", err)
		return nil
	}
	return &r
}
