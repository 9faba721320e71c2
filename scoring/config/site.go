package config

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/learn"
	"github.com/leastwatt/leastwatt/sensors"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

// SiteOptions are what a program adds to the file. The zero value works.
type SiteOptions struct {
	// Logger is told what fails in the background; nil discards it.
	Logger *slog.Logger

	// Registerer is given the metrics of the poller and of model files; nil means none.
	Registerer sensors.Registerer

	// Interval is between two reads of a node, where the file does not say; 0 means ten seconds.
	Interval time.Duration

	// Sources are read beside the file's sensors, and win where several have a kind, the first before the others. With
	// one, the file needs no section sensors.
	Sources []sensors.SensorSource

	// Bind, where it is not nil, tells what is known of a machine, in the place of the file, which it can ask by file.
	Bind func(m scoring.Machine, file func(scoring.Machine) (scoring.Spec, error)) (scoring.Spec, error)

	// Learned has what models of kind prior with learn: true and without a folder have learned, and keeps it if it is a
	// [learn.Keeper], every LearnedEvery, which is five minutes where it is 0; nil has nothing.
	Learned      learn.Store
	LearnedEvery time.Duration

	// Types are types of sources that the file may have beside those that are built in.
	Types []sensorsconfig.Type

	// Pods is told what sources of type kepler read of the nodes' pods; nil reads none.
	Pods *kepler.Pods

	// With is another site, which reads the sensors of both; nil is none, and this one reads its own. It is one of NewSite, of a Config with
	// [Config.SameSensors], is put the same machines, and runs as long. The options on sensors above (Interval, Sources, Types, Pods) are then its.
	With *scoring.Site
}

// SameSensors tells whether two files say the same of sensors, so that one site can read for both.
func (c *Config) SameSensors(o *Config) bool {
	if c.Scoring.MaxAge != o.Scoring.MaxAge || filepath.Dir(c.File) != filepath.Dir(o.File) || (c.sensors == nil) != (o.sensors == nil) {
		return false
	}
	a, errA := yaml.Marshal(c.sensors)
	b, errB := yaml.Marshal(o.sensors)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// shared is the readings of another site.
type shared struct{ *live }

// SetNodes implements [scoring.Readings]: the other site is put the same.
func (shared) SetNodes([]string) {}

// ReadSoon implements [scoring.SoonReader], as SetNodes.
func (shared) ReadSoon(...string) {}

// Run implements [scoring.Readings]: the other site reads.
func (shared) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// NewSite returns a site without machines, with the file's sensors and models. It connects to nothing before
// Run, which ends the sensors' sessions when it returns. What BMCs tell of their machines' hardware is asked in the
// background once a day, and counts wherever a model goes by hardware. What templates say of a node is filled in from the
// machine of its name. While Run runs, files and folders of models are followed, and priors with learn: true
// learn from the sensors.
func (c *Config) NewSite(o SiteOptions) (*scoring.Site, error) {
	l, err := newLive(c, &o)
	if err != nil {
		return nil, err
	}
	if o.With != nil {
		other, ok := o.With.Readings().(*live)
		if !ok {
			return nil, fmt.Errorf("%s: the site that is to read for this one is none of a configuration", c.File)
		}
		l.readings, l.hardware.ask = shared{other}, other.hardware.ask
		if o.Registerer != nil {
			if err := o.Registerer.Register(l); err != nil {
				return nil, err
			}
		}
		return c.site(l, &o), nil
	}
	section := new(sensorsconfig.Config)
	if c.sensors != nil || len(o.Sources) == 0 {
		if section, err = sensorsconfig.ParseSection(c.File, c.sensors, o.Types...); err != nil {
			return nil, err
		}
	}
	var site *scoring.Site // nodes are read after they were put in it
	set, err := section.Build(sensorsconfig.BuildOptions{Before: o.Sources, Pods: o.Pods, Node: func(name string) (sensorsconfig.Node, bool) {
		m, ok := site.Machine(name)
		return sensorsconfig.Node{Name: m.Name, Address: m.Address, Labels: m.Labels, Cores: m.Cores}, ok
	}})
	if err != nil {
		return nil, err
	}
	if sensors.Identifies(set.Source) {
		l.hardware.ask = func(ctx context.Context, node string) (sensors.Hardware, error) {
			return sensors.Identify(ctx, set.Source, node)
		}
	}
	po := section.PollerOptions()
	po.Interval, po.MaxAge, po.Logger = cmp.Or(po.Interval, o.Interval), c.Scoring.MaxAge, o.Logger
	p := sensors.NewPoller(set.Source, section.Nodes(), po)
	if o.Registerer != nil {
		if err := errors.Join(p.Register(o.Registerer), set.Register(o.Registerer), o.Registerer.Register(l)); err != nil {
			return nil, errors.Join(err, set.Close(context.Background()))
		}
	}
	l.readings = polled{p, set}
	site = c.site(l, &o)
	return site, nil
}

// site is the site of what is read.
func (c *Config) site(l *live, o *SiteOptions) *scoring.Site {
	bind := l.bind
	if o.Bind != nil {
		bind = func(m scoring.Machine) (scoring.Spec, error) {
			spec, err := o.Bind(m, l.bind)
			if spec.Meter == nil {
				spec.Meter = l.meters.of(m)
			}
			return spec, err
		}
	}
	l.site = scoring.NewSite(l, bind, scoring.SiteOptions{Logger: o.Logger, Refresh: c.Scoring.Refresh,
		Fleet: scoring.FleetOptions{MaxAge: c.Scoring.MaxAge, SwitchOff: c.Scoring.SwitchOff}})
	return l.site
}

// polled is a poller that closes its sources when it ends.
type polled struct {
	*sensors.Poller
	set *sensorsconfig.Set
}

// goodbye is how long BMCs have to end our sessions.
const goodbye = 5 * time.Second

// Run implements [scoring.Readings].
func (p polled) Run(ctx context.Context) error {
	err := p.Poller.Run(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	return errors.Join(err, p.set.Close(ctx))
}
