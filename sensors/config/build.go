package config

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

// BuildOptions tune [Config.Build]. The zero value works.
type BuildOptions struct {
	// Node says what is known of a node, beyond what the file lists; nil knows nothing more. It is asked when
	// a node is read for the first time, and is safe for concurrent use.
	Node func(name string) (Node, bool)

	// Before are sources that the program has beside those of the file: of a kind that several give, they win.
	Before []sensors.SensorSource

	// Pods is told what the sources of type kepler read of the nodes' pods; nil reads none.
	Pods *kepler.Pods
}

// A Set is the sources that a file describes, ready to be read.
type Set struct {
	// Source is all of them together, with their precedence.
	Source sensors.SensorSource

	// Named are the single sources by their names, with what they fall back to.
	Named map[string]sensors.SensorSource

	config   *Config
	closers  []func(context.Context) error
	breakers []*sensors.Breaker
}

// Build makes the sources; the zero Config has none but [BuildOptions.Before]. It connects to nothing and reads no
// credential; the files of certificates are read.
func (c *Config) Build(o BuildOptions) (*Set, error) {
	b := &builder{Config: c, opts: o, static: make(map[string]Node), set: &Set{config: c, Named: make(map[string]sensors.SensorSource)},
		tlsOf: make(map[*tlsSettings]*tls.Config)}
	for _, n := range c.section.Nodes {
		b.static[n.Name] = Node(n)
	}
	sources := slices.Clone(o.Before)
	index := make(map[string]int)
	for i := range c.section.Sources {
		s := &c.section.Sources[i]
		at := fmt.Sprintf("sensors.sources[%d]", i)
		all := []sensors.SensorSource{}
		for j, one := range append([]*single{&s.single}, pointers(s.Fallback)...) {
			if j > 0 {
				at = fmt.Sprintf("sensors.sources[%d].fallback[%d]", i, j-1)
			}
			src, err := b.source(at, one)
			if err != nil {
				return nil, errors.Join(err, b.set.Close(context.Background()))
			}
			all = append(all, src)
		}
		src := all[0]
		if len(all) > 1 {
			src = sensors.First(all...)
		}
		index[s.Name] = len(sources)
		b.set.Named[s.Name] = src
		sources = append(sources, src)
	}
	precedence := make(map[sensors.Kind][]int)
	for kind, names := range c.section.Precedence {
		for _, n := range names {
			precedence[kind] = append(precedence[kind], index[n])
		}
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("%s: sensors: there is no source", c.file)
	}
	b.set.Source = sources[0]
	if len(sources) > 1 {
		b.set.Source = sensors.MergeBy(precedence, sources...)
	}
	return b.set, nil
}

func pointers(s []single) []*single {
	var all []*single
	for i := range s {
		all = append(all, &s[i])
	}
	return all
}

// NewPoller returns a poller of the set, of the nodes that the file lists. A nil log discards.
func (s *Set) NewPoller(log *slog.Logger) *sensors.Poller {
	o := s.config.PollerOptions()
	o.Logger = log
	return sensors.NewPoller(s.Source, s.config.Nodes(), o)
}

// Register registers collectors of the set's circuit breakers; those of polling are the poller's.
func (s *Set) Register(r sensors.Registerer) error {
	var errs []error
	for _, b := range s.breakers {
		errs = append(errs, b.Register(r))
	}
	return errors.Join(errs...)
}

// Close ends sessions and closes connections.
func (s *Set) Close(ctx context.Context) error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c(ctx))
	}
	return errors.Join(errs...)
}

// builder makes a Set.
type builder struct {
	*Config
	opts   BuildOptions
	static map[string]Node
	set    *Set

	mu    sync.Mutex
	tlsOf map[*tlsSettings]*tls.Config // guarded by mu
}

// node returns what is known of a node. What the file says goes before what the cluster says.
func (b *builder) node(name string) Node {
	n := Node{Name: name}
	if b.opts.Node != nil {
		if known, ok := b.opts.Node(name); ok {
			n = known
			n.Name = name
		}
	}
	if listed, ok := b.static[name]; ok {
		if listed.Address != "" {
			n.Address = listed.Address
		}
		if listed.Cores > 0 {
			n.Cores = listed.Cores
		}
		n.Labels = maps.Clone(n.Labels)
		if n.Labels == nil {
			n.Labels = make(map[string]string)
		}
		maps.Copy(n.Labels, listed.Labels)
	}
	return n
}
