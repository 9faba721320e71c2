package model

import (
	"fmt"
	"slices"
	"strings"
)

// maxSelector bounds the length of a label selector in bytes.
const maxSelector = 4096

// A Selector says which labels a node must have. The zero value takes any.
type Selector struct{ requirements []requirement }

type requirement struct {
	key    string
	op     operator
	values []string
}

type operator int

const (
	in     operator = iota // the label is there and its value is in the list
	notIn                  // the label is not there, or its value is not in the list
	exists                 // the label is there
	absent                 // the label is not there
)

// ParseSelector reads the syntax of Kubernetes: a=b, a==b, a!=b, a in (b,c), a notin (b,c), a, !a, divided by
// commas, all of which must hold.
func ParseSelector(text string) (Selector, error) {
	if len(text) > maxSelector {
		return Selector{}, fmt.Errorf("label selector is %d bytes long: at most %d are allowed", len(text), maxSelector)
	}
	var s Selector
	for _, part := range splitSelector(text) {
		r, err := parseRequirement(strings.TrimSpace(part))
		if err != nil {
			return Selector{}, fmt.Errorf("label selector %q: %w", text, err)
		}
		s.requirements = append(s.requirements, r)
	}
	return s, nil
}

// splitSelector splits at the commas outside parentheses.
func splitSelector(text string) []string {
	var out []string
	depth, start := 0, 0
	for i, c := range text {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			out = append(out, text[start:i])
			start = i + 1
		}
	}
	return append(out, text[start:])
}

func parseRequirement(t string) (requirement, error) {
	if key, ok := strings.CutPrefix(t, "!"); ok {
		return made(key, absent)
	}
	for _, sign := range []struct {
		text string
		op   operator
	}{{"!=", notIn}, {"==", in}, {"=", in}} {
		if key, value, ok := strings.Cut(t, sign.text); ok {
			return made(key, sign.op, value)
		}
	}
	if !strings.Contains(t, "(") {
		return made(t, exists)
	}
	head, list, _ := strings.Cut(t, "(")
	list, ok := strings.CutSuffix(list, ")")
	f := strings.Fields(head)
	if !ok || len(f) != 2 || f[1] != "in" && f[1] != "notin" {
		return requirement{}, fmt.Errorf("%q: want KEY in (A,B) or KEY notin (A,B)", t)
	}
	op := in
	if f[1] == "notin" {
		op = notIn
	}
	return made(f[0], op, strings.Split(list, ",")...)
}

func made(key string, op operator, values ...string) (requirement, error) {
	r := requirement{key: strings.TrimSpace(key), op: op}
	if r.key == "" || strings.ContainsAny(r.key, " \t\n()=!,") {
		return r, fmt.Errorf("%q is not a label key", key)
	}
	for _, v := range values {
		if v = strings.TrimSpace(v); strings.ContainsAny(v, " \t\n()=!,") {
			return r, fmt.Errorf("%q is not a label value", v)
		}
		r.values = append(r.values, v)
	}
	return r, nil
}

// Matches tells whether labels satisfy all that is required.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s.requirements {
		v, there := labels[r.key]
		ok := false
		switch r.op {
		case in:
			ok = there && slices.Contains(r.values, v)
		case notIn:
			ok = !there || !slices.Contains(r.values, v)
		case exists:
			ok = there
		case absent:
			ok = !there
		}
		if !ok {
			return false
		}
	}
	return true
}
