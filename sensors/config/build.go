package config

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
)

// BuildOptions tune [Config.Build]. The zero value works.
type BuildOptions struct {
	// Node says what is known of a node, beyond what the file lists; nil knows nothing more. It is asked when
	// a node is read for the first time, and is safe for concurrent use.
	Node func(name string) (Node, bool)
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

// Build makes the sources. It connects to nothing and reads no credential; the files of certificates are read.
func (c *Config) Build(o BuildOptions) (*Set, error) {
	b := &builder{Config: c, opts: o, static: make(map[string]Node), set: &Set{config: c, Named: make(map[string]sensors.SensorSource)},
		tlsOf: make(map[*tlsSettings]*tls.Config)}
	for _, n := range c.section.Nodes {
		b.static[n.Name] = Node(n)
	}
	var sources []sensors.SensorSource
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

// resolved is an endpoint of one node, its templates expanded.
type resolved struct {
	endpoint
	password func() (string, error) // nil: none
	token    func() (string, error) // nil: none
	tls      *tls.Config
}

// lookup finds a source's endpoint of a node.
func (b *builder) lookup(at string, s *single, node string) (resolved, error) {
	if !s.reads(node) {
		return resolved{}, sensors.ErrUnknownNode
	}
	r := resolved{endpoint: s.endpoint}
	if own, ok := s.PerNode[node]; ok {
		overlay(&r.endpoint, own)
		at += ".perNode." + node
	} else if r.URL == "" {
		return r, sensors.ErrUnknownNode
	}
	if err := b.resolve(&r, b.node(node)); err != nil {
		return r, b.errorf(at, "node %q: %w", node, err)
	}
	return r, nil
}

func (b *builder) resolve(r *resolved, n Node) error {
	var errs []error
	ex := func(text string) string {
		s, err := expand(text, n)
		errs = append(errs, err)
		return s
	}
	r.URL, r.User, r.Chassis = ex(r.URL), ex(r.User), ex(r.Chassis)
	match := maps.Clone(r.Match)
	for k, v := range match {
		match[k] = ex(v)
	}
	r.Match = match
	secret := func(file, env string) func() (string, error) {
		switch {
		case file != "":
			s, err := b.secret(file, n)
			errs = append(errs, err)
			return s
		case env != "":
			return boundedhttp.Env(env)
		}
		return nil
	}
	r.password = secret(r.PasswordFile, r.PasswordEnv)
	r.token = secret(r.TokenFile, r.TokenEnv)
	if r.TLS != nil {
		c, err := b.sharedTLS(r.TLS)
		errs = append(errs, err)
		r.tls = c
		if name := ex(r.TLS.ServerName); err == nil && name != r.tls.ServerName {
			r.tls = c.Clone()
			r.tls.ServerName = name
		}
	}
	return errors.Join(errs...)
}

// secret returns what reads a file with a credential. Where the name is a template, what it makes cannot lead
// out of the folder that stands before the template: nodes choose their names.
func (b *builder) secret(file string, n Node) (func() (string, error), error) {
	fixed, _, template := strings.Cut(file, "{{")
	if !template {
		return boundedhttp.File(b.path(file)), nil
	}
	dir := fixed[:strings.LastIndexByte(fixed, '/')+1]
	name, err := expand(strings.TrimPrefix(file, dir), n)
	if err != nil {
		return nil, err
	}
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("the file %q leads out of %q", name, dir)
	}
	root := b.path(dir)
	if dir == "" {
		root = filepath.Dir(b.file)
	}
	return func() (string, error) { return within(root, name) }, nil
}

func within(dir, name string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	return boundedhttp.OneLine(string(text), filepath.Join(dir, name))
}

// sharedTLS reads the files of a TLS section once, however many nodes use it.
func (b *builder) sharedTLS(t *tlsSettings) (*tls.Config, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.tlsOf[t]; c != nil {
		return c, nil
	}
	c, err := b.tls(t)
	if err == nil {
		b.tlsOf[t] = c
	}
	return c, err
}

func (c *Config) tls(t *tlsSettings) (*tls.Config, error) {
	return boundedhttp.TLS{CAFile: c.path(t.CAFile), CertFile: c.path(t.CertFile), KeyFile: c.path(t.KeyFile),
		ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}.Config()
}

// overlay puts what own has in the place of what e has.
func overlay(e *endpoint, own endpoint) {
	set := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	set(&e.URL, own.URL)
	set(&e.User, own.User)
	set(&e.Chassis, own.Chassis)
	if own.PasswordFile != "" || own.PasswordEnv != "" {
		e.PasswordFile, e.PasswordEnv = own.PasswordFile, own.PasswordEnv
	}
	if own.TokenFile != "" || own.TokenEnv != "" {
		e.TokenFile, e.TokenEnv = own.TokenFile, own.TokenEnv
	}
	if own.TLS != nil {
		e.TLS = own.TLS
	}
	if own.Session != nil {
		e.Session = own.Session
	}
	if own.CipherSuite != nil {
		e.CipherSuite = own.CipherSuite
	}
	merge := func(to *map[string]string, from map[string]string) {
		if len(from) > 0 {
			all := maps.Clone(*to)
			if all == nil {
				all = make(map[string]string)
			}
			maps.Copy(all, from)
			*to = all
		}
	}
	merge(&e.Override, own.Override)
	merge(&e.Match, own.Match)
	merge(&e.Sensors, own.Sensors)
}

func kinds(names []string) []sensors.Kind {
	var all []sensors.Kind
	for _, n := range slices.Sorted(slices.Values(names)) {
		all = append(all, sensors.Kind(n))
	}
	return all
}

func byKind(m map[string]string) map[sensors.Kind]string {
	if m == nil {
		return nil
	}
	all := make(map[sensors.Kind]string, len(m))
	for k, v := range m {
		all[sensors.Kind(k)] = v
	}
	return all
}
