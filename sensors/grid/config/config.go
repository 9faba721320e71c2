package config

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/internal/strictyaml"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A Config is what the section says, its sources ready to be asked. It is immutable.
type Config struct {
	Minimize    string // "watts", "grams" or "money"
	CarbonPrice float64
	Refresh     time.Duration

	// Intensity and Price are nil where the section has no such sources. They remember answers, so that
	// asking them often asks providers seldom. They are safe for concurrent use.
	Intensity, Price grid.Source

	file    string
	section section
}

// section is the section "objective".
type section struct {
	Minimize    string        `yaml:"minimize" enum:"watts,grams,money" doc:"what is kept low (watts)"`
	Signal      string        `yaml:"signal" doc:"what the intensity is: average or marginal, direct or life-cycle (average_lifecycle_gco2eq_per_kwh)"`
	Currency    string        `yaml:"currency" doc:"of all prices, ISO 4217"`
	Rates       grid.Rates    `yaml:"rates" doc:"what a unit of another currency is worth in this one"`
	CarbonPrice float64       `yaml:"carbonPrice" doc:"money per tonne of CO2 equivalent (0)"`
	Refresh     time.Duration `yaml:"refresh" doc:"how often the sources are asked for what they know (1m)"`
	Zone        zones         `yaml:"zone" doc:"where a machine draws its power"`
	PUE         *float64      `yaml:"pue" doc:"power usage effectiveness (1)"`
	Factor      *float64      `yaml:"factor" doc:"whatever else multiplies (1)"`
	Sites       []place       `yaml:"sites" doc:"the first whose labels a machine has says otherwise"`
	Intensity   []source      `yaml:"intensity" doc:"sources of carbon intensity, in order"`
	Price       []source      `yaml:"price" doc:"sources of the price, in order"`
}

type zones struct {
	Label   string            `yaml:"label" doc:"the label whose value is the zone (topology.kubernetes.io/region)"`
	Names   map[string]string `yaml:"names" doc:"zones of values of the label"`
	Cloud   string            `yaml:"cloud" enum:"aws,gcp,azure" doc:"the cloud of which the label's values are regions"`
	Default string            `yaml:"default" doc:"the zone of machines without the label"`
	At      []float64         `yaml:"at" doc:"latitude and longitude in degrees of the default zone, which the built-in table of towns tells"`
}

type place struct {
	Labels map[string]string `yaml:"labels" required:"true" doc:"all of which a machine has"`
	Zone   string            `yaml:"zone"`
	At     []float64         `yaml:"at" doc:"latitude and longitude in degrees, of which the built-in table of towns tells the zone"`
	PUE    *float64          `yaml:"pue"`
	Factor *float64          `yaml:"factor"`
}

// A Place is where a machine draws its power.
type Place struct {
	Zone        string
	PUE, Factor float64
}

// ParseSection reads the section of a file that somebody else has taken apart. A nil n minimizes watts and
// has no sources.
func ParseSection(file string, n *yaml.Node) (*Config, error) {
	c := &Config{file: file, section: section{Minimize: "watts", Signal: string(grid.AverageLifeCycle), Refresh: time.Minute,
		Zone: zones{Label: "topology.kubernetes.io/region"}}}
	if n != nil {
		if err := strictyaml.Decode(file, n, "objective", &c.section); err != nil {
			return nil, err
		}
	}
	s := &c.section
	c.Minimize, c.CarbonPrice, c.Refresh = s.Minimize, s.CarbonPrice, s.Refresh
	if err := c.check(n); err != nil {
		return nil, err
	}
	var err error
	if c.Intensity, err = c.sources(n, "intensity", s.Intensity, grid.Signal(s.Signal)); err != nil {
		return nil, err
	}
	c.Price, err = c.sources(n, "price", s.Price, grid.Price)
	return c, err
}

