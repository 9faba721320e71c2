package config

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/power/prior"
	"github.com/leastwatt/leastwatt/scoring"
)

// HardwareLabel is the label by which a machine says which hardware it is, where a model does not name
// another one. Only letters, of any case, and digits matter, because label values cannot hold the rest.
const HardwareLabel = "leastwatt.github.io/hardware"

// A Model is a power model and the machines that it is for.
type Model struct {
	Name string

	// Nodes, Labels, Selector and Hardware say which machines the model is for: all that are given must fit, and
	// where none is given it is for every machine. Hardware is a pattern as of [model.MatchHardware], of the
	// value of HardwareLabel, the system or the CPU.
	Nodes         map[string]bool
	Labels        map[string]string
	Selector      model.Selector
	Hardware      string
	HardwareLabel string

	// Predictor is nil where the model depends on the machine: Published looks it up by the machine's own
	// hardware, and models from files and priors are chosen when a machine is bound.
	Predictor power.Predictor
	Published bool

	guess *guess
	files *files

	// remote makes what answers for a remote model, to be run; nil for other kinds.
	remote func(*slog.Logger) (asked, error)

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
			if _, err := x.server(m); err != nil {
				unlisted = cmp.Or(unlisted, x)
				continue
			}
		}
		return x
	}
	return unlisted
}

func (x *Model) bindPublished(m scoring.Machine, spec *scoring.Spec) error {
	s, err := x.server(m)
	if err != nil {
		return err
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
	if !m.Selector.Matches(x.Labels) || m.Hardware != "" && !matchHardware(m.Hardware, m.names(x)) {
		return false
	}
	if m.files != nil {
		if f, err := m.files.model(x, m.names(x)); f == nil && err == nil {
			return false // a folder without a model of this machine leaves it to the models after it
		}
	}
	// A machine that does not say what it is leaves the look-up to the models after it.
	return !m.Published || x.Labels[m.HardwareLabel] != "" || x.Hardware.System != ""
}

// names returns what a machine's hardware goes by: what its label says, its system and its CPU as its BMC tells them.
func (m *Model) names(x scoring.Machine) (names []string) {
	for _, n := range []string{x.Labels[m.HardwareLabel], x.Hardware.System, x.Hardware.CPU} {
		if n != "" {
			names = append(names, n)
		}
	}
	return names
}

// matchHardware tells whether one of the names matches a pattern, also without the maker that stands before it.
func matchHardware(pattern string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return model.MatchHardware(pattern, name) || !strings.Contains(pattern, "*") && strings.HasSuffix(fold(name), " "+fold(pattern))
	})
}

// server returns the published server that a machine is, by its label, else by what its BMC tells.
func (m *Model) server(x scoring.Machine) (power.Server, error) {
	label := x.Labels[m.HardwareLabel]
	s, err := findServer(label)
	if err == nil || x.Hardware.System == "" {
		if err != nil {
			err = fmt.Errorf("label %s: %w", m.HardwareLabel, err)
		}
		return s, err
	}
	if s, err := findServer(x.Hardware.System); err == nil {
		return s, nil
	}
	if s, ok := publishedSystem(x.Hardware.System); ok {
		return s, nil
	}
	return power.Server{}, fmt.Errorf("system %q, as its BMC tells: %w", x.Hardware.System, power.ErrNoModel)
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

// published are [power.Servers], for those that look and change nothing: a copy for each machine is needless.
var published = sync.OnceValue(power.Servers)

// A named is a published server's names, folded.
type named struct{ full, model string }

var publishedNames = sync.OnceValue(func() []named {
	all := make([]named, len(published()))
	for i, s := range published() {
		all[i] = named{fold(s.Name()), fold(s.Model)}
	}
	return all
})

// publishedSystem returns the one published server that is a system as a BMC names it.
func publishedSystem(name string) (power.Server, bool) {
	found, n := 0, 0
	for i := range published() {
		if name != "" && prior.SameSystem(published()[i].Name(), name) {
			found = i
			n++
		}
	}
	if n != 1 {
		return power.Server{}, false
	}
	return published()[found], true
}

// findServer finds a published server by its name or by a label value made of it.
func findServer(name string) (power.Server, error) {
	s, err := power.FindServer(name)
	if err == nil {
		return s, nil
	}
	want := fold(name)
	found, n := 0, 0
	for i, s := range publishedNames() {
		if s.full == want || s.model == want {
			found = i
			n++
		}
	}
	if n == 1 {
		return published()[found], nil
	}
	return power.Server{}, err
}
