package config

import (
	"errors"
	"fmt"
	"math"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxValues bounds what a file may hold once its aliases are followed.
const maxValues = 2_000_000

// A document is one file while it is read. It gathers all that is wrong with it.
type document struct {
	file   string
	values int
	errs   []error
}

func (d *document) fail(n *yaml.Node, field, format string, args ...any) {
	if len(d.errs) < 20 { // more would help nobody
		d.errs = append(d.errs, fmt.Errorf("%s:%d: %s: %w", d.file, n.Line, field, fmt.Errorf(format, args...)))
	}
}

func (d *document) err() error { return errors.Join(d.errs...) }

// follow returns what a node stands for.
func (d *document) follow(n *yaml.Node, field string) *yaml.Node {
	if d.values++; d.values == maxValues {
		d.fail(n, field, "the file has more than %d values", maxValues)
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// A section is a mapping whose fields are taken one by one; those that nobody takes are errors.
type section struct {
	doc    *document
	node   *yaml.Node
	path   string
	fields map[string]*yaml.Node
	keys   []*yaml.Node
}

// section returns a node as a mapping. What is no mapping is an error, and has no fields.
func (d *document) section(n *yaml.Node, path string) *section {
	n = d.follow(n, path)
	s := &section{doc: d, node: n, path: path, fields: make(map[string]*yaml.Node)}
	if n.Kind != yaml.MappingNode {
		d.fail(n, s.name(""), "want a mapping of fields")
		return s
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if _, twice := s.fields[k.Value]; twice {
			d.fail(k, s.name(k.Value), "is given twice")
		}
		s.fields[k.Value] = n.Content[i+1]
		s.keys = append(s.keys, k)
	}
	return s
}

// name returns the full name of a field: models[2].inlet.perDegree.
func (s *section) name(field string) string {
	switch {
	case s.path == "" && field == "":
		return "the file"
	case s.path == "":
		return field
	case field == "":
		return s.path
	}
	return s.path + "." + field
}

func (s *section) fail(field, format string, args ...any) {
	n := s.node
	if f, ok := s.fields[field]; ok && f != nil {
		n = f
	}
	s.doc.fail(n, s.name(field), format, args...)
}

// take returns a field's node, or nil if it is absent or empty. The field stays known for its line.
func (s *section) take(field string) *yaml.Node {
	n, ok := s.fields[field]
	if !ok {
		return nil
	}
	for i, k := range s.keys {
		if k.Value == field {
			s.keys = append(s.keys[:i:i], s.keys[i+1:]...)
			break
		}
	}
	n = s.doc.follow(n, s.name(field))
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	return n
}

// has tells whether a field is there, without taking it.
func (s *section) has(field string) bool {
	_, ok := s.fields[field]
	return ok
}

// done reports the fields that nobody took.
func (s *section) done() {
	for _, k := range s.keys {
		s.doc.fail(k, s.name(k.Value), "there is no such field")
	}
}

// text returns a field's string, or otherwise where it is absent.
func (s *section) text(field, otherwise string) string {
	n := s.take(field)
	if n == nil {
		return otherwise
	}
	if n.Kind != yaml.ScalarNode {
		s.fail(field, "want a text")
		return otherwise
	}
	return n.Value
}

// number returns a field's finite number within low and high, or otherwise where it is absent or wrong.
func (s *section) number(field string, low, high, otherwise float64) float64 {
	n := s.take(field)
	if n == nil {
		return otherwise
	}
	v, err := number(n)
	if err == nil && !(v >= low && v <= high) {
		err = fmt.Errorf("is %v: want %v to %v", v, low, high)
	}
	if err != nil {
		s.fail(field, "%w", err)
		return otherwise
	}
	return v
}

func number(n *yaml.Node) (float64, error) {
	var v float64
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" || n.Decode(&v) != nil {
		return 0, fmt.Errorf("is %q: want a number", n.Value)
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("is %v: want a finite number", v)
	}
	return v, nil
}

// flag returns a field's truth, or otherwise where it is absent.
func (s *section) flag(field string, otherwise bool) bool {
	n := s.take(field)
	if n == nil {
		return otherwise
	}
	var v bool
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&v) != nil {
		s.fail(field, "is %q: want true or false", n.Value)
		return otherwise
	}
	return v
}

// duration returns a field's positive duration, or otherwise where it is absent or wrong.
func (s *section) duration(field string, otherwise time.Duration) time.Duration {
	n := s.take(field)
	if n == nil {
		return otherwise
	}
	v, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v <= 0 {
		s.fail(field, "is %q: want a duration above 0 such as 30s", n.Value)
		return otherwise
	}
	return v
}

// list calls each with every element of a list and its name.
func (s *section) list(field string, each func(n *yaml.Node, name string)) {
	n := s.take(field)
	if n == nil {
		return
	}
	if n.Kind != yaml.SequenceNode {
		s.fail(field, "want a list")
		return
	}
	for i, e := range n.Content {
		if s.doc.values >= maxValues {
			return
		}
		name := fmt.Sprintf("%s[%d]", s.name(field), i)
		each(s.doc.follow(e, name), name)
	}
}

// texts returns a field's list of texts.
func (s *section) texts(field string) (out []string) {
	s.list(field, func(n *yaml.Node, name string) {
		if n.Kind != yaml.ScalarNode || n.Value == "" {
			s.doc.fail(n, name, "want a text")
			return
		}
		out = append(out, n.Value)
	})
	return out
}

// pairs returns a field's mapping of texts to texts.
func (s *section) pairs(field string) map[string]string {
	n := s.take(field)
	if n == nil {
		return nil
	}
	in := s.doc.section(n, s.name(field))
	out := make(map[string]string, len(in.fields))
	for k := range in.fields {
		out[k] = in.text(k, "")
	}
	return out
}
