package config

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
	"github.com/leastwatt/leastwatt/scoring"
)

// HardwareLabel is the label by which a machine says which hardware it is, where a model does not name
// another one. Only letters, of any case, and digits matter, because label values cannot hold the rest.
const HardwareLabel = "leastwatt.github.io/hardware"

// A Model is a power model and the machines that it is for.
type Model struct {
	Name string

	// Nodes, Labels and Hardware say which machines the model is for: all that are given must fit, and
	// where none is given it is for every machine.
	Nodes         map[string]bool
	Labels        map[string]string
	Hardware      string
	HardwareLabel string

	// Predictor is nil where the model depends on the machine: Published looks it up by the machine's own
	// hardware, and models from files and priors are chosen when a machine is bound.
	Predictor power.Predictor
	Published bool

	guess *guess
	files *files

	// remote makes the table of a remote model, to be run; nil for other kinds.
	remote func(*slog.Logger) (*inference.Table, error)

	Speed float64 // per core, see power.Capacity; 0 where unknown
	Off   power.Watts
	Prior bool
	told  bool // Prior is what the file says
	Inlet *power.InletResponse
	GPU   *power.GPU

	Standby power.Watts  // while suspended
	Wake    power.Joules // to start or resume a server; 0 is unknown
}

// PowerStateLabel is the label by which a machine says that it is switched off ("off") or suspended ("standby")
// and is started when work is placed on it.
const PowerStateLabel = "leastwatt.github.io/power-state"

// Bind returns what is known of a machine: the first model that fits. A machine that none fits is an error
// that wraps [power.ErrNoModel]. Models from files are those that [Parse] read, and nothing is learned: see
// [Config.NewSite].
func (c *Config) Bind(m scoring.Machine) (scoring.Spec, error) {
	_, spec, err := c.bind(m)
	return spec, err
}

// bind returns the model that fits, beside what is known of the machine.
func (c *Config) bind(m scoring.Machine) (*Model, scoring.Spec, error) {
	x := c.find(m)
	if x == nil {
		return nil, scoring.Spec{}, fmt.Errorf("%s: no model fits: %w", c.File, power.ErrNoModel)
	}
	spec := scoring.Spec{Name: m.Name, Capacity: power.Capacity{Cores: m.Cores, Speed: x.Speed},
		Predictor: x.Predictor, Model: x.Name, Prior: x.Prior, OffPower: x.Off, Wake: x.Wake}
	switch m.Labels[PowerStateLabel] {
	case "off":
		spec.Off = true
	case "standby":
		spec.Off, spec.OffPower = true, x.Standby
	}
	var err error
	switch {
	case x.Published:
		err = x.bindPublished(m, &spec)
	case x.guess != nil:
		err = x.bindPrior(m, &spec)
	case x.files != nil:
		err = x.bindFile(m, &spec)
	}
	if err != nil {
		return x, scoring.Spec{}, fmt.Errorf("%s: model %q: %w", c.File, x.Name, err)
	}
	return x, spec, nil
}

// find returns the first model that fits a machine, or nil. Hardware that is not in the published table leaves the
// machine to the models after it, where one fits.
func (c *Config) find(m scoring.Machine) *Model {
	var unlisted *Model
	for i := range c.Models {
		x := &c.Models[i]
		if !x.fits(m) {
			continue
		}
		if x.Published {
			if _, err := findServer(m.Labels[x.HardwareLabel]); err != nil {
				unlisted = cmp.Or(unlisted, x)
				continue
			}
		}
		return x
	}
	return unlisted
}

func (x *Model) bindPublished(m scoring.Machine, spec *scoring.Spec) error {
	s, err := findServer(m.Labels[x.HardwareLabel])
	if err != nil {
		return fmt.Errorf("label %s: %w", x.HardwareLabel, err)
	}
	if spec.Predictor, err = x.respond(s.Curve()); err != nil {
		return err
	}
	spec.Model = x.Name + ": " + s.Name()
	if x.Speed == 0 {
		spec.Capacity.Speed = s.Speed()
	}
	return nil
}

func (m *Model) fits(x scoring.Machine) bool {
	if len(m.Nodes) > 0 && !m.Nodes[x.Name] {
		return false
	}
	for k, v := range m.Labels {
		if have, ok := x.Labels[k]; !ok || have != v {
			return false
		}
	}
	if m.Hardware != "" && fold(x.Labels[m.HardwareLabel]) != fold(m.Hardware) {
		return false
	}
	if m.files != nil && m.files.model(x, m.HardwareLabel) == nil {
		return false // a folder without a model of this machine leaves it to the models after it
	}
	// A machine that does not say what it is leaves the look-up to the models after it.
	return !m.Published || x.Labels[m.HardwareLabel] != ""
}

func (m *Model) respond(p power.Predictor) (power.Predictor, error) {
	if m.Inlet != nil && p != nil {
		var err error
		if p, err = power.NewInlet(p, *m.Inlet); err != nil {
			return nil, err
		}
	}
	if m.GPU != nil && p != nil {
		return power.NewGPU(p, *m.GPU)
	}
	return p, nil
}

// fold makes names comparable that had to become label values.
func fold(name string) string {
	return strings.ToLower(strings.Join(strings.FieldsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), " "))
}

