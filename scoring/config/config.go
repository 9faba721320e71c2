package config

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/internal/strictyaml"
	"github.com/leastwatt/leastwatt/scoring"
	gridconfig "github.com/leastwatt/leastwatt/sensors/grid/config"
)

// MaxBytes bounds the size of a file.
const MaxBytes = strictyaml.MaxBytes

// A Config is a site's configuration. Its models are immutable.
type Config struct {
	File    string
	Models  []Model // the first that fits a machine is its model
	Scoring Scoring

	// Grid is the section objective: what a kilowatt-hour costs where a machine is, and what is to be
	// kept low.
	Grid *gridconfig.Config

	// Wakes says that the program tells of machines that take energy to start, as [SiteOptions.Bind] can; that the
	// file's models do is seen without it.
	Wakes bool

	sensors *yaml.Node // nil where the file has no such section
}

// Scoring says how work is placed.
type Scoring struct {
	// Scorer is "envelope" (the default) or "marginal": see [scoring.EnvelopePower] and
	// [scoring.MarginalPower].
	Scorer string

	// SwitchOff says that servers without work are switched off or suspended; for the envelope scorer.
	SwitchOff bool

	// WakeHorizon is over how long the energy of starting a server is spread, where models tell it and the
	// lifetime of the work is not known; default one hour.
	WakeHorizon time.Duration

	// GramsPerKWh is the carbon intensity of the power in gCO2eq where no source of the section objective
	// tells it; 0 means unknown.
	GramsPerKWh float64

	// MaxAge is how old a reading may be, by the hardware's time; default one minute.
	MaxAge time.Duration

	// Refresh is how often readings and models are joined; default two seconds.
	Refresh time.Duration
}

// Load reads a file of at most [MaxBytes].
func Load(path string) (*Config, error) {
	data, err := strictyaml.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads YAML; name is the file's that errors give, and from whose folder relative paths are taken.
func Parse(name string, data []byte) (*Config, error) {
	root, err := strictyaml.Document(name, data)
	if err != nil {
		return nil, err
	}
	d := &document{Decoder: strictyaml.NewDecoder(name), file: name}
	f := file{}
	d.Decode(root, "", &f)
	c := &Config{File: name, sensors: f.Sensors}
	c.Scoring = Scoring{Scorer: cmp.Or(f.Scoring.Scorer, "envelope"), SwitchOff: f.Scoring.SwitchOff,
		WakeHorizon: cmp.Or(f.Scoring.WakeHorizon, time.Hour), GramsPerKWh: f.Scoring.GramsPerKWh,
		MaxAge: cmp.Or(f.Scoring.MaxAge, time.Minute), Refresh: cmp.Or(f.Scoring.Refresh, 2*time.Second)}
	if c.Scoring.SwitchOff && c.Scoring.Scorer == "marginal" {
		d.Fail(strictyaml.Field(root, "scoring"), "scoring", "switchOff", "is for the envelope scorer: the marginal one knows nothing of servers that are switched off later")
	}
	for i, n := range f.Models {
		c.Models = append(c.Models, d.model(&place{d, n, fmt.Sprintf("models[%d]", i)}))
	}
	c.Grid, err = gridconfig.ParseSection(name, f.Objective)
	if err := errors.Join(d.Err(), err); err != nil {
		return nil, err
	}
	return c, nil
}

// A document is one file while it is read. It gathers all that is wrong with it.
type document struct {
	*strictyaml.Decoder
	file string
}

// relative returns a path of the file as seen from where the program runs.
func (d *document) relative(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.file), path)
}

// A place is a mapping of the file.
type place struct {
	doc  *document
	node *yaml.Node
	path string
}

func (p *place) fail(field, format string, args ...any) {
	p.doc.Fail(p.node, p.path, field, format, args...)
}

// has tells whether a field is there and not empty.
func (p *place) has(field string) bool {
	n := strictyaml.Field(p.node, field)
	return n != nil && (n.Kind != yaml.ScalarNode || n.Tag != "!!null")
}

// NewScorer returns the scorer that the file asks for. Grams and money are told by the meters of the nodes of
// [Config.NewSite]'s site.
func (c *Config) NewScorer() scoring.Scorer {
	s := c.NewPowerScorer()
	switch c.Grid.Minimize {
	case "grams":
		return scoring.Objective{Power: s, Unit: scoring.GramsPerHour}
	case "money":
		return scoring.Objective{Power: s, Unit: scoring.MoneyPerHour, CarbonPrice: c.Grid.CarbonPrice}
	}
	if c.Grid.Weighs() {
		return scoring.Objective{Power: s, Unit: scoring.Watts}
	}
	return s
}

// NewPowerScorer returns the scorer that the file asks for without its objective: in watts of servers.
func (c *Config) NewPowerScorer() scoring.Scorer {
	var s scoring.Scorer = scoring.EnvelopePower{SwitchOff: c.Scoring.SwitchOff}
	if c.Scoring.Scorer == "marginal" {
		s = scoring.MarginalPower{}
	}
	if c.wakes() {
		s = scoring.Waking{Power: s, Horizon: c.Scoring.WakeHorizon, SwitchOff: c.Scoring.SwitchOff}
	}
	return s
}

func (c *Config) wakes() bool {
	return c.Wakes || slices.ContainsFunc(c.Models, func(m Model) bool { return m.Wake > 0 })
}
