package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
)

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
	return boundedhttp.Unchanged(filepath.Join(root, name), func() (string, error) { return within(root, name) }), nil
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
