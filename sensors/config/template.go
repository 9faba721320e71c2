package config

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"github.com/leastwatt/leastwatt/sensors"
)

// A Node is what templates can use of a node: {{.Name}}, {{.Address}} (of which IPv6 gets its brackets where a URL needs
// them), {{.Labels.rack}}, and of an IPv4 address its four numbers, as in https://10.0.{{.IPv4.Octet3}}.{{add .IPv4.Octet4 100}}. Their functions
// work on texts and numbers alone (there is none that reads a file, the environment or the network): lower,
// upper, replace OLD NEW TEXT, trimPrefix PREFIX TEXT, trimSuffix SUFFIX TEXT, split SEPARATOR TEXT,
// regexReplace PATTERN REPLACEMENT TEXT, int TEXT, add NUMBER NUMBER; and those of package text/template.
type Node struct {
	Name    string
	Address string // host name or IP address; "" where it is not known
	Labels  map[string]string
	Cores   float64 // CPU capacity, for derived utilization; 0 where it is not known
}

// view is a Node as templates see it.
type view struct {
	Name   string
	Labels map[string]string
	node   Node
}

// Address returns the address, or an error where it is not known: no template makes a URL without a host.
func (v view) Address() (string, error) {
	if v.node.Address == "" {
		return "", fmt.Errorf("the address of node %q is not known: list it under sensors.nodes", v.Name)
	}
	return v.node.Address, nil
}

// octets are the four numbers of an IPv4 address.
type octets struct{ Octet1, Octet2, Octet3, Octet4 int }

// IPv4 returns the numbers of the node's address.
func (v view) IPv4() (octets, error) {
	text, err := v.Address()
	if err != nil {
		return octets{}, err
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Unmap().Is4() {
		return octets{}, fmt.Errorf("the address of node %q is %q, not an IPv4 address", v.Name, text)
	}
	b := a.Unmap().As4()
	return octets{int(b[0]), int(b[1]), int(b[2]), int(b[3])}, nil
}

var functions = template.FuncMap{
	"lower":      strings.ToLower,
	"upper":      strings.ToUpper,
	"replace":    func(old, with, s string) string { return strings.ReplaceAll(s, old, with) },
	"trimPrefix": func(prefix, s string) string { return strings.TrimPrefix(s, prefix) },
	"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
	"split":      func(separator, s string) []string { return strings.Split(s, separator) },
	"int":        strconv.Atoi,
	"add":        func(a, b int) int { return a + b },
	"regexReplace": func(pattern, with, s string) (string, error) {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return "", err
		}
		return re.ReplaceAllString(s, with), nil
	},
}

func parse(text string) (*template.Template, error) {
	t, err := template.New("").Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template: %s", strings.TrimPrefix(err.Error(), "template: :"))
	}
	return t, nil
}

// CheckTemplate returns what is wrong with a template over a [Node].
func CheckTemplate(text string) error {
	_, err := parse(text)
	return err
}

// Expand makes a template a text about a node.
func Expand(text string, n Node) (string, error) { return expand(text, n) }

// expand makes a template a text about a node.
func expand(text string, n Node) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := parse(text)
	if err != nil {
		return "", err
	}
	w := &short{}
	if err := t.Execute(w, view{Name: n.Name, Labels: n.Labels, node: n}); err != nil {
		if e, ok := errors.AsType[template.ExecError](err); ok {
			err = errors.Unwrap(e)
		}
		return "", fmt.Errorf("template %s: %w", text, err)
	}
	return Bracket(w.String(), n.Address), nil
}

// Bracket puts a node's IPv6 address into brackets where it is the host of a URL or of host:port, and has none: so one template
// serves nodes with addresses of either kind. Other texts and addresses stay as they are.
func Bracket(text, address string) string {
	if a, err := netip.ParseAddr(address); err != nil || !a.Is6() {
		return text
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if ok {
		scheme += "://"
	} else {
		scheme, rest = "", text
	}
	after, ok := strings.CutPrefix(rest, address)
	if !ok || !(strings.HasPrefix(after, ":") || scheme != "" && (after == "" || strings.ContainsAny(after[:1], "/?#"))) {
		return text
	}
	return scheme + "[" + address + "]" + after
}

// short is a text of bounded length.
type short struct{ bytes.Buffer }

// Write implements [io.Writer].
func (s *short) Write(p []byte) (int, error) {
	if s.Len()+len(p) > 8<<10 {
		return 0, fmt.Errorf("%w: it makes a text of more than 8 KiB", sensors.ErrMalformed)
	}
	return s.Buffer.Write(p)
}