func (c *Config) check(n *yaml.Node) error {
	s := &c.section
	fail := func(field, format string, args ...any) error {
		return strictyaml.Errorf(c.file, n, "objective."+field, format, args...)
	}
	ratio := func(field string, v *float64, low float64) error {
		if v != nil && !(*v >= low && *v <= 100) {
			return fail(field, "is %v: want %v to 100", *v, low)
		}
		return nil
	}
	if sig := grid.Signal(s.Signal); !sig.Valid() || sig == grid.Price {
		return fail("signal", "is %q: want %s, %s, %s or %s", s.Signal, grid.AverageLifeCycle, grid.AverageDirect, grid.MarginalLifeCycle, grid.MarginalDirect)
	}
	switch {
	case math.IsNaN(s.CarbonPrice) || s.CarbonPrice < 0 || s.CarbonPrice > 1e9:
		return fail("carbonPrice", "is %v: want 0 or more", s.CarbonPrice)
	case s.Refresh <= 0:
		return fail("refresh", "is %v: want a duration above 0", s.Refresh)
	case s.Minimize == "grams" && len(s.Intensity) == 0:
		return fail("intensity", "is missing: grams want a source of the carbon intensity")
	case s.Minimize == "money" && len(s.Price) == 0:
		return fail("price", "is missing: money wants a source of the price")
	case s.Minimize == "money" && s.CarbonPrice > 0 && len(s.Intensity) == 0:
		return fail("intensity", "is missing: carbonPrice wants a source of the carbon intensity")
	case len(s.Price) > 0 && s.Currency == "":
		return fail("currency", "is missing: prices are in a currency")
	case s.Rates.Validate() != nil:
		return fail("rates", "%w", s.Rates.Validate())
	case s.Rates.To(s.Currency) != nil:
		return fail("rates", "%w", s.Rates.To(s.Currency))
	case s.Zone.Label == "":
		return fail("zone.label", "is empty")
	}
	if err := ratio("pue", s.PUE, 1); err != nil {
		return err
	}
	if err := ratio("factor", s.Factor, math.SmallestNonzeroFloat64); err != nil {
		return err
	}
	zone := func(field string, name *string, at []float64) error {
		switch {
		case at == nil:
			return nil
		case *name != "":
			return fail(field, "stands beside a zone: give one of the two")
		case len(at) != 2:
			return fail(field, "has %d numbers: want latitude and longitude", len(at))
		}
		found, err := grid.ZoneAt(at[0], at[1])
		if err != nil {
			return fail(field, "%w", err)
		}
		*name = found
		return nil
	}
	if err := zone("zone.at", &s.Zone.Default, s.Zone.At); err != nil {
		return err
	}
	for i := range s.Sites {
		p := &s.Sites[i]
		at := fmt.Sprintf("sites[%d].", i)
		if err := zone(at+"at", &p.Zone, p.At); err != nil {
			return err
		}
		if err := ratio(at+"pue", p.PUE, 1); err != nil {
			return err
		}
		if err := ratio(at+"factor", p.Factor, math.SmallestNonzeroFloat64); err != nil {
			return err
		}
		if len(p.Labels) == 0 {
			return fail(at+"labels", "is empty: what holds everywhere stands beside sites")
		}
	}
	return nil
}

// Weighs tells whether machines differ in what a watt of theirs counts, by PUE or factor.
func (c *Config) Weighs() bool {
	for i := range c.section.Sites {
		if s := &c.section.Sites[i]; s.PUE != nil || s.Factor != nil {
			return true
		}
	}
	return false
}

// Place tells where a machine with these labels draws its power, or why that is not known. PUE and Factor are
// known in any case.
func (c *Config) Place(labels map[string]string) (Place, error) {
	s := &c.section
	p := Place{PUE: 1, Factor: 1}
	set := func(to *float64, from *float64) {
		if from != nil {
			*to = *from
		}
	}
	set(&p.PUE, s.PUE)
	set(&p.Factor, s.Factor)
	for i := range s.Sites {
		if site := &s.Sites[i]; site.fits(labels) {
			p.Zone = site.Zone
			set(&p.PUE, site.PUE)
			set(&p.Factor, site.Factor)
			break
		}
	}
	if p.Zone != "" {
		return p, nil
	}
	value, ok := labels[s.Zone.Label]
	switch name, listed := s.Zone.Names[value]; {
	case ok && listed:
		p.Zone = name
	case ok && s.Zone.Cloud != "":
		zone, err := grid.ZoneOfRegion(s.Zone.Cloud, value)
		if err != nil {
			return p, fmt.Errorf("label %s: %w", s.Zone.Label, err)
		}
		p.Zone = zone
	case ok && value != "":
		p.Zone = value
	case s.Zone.Default != "":
		p.Zone = s.Zone.Default
	default:
		return p, fmt.Errorf("there is no label %s and no default zone: %w", s.Zone.Label, grid.ErrUnknownZone)
	}
	return p, nil
}