// findServer finds a published server by its name or by a label value made of it.
func findServer(name string) (power.Server, error) {
	s, err := power.FindServer(name)
	if err == nil {
		return s, nil
	}
	want := fold(name)
	var found []power.Server
	for _, s := range power.Servers() {
		if fold(s.Name()) == want || fold(s.Model) == want {
			found = append(found, s)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return power.Server{}, err
}

const kinds = "piecewise, linear, exponential, published, prior, remote or file"

func readModel(s *section) Model {
	m := Model{Name: s.text("name", s.path), Labels: s.pairs("labels"), Hardware: s.text("hardware", ""),
		HardwareLabel: s.text("hardwareLabel", HardwareLabel), Speed: s.number("speed", 0, 1000, 0),
		Off: power.Watts(s.number("offWatts", 0, 1e6, 0))}
	if names := s.texts("nodes"); len(names) > 0 {
		m.Nodes = make(map[string]bool, len(names))
		for _, n := range names {
			m.Nodes[n] = true
		}
	}
	m.throughput(s)
	kind := s.text("kind", "")
	var err error
	switch kind {
	case "piecewise":
		m.Predictor, err = readPiecewise(s)
	case "linear":
		m.Predictor = power.Linear{Idle: power.Watts(s.required("idleWatts", 0, 1e6)), Peak: power.Watts(s.required("peakWatts", 0, 1e6))}
	case "exponential":
		m.Predictor = power.Exponential{K0: s.required("k0", -1e6, 1e6), K1: s.required("k1", -1e6, 1e6), K2: s.required("k2", -10, 10)}
	case "published":
		m.Prior = true
		err = m.readPublished(s)
	case "prior":
		m.Prior = true
		m.readGuess(s)
	case "remote":
		m.readRemote(s)
	case "file":
		m.readFile(s)
	case "":
		s.fail("kind", "is missing: want %s", kinds)
	default:
		s.fail("kind", "is %q: want %s", kind, kinds)
	}
	m.told = s.has("prior")
	m.Prior = s.flag("prior", m.Prior)
	m.Inlet = readInlet(s)
	m.readGPU(s)
	m.readWake(s)
	if m.guess != nil && m.guess.learn && m.GPU != nil {
		s.fail("gpu", "is for models that do not learn: one that learns has no part of its own for GPUs")
	}
	if m.guess != nil && m.guess.learn && m.Inlet != nil {
		s.fail("inlet", "is for models that do not learn: one that learns finds the response itself")
	}
	s.done()
	if err == nil {
		m.Predictor, err = m.respond(m.Predictor)
	}
	if err != nil {
		s.fail("", "%w", err)
	}
	return m
}

func (m *Model) throughput(s *section) {
	n := s.take("throughput")
	if n == nil {
		return
	}
	t := s.doc.section(n, s.name("throughput"))
	ops, threads := t.required("ssjOps", 1, 1e15), t.required("threads", 1, 1e6)
	t.done()
	if m.Speed != 0 {
		s.fail("throughput", "and speed say the same: give one of them")
	}
	m.Speed = power.Speed(ops, int(threads))
}

func (m *Model) readPublished(s *section) error {
	name := s.text("server", "")
	if name == "" {
		m.Published = true
		return nil
	}
	server, err := findServer(name)
	if err != nil {
		s.fail("server", "%w", err)
		return nil
	}
	m.Predictor = server.Curve()
	if m.Speed == 0 {
		m.Speed = server.Speed()
	}
	return nil
}

func readPiecewise(s *section) (power.Predictor, error) {
	if s.has("watts") == s.has("knots") {
		s.fail("", "want watts, at even steps from idle to full load, or else knots")
		s.take("watts")
		s.take("knots")
		return nil, nil
	}
	if s.has("watts") {
		var watts []power.Watts
		s.list("watts", func(n *yaml.Node, name string) {
			v, err := number(n)
			if err != nil {
				s.doc.fail(n, name, "%w", err)
			}
			watts = append(watts, power.Watts(v))
		})
		return asPredictor(power.EvenPiecewise(watts...))
	}
	var knots []power.Knot
	s.list("knots", func(n *yaml.Node, name string) {
		k := s.doc.section(n, name)
		knots = append(knots, power.Knot{Utilization: k.required("utilization", 0, 1), Watts: power.Watts(k.required("watts", 0, 1e6))})
		k.done()
	})
	return asPredictor(power.NewPiecewise(knots))
}

// asPredictor keeps a nil curve from becoming a predictor that is not nil.
func asPredictor(p *power.Piecewise, err error) (power.Predictor, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

func readInlet(parent *section) *power.InletResponse {
	n := parent.take("inlet")
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		if n.Value != "published" {
			parent.fail("inlet", "is %q: want published, or a mapping of fields", n.Value)
		}
		r := power.PublishedInletResponse()
		return &r
	}
	s := parent.doc.section(n, parent.name("inlet"))
	r := power.InletResponse{
		Reference: power.Celsius(s.required("referenceCelsius", -100, 200)),
		PerDegree: s.required("perDegree", -1, 1),
		Fan:       power.Watts(s.number("fanWatts", 0, 1e6, 0)),
		FanKnee:   power.Celsius(s.number("fanKneeCelsius", -100, 200, 0)),
		FanGain:   s.number("fanGain", 0, 100, 0),
		FanLimit:  s.number("fanLimit", 0, 100, 0),
		Low:       power.Celsius(s.required("lowCelsius", -100, 200)),
		High:      power.Celsius(s.required("highCelsius", -100, 200)),
	}
	switch o := s.text("outside", "clamp"); o {
	case "clamp":
	case "reject":
		r.Outside = power.Reject
	default:
		s.fail("outside", "is %q: want clamp or reject", o)
	}
	s.done()
	if err := r.Validate(); err != nil {
		s.fail("", "%w", err)
	}
	return &r
}

// required returns a field's number, which must be there.
func (s *section) required(field string, low, high float64) float64 {
	if !s.has(field) {
		s.fail(field, "is missing: want a number from %v to %v", low, high)
	}
	return s.number(field, low, high, low)
}
