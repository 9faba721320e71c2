package model

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/leastwatt/leastwatt/power"
)

// A Binding gives a model to nodes. Exactly one of Node, Selector and Hardware is set.
type Binding struct {
	Model    string `json:"model" yaml:"model"`
	Node     string `json:"node,omitempty" yaml:"node,omitempty"`         // a node's name
	Selector string `json:"selector,omitempty" yaml:"selector,omitempty"` // a label selector as Kubernetes writes it
	Hardware string `json:"hardware,omitempty" yaml:"hardware,omitempty"` // a system or CPU name; * stands for any text, case does not matter
}

// A Node is what a binding looks at.
type Node struct {
	Name     string
	Labels   map[string]string
	Hardware []string // the names its hardware goes by: system, CPU
}

// Bindings give each node its model: by its name, else by the first selector that its labels satisfy, else by
// the first hardware pattern that one of its names matches. It is immutable.
type Bindings struct {
	byNode    map[string]string
	selectors []boundSelector
	hardware  []Binding
}

type boundSelector struct {
	Binding
	selector Selector
}

// NewBindings checks and compiles bindings. Errors give the position in the list.
func NewBindings(list []Binding) (*Bindings, error) {
	b := &Bindings{byNode: make(map[string]string)}
	for i, x := range list {
		if x.Model == "" {
			return nil, fmt.Errorf("binding %d: model is missing", i)
		}
		switch {
		case x.Node != "" && x.Selector == "" && x.Hardware == "":
			if other, twice := b.byNode[x.Node]; twice {
				return nil, fmt.Errorf("binding %d: node %q has model %q already", i, x.Node, other)
			}
			b.byNode[x.Node] = x.Model
		case x.Node == "" && x.Selector != "" && x.Hardware == "":
			s, err := ParseSelector(x.Selector)
			if err != nil {
				return nil, fmt.Errorf("binding %d: %w", i, err)
			}
			b.selectors = append(b.selectors, boundSelector{x, s})
		case x.Node == "" && x.Selector == "" && x.Hardware != "":
			b.hardware = append(b.hardware, x)
		default:
			return nil, fmt.Errorf("binding %d: give exactly one of node, selector and hardware", i)
		}
	}
	return b, nil
}

// Find returns the model of a node and which kind of binding gave it ("node", "selector", "hardware"), or "".
func (b *Bindings) Find(n Node) (model, by string) {
	if m, ok := b.byNode[n.Name]; ok {
		return m, "node"
	}
	for _, s := range b.selectors {
		if s.selector.Matches(n.Labels) {
			return s.Model, "selector"
		}
	}
	for _, h := range b.hardware {
		for _, name := range n.Hardware {
			if MatchHardware(h.Hardware, name) {
				return h.Model, "hardware"
			}
		}
	}
	return "", ""
}

// Predictor returns the predictor that asks each node's model, and for each node without one the reason, which
// wraps [power.ErrNoModel] where no binding or model is there.
func (b *Bindings) Predictor(s *Set, nodes []Node) (*power.ByNode, map[string]error) {
	models, made, errs := make(map[string]power.Predictor), make(map[string]power.Predictor), make(map[string]error)
	for _, n := range nodes {
		name, by := b.Find(n)
		if name == "" {
			errs[n.Name] = fmt.Errorf("node %q: no binding gives it a model: %w", n.Name, power.ErrNoModel)
			continue
		}
		p, ok := made[name]
		if !ok {
			m := s.Model(name)
			if m == nil {
				errs[n.Name] = fmt.Errorf("node %q: bound by %s to model %q, which is not loaded: %w", n.Name, by, name, power.ErrNoModel)
				continue
			}
			var err error
			if p, err = m.Predictor(); err != nil {
				errs[n.Name] = fmt.Errorf("node %q: %w", n.Name, err)
				continue
			}
			made[name] = p
		}
		models[n.Name] = p
	}
	return power.NewByNode(models, nil), errs
}

// MatchHardware tells whether a system or CPU name matches a pattern, in which * stands for any text. Case does
// not matter, and what is neither letter nor digit stands for one space: label values cannot hold the rest.
func MatchHardware(pattern, name string) bool {
	parts := strings.Split(folded(pattern), "*")
	rest := folded(name)
	if rest == "" {
		return false
	}
	if len(parts) == 1 {
		return parts[0] == rest
	}
	rest, ok := strings.CutPrefix(rest, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, last)
}

// folded makes names comparable.
func folded(name string) string {
	return strings.ToLower(strings.Join(strings.FieldsFunc(name, func(r rune) bool {
		return r != '*' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), " "))
}
