package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/scoring"
	gridconfig "github.com/leastwatt/leastwatt/sensors/grid/config"
)

// MaxBytes bounds the size of a file.
const MaxBytes = 16 << 20

// A Config is a site's configuration. Its models are immutable.
type Config struct {
	File    string
	Models  []Model // the first that fits a machine is its model
	Scoring Scoring

	// Grid is the section objective: what a kilowatt-hour costs where a machine is, and what is to be
	// kept low.
	Grid *gridconfig.Config

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
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads YAML; file is the name that errors give.
func Parse(file string, data []byte) (*Config, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%s: more than %d bytes", file, MaxBytes)
	}
	var root yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: is empty", file)
		}
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one document", file)
	}
	d := &document{file: file}
	c := &Config{File: file}
	s := d.section(root.Content[0], "")
	c.sensors = s.take("sensors")
	objective := s.take("objective")
	s.list("models", func(n *yaml.Node, name string) {
		c.Models = append(c.Models, readModel(d.section(n, name)))
	})
	c.Scoring = readScoring(s)
	s.done()
	var err error
	c.Grid, err = gridconfig.ParseSection(file, objective)
	if err := errors.Join(d.err(), err); err != nil {
		return nil, err
	}
	return c, nil
}

func readScoring(file *section) Scoring {
	o := Scoring{Scorer: "envelope", WakeHorizon: time.Hour, MaxAge: time.Minute, Refresh: 2 * time.Second}
	n := file.take("scoring")
	if n == nil {
		return o
	}
	s := file.doc.section(n, "scoring")
	if o.Scorer = s.text("scorer", o.Scorer); o.Scorer != "envelope" && o.Scorer != "marginal" {
		s.fail("scorer", "is %q: want envelope or marginal", o.Scorer)
	}
	if o.SwitchOff = s.flag("switchOff", false); o.SwitchOff && o.Scorer == "marginal" {
		s.fail("switchOff", "is for the envelope scorer: the marginal one knows nothing of servers that are switched off later")
	}
	o.WakeHorizon = s.duration("wakeHorizon", o.WakeHorizon)
	o.GramsPerKWh = s.number("gramsPerKWh", 0, 5000, 0)
	o.MaxAge = s.duration("maxAge", o.MaxAge)
	o.Refresh = s.duration("refresh", o.Refresh)
	s.done()
	return o
}

// NewScorer returns the scorer that the file asks for. Grams and money are told by the meters of the nodes of
// [Config.NewSite]'s site.
func (c *Config) NewScorer() scoring.Scorer {
	var s scoring.Scorer = scoring.EnvelopePower{SwitchOff: c.Scoring.SwitchOff}
	if c.Scoring.Scorer == "marginal" {
		s = scoring.MarginalPower{}
	}
	if c.wakes() {
		s = scoring.Waking{Power: s, Horizon: c.Scoring.WakeHorizon, SwitchOff: c.Scoring.SwitchOff}
	}
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

func (c *Config) wakes() bool {
	return slices.ContainsFunc(c.Models, func(m Model) bool { return m.Wake > 0 })
}
