package config

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/leastwatt/leastwatt/sensors"
)

// uses says which fields of an endpoint the types have, beside url.
var uses = map[string][]string{
	"redfish":       {"user", "password", "tls", "session", "chassis", "override"},
	"kepler":        {"user", "password", "token", "tls", "match"},
	"scaphandre":    {"user", "password", "token", "tls", "match"},
	"dcgm":          {"user", "password", "token", "tls", "match"},
	"ipmi-exporter": {"user", "password", "token", "tls", "match", "sensors"},
	"ipmi":          {"user", "password", "sensors", "cipherSuite"},
	"prometheus":    {"user", "password", "token", "tls"},
	"load-watcher":  {"user", "password", "token", "tls"},
	"pressure":      {"user", "password", "token", "tls"},
	"sysfs":         {},
}

// shared are the types that have one endpoint for all nodes.
var shared = []string{"prometheus", "load-watcher", "pressure"}

// check finds what is wrong beyond the types of fields. It tells all of it.
func (c *Config) check() error {
	var errs []error
	fail := func(path, format string, args ...any) { errs = append(errs, c.errorf(path, format, args...)) }
	names := map[string]bool{}
	if len(c.section.Sources) == 0 {
		fail("sensors.sources", "is empty: want at least one source")
	}
	for i := range c.section.Sources {
		s := &c.section.Sources[i]
		at := fmt.Sprintf("sensors.sources[%d]", i)
		c.checkSource(at, &s.single, fail)
		if names[s.Name] {
			fail(at, "a second source is called %q: give it a name", s.Name)
		}
		names[s.Name] = true
		for j := range s.Fallback {
			c.checkSource(fmt.Sprintf("%s.fallback[%d]", at, j), &s.Fallback[j], fail)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(c.section.Precedence)) {
		at := "sensors.precedence." + string(kind)
		if !known(string(kind)) {
			fail(at, "there is no such kind")
		}
		for _, name := range c.section.Precedence[kind] {
			if !names[name] {
				fail(at, "no source is called %q", name)
			}
		}
	}
	listed := map[string]bool{}
	for i, n := range c.section.Nodes {
		if listed[n.Name] {
			fail(fmt.Sprintf("sensors.nodes[%d].name", i), "%q is listed twice", n.Name)
		}
		listed[n.Name] = true
	}
	return errors.Join(errs...)
}

func (c *Config) checkSource(at string, s *single, fail func(path, format string, args ...any)) {
	if s.Name == "" {
		s.Name = s.Type
	}
	if c.uses(s.Type) == nil {
		fail(at+".type", "is %q: want %s", s.Type, c.typeNames())
		return
	}
	for i, pattern := range s.Nodes {
		if _, err := path.Match(pattern, ""); err != nil {
			fail(fmt.Sprintf("%s.nodes[%d]", at, i), "%q is no pattern", pattern)
		}
	}
	for i, kind := range s.Kinds {
		if !known(kind) {
			fail(fmt.Sprintf("%s.kinds[%d]", at, i), "there is no kind %q", kind)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Plausible)) {
		p := s.Plausible[k]
		if !known(k) {
			fail(at+".plausible."+k, "there is no such kind")
		}
		if p.Min != nil && p.Max != nil && *p.Min > *p.Max {
			fail(at+".plausible."+k, "min is more than max")
		}
		if p.MaxPerSecond < 0 {
			fail(at+".plausible."+k+".maxPerSecond", "is negative")
		}
	}
	if s.KeplerFile != "" && s.Type != "redfish" {
		fail(at+".keplerFile", "is for type redfish, not %s", s.Type)
	}
	if c.shared(s.Type) {
		if len(s.PerNode) > 0 {
			fail(at+".perNode", "is not for type %s, which has one endpoint for all nodes", s.Type)
		}
		for field, text := range texts(&s.endpoint) {
			if strings.Contains(text, "{{") {
				fail(at+"."+field, "cannot be a template: type %s has one endpoint for all nodes", s.Type)
			}
		}
	}
	if s.Type == "sysfs" && (len(s.Nodes) != 1 || len(s.PerNode) > 0) {
		fail(at+".nodes", "want the name of one node, the machine that this program runs on")
	}
	if s.Type == "prometheus" {
		if all, err := s.ask(); err != nil {
			fail(at, "%w", err)
		} else if len(all) == 0 {
			fail(at, "has no query: want ready, queries or pdu")
		}
	} else if s.given() {
		fail(at, "queries, their label and window are for type prometheus, not %s", s.Type)
	}
	if s.URL == "" && s.KeplerFile == "" && len(s.PerNode) == 0 && s.Type != "sysfs" && !c.types[s.Type].NoURL {
		fail(at, "has no url, neither here nor under perNode")
	}
	c.checkEndpoint(at, s.Type, &s.endpoint, fail)
	for _, n := range slices.Sorted(maps.Keys(s.PerNode)) {
		e := s.PerNode[n]
		c.checkEndpoint(at+".perNode."+n, s.Type, &e, fail)
	}
}

func (c *Config) checkEndpoint(at, kind string, e *endpoint, fail func(path, format string, args ...any)) {
	has := func(use, field string, given bool) {
		if given && !slices.Contains(c.uses(kind), use) {
			fail(at+"."+field, "is not for type %s", kind)
		}
	}
	has("user", "user", e.User != "")
	has("password", "passwordFile", e.PasswordFile != "")
	has("password", "passwordEnv", e.PasswordEnv != "")
	has("token", "tokenFile", e.TokenFile != "")
	has("token", "tokenEnv", e.TokenEnv != "")
	has("tls", "tls", e.TLS != nil)
	has("session", "session", e.Session != nil)
	has("chassis", "chassis", e.Chassis != "")
	has("override", "override", e.Override != nil)
	has("match", "match", e.Match != nil)
	has("sensors", "sensors", e.Sensors != nil)
	has("cipherSuite", "cipherSuite", e.CipherSuite != nil)
	if e.PasswordFile != "" && e.PasswordEnv != "" {
		fail(at+".passwordEnv", "excludes passwordFile")
	}
	if e.TokenFile != "" && e.TokenEnv != "" {
		fail(at+".tokenEnv", "excludes tokenFile")
	}
	if e.TLS != nil {
		if _, err := c.tls(e.TLS); err != nil {
			fail(at+".tls", "%w", err)
		}
	}
	for field, kinds := range map[string]map[string]string{"override": e.Override, "sensors": e.Sensors} {
		for _, k := range slices.Sorted(maps.Keys(kinds)) {
			if !known(k) {
				fail(at+"."+field+"."+k, "there is no such kind")
			}
		}
	}
	for field, text := range texts(e) {
		if _, err := parse(text); err != nil {
			fail(at+"."+field, "%w", err)
		}
	}
	if strings.Contains(e.URL, "@") {
		fail(at+".url", "holds an @: give user and passwordFile instead of credentials in the URL")
	}
}

// texts returns the texts of an endpoint that are templates, by field.
func texts(e *endpoint) map[string]string {
	all := map[string]string{"url": e.URL, "user": e.User, "passwordFile": e.PasswordFile, "tokenFile": e.TokenFile, "chassis": e.Chassis}
	for k, v := range e.Match {
		all["match."+k] = v
	}
	if e.TLS != nil {
		all["tls.serverName"] = e.TLS.ServerName
	}
	return all
}

// known reports whether a kind is one of package sensors.
func known(kind string) bool {
	return slices.Contains([]sensors.Kind{
		sensors.InletTemp, sensors.ExhaustTemp, sensors.DeltaT, sensors.PressureDelta, sensors.Power, sensors.CPUPower, sensors.GPUPower,
		sensors.CPUUtilization, sensors.GPUUtilization, sensors.MemoryUsed, sensors.CPUUsed, sensors.GPUTemp, sensors.FanSpeed,
		sensors.Energy, sensors.CPUEnergy, sensors.CPUTime, sensors.CPUTemp, sensors.PressureInlet, sensors.PressureExhaust,
	}, sensors.Kind(kind))
}
