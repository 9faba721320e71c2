package config

import (
	"context"
	"io"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/dcgm"
	"github.com/leastwatt/leastwatt/sensors/internal/scrape"
	"github.com/leastwatt/leastwatt/sensors/ipmi"
	"github.com/leastwatt/leastwatt/sensors/ipmiexporter"
	"github.com/leastwatt/leastwatt/sensors/kepler"
	"github.com/leastwatt/leastwatt/sensors/loadwatcher"
	"github.com/leastwatt/leastwatt/sensors/pressure"
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
	"github.com/leastwatt/leastwatt/sensors/sysfs"
)

// source makes one source.
func (b *builder) source(at string, s *single) (sensors.SensorSource, error) {
	src, err := b.protocol(at, s)
	if err != nil {
		return nil, err
	}
	switch c := src.(type) {
	case interface{ Close(context.Context) error }:
		b.set.closers = append(b.set.closers, c.Close)
	case io.Closer:
		b.set.closers = append(b.set.closers, func(context.Context) error { return c.Close() })
	}
	if all, ok := src.(sensors.BatchSource); ok && len(s.Nodes) > 0 {
		src = some{all, s.reads}
	}
	return b.treat(s, src), nil
}

func (b *builder) protocol(at string, s *single) (sensors.SensorSource, error) {
	exporter := func(node string) (scrape.Endpoint, error) {
		r, err := b.lookup(at, s, node)
		return scrape.Endpoint{URL: r.URL, User: r.User, PasswordFrom: r.password, TokenFrom: r.token, TLS: r.tls, Match: r.Match,
			Sensors: byKind(r.Sensors)}, err
	}
	o := scrape.Options{Timeout: s.Timeout}
	switch s.Type {
	case "redfish":
		lookup, err := b.redfish(at, s)
		if err != nil {
			return nil, err
		}
		ro := redfish.Options{Timeout: s.Timeout}
		if len(s.Kinds) > 0 && !s.Derive { // what is derived needs others
			ro.Kinds = kinds(s.Kinds)
		}
		return redfish.New(lookup, ro), nil
	case "kepler":
		src := kepler.New(exporter, o)
		src.KeepPods = b.opts.Pods
		return src, nil
	case "scaphandre":
		return scaphandre.New(exporter, o), nil
	case "dcgm":
		return dcgm.New(exporter, o), nil
	case "ipmi-exporter":
		return ipmiexporter.New(exporter, o), nil
	case "ipmi":
		return ipmi.New(b.ipmi(at, s), ipmi.Options{Timeout: s.Timeout}), nil
	case "prometheus":
		return b.prometheus(at, s)
	case "load-watcher", "pressure":
		return b.service(at, s)
	case "sysfs":
		return sysfs.New(s.Nodes[0], sysfs.Options{Root: s.URL}), nil
	}
	return b.added(at, s, b.types[s.Type])
}

// service makes a source that has one endpoint for all nodes.
func (b *builder) service(at string, s *single) (sensors.SensorSource, error) {
	r := resolved{endpoint: s.endpoint}
	if err := b.resolve(&r, Node{}); err != nil {
		return nil, b.errorf(at, "%w", err)
	}
	e := scrape.Endpoint{URL: r.URL, User: r.User, PasswordFrom: r.password, TokenFrom: r.token, TLS: r.tls}
	if s.Type == "load-watcher" {
		src, err := loadwatcher.New(e, loadwatcher.Options{Timeout: s.Timeout})
		if err != nil {
			return nil, b.errorf(at, "%w", err)
		}
		return src, nil
	}
	src, err := pressure.New(e, pressure.Options{Timeout: s.Timeout, Knows: s.reads})
	if err != nil {
		return nil, b.errorf(at, "%w", err)
	}
	return src, nil
}

func (b *builder) redfish(at string, s *single) (redfish.Lookup, error) {
	var listed map[string]redfish.Endpoint
	if s.KeplerFile != "" {
		var err error
		if listed, err = redfish.KeplerFile(b.path(s.KeplerFile)); err != nil {
			return nil, b.errorf(at+".keplerFile", "%w", err)
		}
	}
	return func(node string) (redfish.Endpoint, error) {
		if e, ok := listed[node]; ok && s.reads(node) {
			return e, nil
		}
		r, err := b.lookup(at, s, node)
		if err != nil {
			return redfish.Endpoint{}, err
		}
		return redfish.Endpoint{URL: r.URL, User: r.User, PasswordFrom: r.password, Session: r.Session != nil && *r.Session, TLS: r.tls,
			Chassis: r.Chassis, Override: byKind(r.Override)}, nil
	}, nil
}

func (b *builder) ipmi(at string, s *single) ipmi.Lookup {
	return func(node string) (ipmi.BMC, error) {
		r, err := b.lookup(at, s, node)
		if err != nil {
			return ipmi.BMC{}, err
		}
		bmc := ipmi.BMC{Address: r.URL, Username: r.User, PasswordFrom: r.password, Sensors: byKind(r.Sensors)}
		if r.CipherSuite != nil {
			bmc.CipherSuite = *r.CipherSuite
		}
		if err := bmc.Check(); err != nil {
			return bmc, b.errorf(at, "node %q: %w", node, err)
		}
		return bmc, nil
	}
}