func (p *place) fits(labels map[string]string) bool {
	for k, v := range p.Labels {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// Schema returns the JSON schema of the section.
func Schema() map[string]any { return strictyaml.Schema(reflect.TypeFor[section]()) }

// path resolves a path of the file, which is relative to its folder.
func (c *Config) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.file), name)
}

// sources makes the sources of one list; nil for an empty one.
func (c *Config) sources(n *yaml.Node, field string, list []source, want grid.Signal) (grid.Source, error) {
	var all []grid.Source
	for i := range list {
		at := fmt.Sprintf("objective.%s[%d]", field, i)
		s, err := c.source(&list[i], want)
		if err == nil && s.Signal() != want {
			err = fmt.Errorf("gives %s, and the list is of %s: they are never mixed", s.Signal(), want)
		}
		if err != nil {
			return nil, strictyaml.Errorf(c.file, element(n, field, i), at, "type %s: %w", list[i].Type, err)
		}
		all = append(all, s)
	}
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0], nil
	}
	return grid.NewFallback(all...)
}

// element returns the node of a list's element, for its line.
func element(n *yaml.Node, field string, i int) *yaml.Node {
	if list := strictyaml.Field(n, field); list != nil && i < len(list.Content) {
		return list.Content[i]
	}
	return n
}

// only is a source of some zones.
type only struct {
	grid.Source
	zones map[string]bool
}

// Current implements [grid.Source].
func (o only) Current(ctx context.Context, zone string) (grid.Point, error) {
	if !o.zones[zone] {
		return grid.Point{}, fmt.Errorf("zone %q: %w", zone, grid.ErrUnknownZone)
	}
	return o.Source.Current(ctx, zone)
}

// History implements [grid.HistorySource], where the source is one.
func (o only) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if !o.zones[zone] {
		return nil, fmt.Errorf("zone %q: %w", zone, grid.ErrUnknownZone)
	}
	return grid.History(ctx, o.Source, zone, from, until)
}

// Forecast implements [grid.ForecastSource], where the source is one.
func (o only) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if !o.zones[zone] {
		return nil, fmt.Errorf("zone %q: %w", zone, grid.ErrUnknownZone)
	}
	return grid.Forecast(ctx, o.Source, zone, from, until)
}

// constant is a value that always holds.
type constant struct {
	signal   grid.Signal
	value    float64
	currency string
}

// Signal implements [grid.Source].
func (c constant) Signal() grid.Signal { return c.signal }

func (c constant) point(zone string, start time.Time) grid.Point {
	return grid.Point{Zone: zone, Signal: c.signal, Start: start, End: start.Add(time.Hour), Value: c.value, Currency: c.currency, Source: "static"}
}

// Current implements [grid.Source].
func (c constant) Current(_ context.Context, zone string) (grid.Point, error) {
	return c.point(zone, time.Now().UTC().Truncate(time.Hour)), nil
}

// History implements [grid.HistorySource].
func (c constant) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if now := time.Now(); until.After(now) {
		until = now
	}
	ps, err := c.Forecast(ctx, zone, from, until)
	for i := range ps {
		ps[i].Forecast = false
	}
	return ps, err
}

// Forecast implements [grid.ForecastSource]: what always holds is known in advance.
func (c constant) Forecast(_ context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	const most = 1_000_000
	if n := until.Sub(from) / time.Hour; n > most {
		return nil, fmt.Errorf("static value: %d hours from %v: at most %d at once", n, from, most)
	}
	var ps []grid.Point
	for at := from.UTC().Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		p := c.point(zone, at)
		p.Forecast = true
		ps = append(ps, p)
	}
	return ps, nil
}

var weekdays = map[string]time.Weekday{"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday,
	"thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday}

// clock reads a time of day, "00:00" to "24:00".
func clock(text string) (time.Duration, error) {
	var h, m int
	if n, err := fmt.Sscanf(text, "%d:%d", &h, &m); err != nil || n != 2 || len(text) != 5 || strings.ContainsAny(text, "+- ") || h < 0 || h > 24 || m < 0 || m > 59 || h == 24 && m > 0 {
		return 0, fmt.Errorf("%q is no time of day: want 00:00 to 24:00", text)
	}
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute, nil
}
