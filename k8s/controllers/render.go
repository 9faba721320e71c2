package controllers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
	"unicode/utf8"

	sprig "github.com/Masterminds/sprig/v3"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/sensors/config"
)

// Limits on templates.
const (
	MaxTemplate = 4 << 10                // bytes of one text
	MaxRendered = 4 << 10                // bytes of what one text becomes, and of each value on the way
	MaxTime     = 250 * time.Millisecond // for all texts of one profile
)

// width is a width or precision of printf that makes long texts.
var width = regexp.MustCompile(`%[^a-zA-Z%]*[0-9]{3,}`)

// removed are sprig's functions that depend on more than their arguments, or take long whatever these are.
var removed = []string{
	"env", "expandenv", "getHostByName", // sprig's hermetic set has none of them: should it change, ours does not
	"ago", "toDate", "mustToDate", "must_date_modify", "mustDateModify", "dateModify", "date_modify", "now", // of the clock and its zone
	"randInt", "shuffle", "uuidv4", "fail",
	"genPrivateKey", "derivePassword", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey",
	"buildCustomCert", "encryptAES", "decryptAES", "bcrypt", "htpasswd",
}

// budget bounds one rendering.
type budget struct{ until time.Time }

// functions are what templates can call. All of them take and return values of bounded size.
func (b *budget) functions() template.FuncMap {
	all := sprig.HermeticTxtFuncMap()
	for _, name := range removed {
		delete(all, name)
	}
	// Those of text/template that make texts, bounded like the rest.
	all["print"], all["println"], all["printf"] = fmt.Sprint, fmt.Sprintln, fmt.Sprintf
	all["html"], all["js"], all["urlquery"] = template.HTMLEscaper, template.JSEscaper, template.URLQueryEscaper
	for name, f := range all {
		all[name] = b.bounded(name, reflect.ValueOf(f))
	}
	return all
}

var errorType = reflect.TypeFor[error]()

// bounded returns a function that does what f does, on what is not too large.
func (b *budget) bounded(name string, f reflect.Value) any {
	t := f.Type()
	in := make([]reflect.Type, t.NumIn())
	for i := range in {
		in[i] = t.In(i)
	}
	out := reflect.FuncOf(in, []reflect.Type{t.Out(0), errorType}, t.IsVariadic())
	return reflect.MakeFunc(out, func(args []reflect.Value) []reflect.Value {
		fails := func(err error) []reflect.Value {
			return []reflect.Value{reflect.Zero(t.Out(0)), reflect.ValueOf(&err).Elem()}
		}
		if time.Now().After(b.until) {
			return fails(fmt.Errorf("the template takes longer than %v", MaxTime))
		}
		room := MaxRendered
		for _, a := range args {
			if err := fits(a, &room); err != nil {
				return fails(fmt.Errorf("%s: %w", name, err))
			}
		}
		if err := multiplies(name, args); err != nil {
			return fails(err)
		}
		var results []reflect.Value
		if t.IsVariadic() {
			results = f.CallSlice(args)
		} else {
			results = f.Call(args)
		}
		if n := len(results); n > 1 && !results[n-1].IsNil() {
			return fails(results[n-1].Interface().(error))
		}
		room = MaxRendered
		if err := fits(results[0], &room); err != nil {
			return fails(fmt.Errorf("%s: %w", name, err))
		}
		return []reflect.Value{results[0], reflect.Zero(errorType)}
	}).Interface()
}

var errLarge = fmt.Errorf("makes more than %d bytes", MaxRendered)

// fits takes the size of a value from what is left.
func fits(v reflect.Value, left *int) error {
	if *left -= 8; *left < 0 {
		return errLarge
	}
	switch v.Kind() {
	case reflect.String:
		*left -= v.Len()
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			return fits(v.Elem(), left)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := fits(v.Index(i), left); err != nil {
				return err
			}
		}
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			if err := errors.Join(fits(i.Key(), left), fits(i.Value(), left)); err != nil {
				return err
			}
		}
	}
	if *left < 0 {
		return errLarge
	}
	return nil
}

// multiplies refuses what makes much of small arguments, before it is made.
func multiplies(name string, args []reflect.Value) error {
	switch name {
	case "repeat", "indent", "nindent", "until", "untilStep", "seq", "wrap", "wrapWith", "abbrev", "abbrevboth", "trunc", "round", "substr", "slice":
		for _, a := range args {
			if err := modest(a); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case "printf":
		if width.MatchString(args[0].String()) || strings.Contains(args[0].String(), "*") {
			return errors.New("printf: a width or precision is of more than two digits")
		}
	}
	return nil
}

// modest refuses numbers that are larger than a text may be.
func modest(v reflect.Value) error {
	for v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	switch {
	case v.CanInt() && (v.Int() > MaxRendered || v.Int() < -MaxRendered), v.CanUint() && v.Uint() > MaxRendered,
		v.CanFloat() && !(v.Float() >= -MaxRendered && v.Float() <= MaxRendered):
		return errLarge
	case v.Kind() == reflect.String && len(v.String()) > 4 && strings.Trim(v.String(), "0123456789") == "":
		return errLarge // sprig reads numbers from texts
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			if err := modest(v.Index(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// check refuses what takes unbounded time without calling a function: loops, and templates that call each other.
func check(t *template.Template) error {
	if len(t.Templates()) > 1 {
		return errors.New("define and block are not for profiles")
	}
	var walk func(n parse.Node) error
	list := func(l *parse.ListNode) error {
		if l == nil {
			return nil
		}
		for _, n := range l.Nodes {
			if err := walk(n); err != nil {
				return err
			}
		}
		return nil
	}
	walk = func(n parse.Node) error {
		switch n := n.(type) {
		case *parse.RangeNode:
			return errors.New("range is not for profiles: there are no loops")
		case *parse.TemplateNode:
			return errors.New("template is not for profiles")
		case *parse.IfNode:
			return errors.Join(list(n.List), list(n.ElseList))
		case *parse.WithNode:
			return errors.Join(list(n.List), list(n.ElseList))
		}
		return nil
	}
	if t.Tree == nil {
		return nil
	}
	return list(t.Root)
}

// expand makes a template a text.
func (b *budget) expand(text string, data any) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	if len(text) > MaxTemplate {
		return "", fmt.Errorf("the template is longer than %d bytes", MaxTemplate)
	}
	t, err := template.New("").Option("missingkey=error").Funcs(b.functions()).Parse(text)
	if err == nil {
		err = check(t)
	}
	if err != nil {
		return "", fmt.Errorf("template %q: %w", text, err)
	}
	var out bounded
	if err := t.Execute(&out, data); err != nil {
		return "", fmt.Errorf("template %q: %w", text, err)
	}
	if !utf8.Valid(out.Bytes()) {
		return "", fmt.Errorf("template %q: makes a text that is not UTF-8, as of a character that was cut", text)
	}
	return out.String(), nil
}

// bounded is a text of bounded length.
type bounded struct{ bytes.Buffer }

// Write implements [io.Writer].
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > MaxRendered {
		return 0, errLarge
	}
	return b.Buffer.Write(p)
}

// variables are what texts can say of a node. They are maps, so that what is not known is an error.
func variables(n *v1.Node) map[string]any {
	m := profiles.Machine(n)
	v := map[string]any{"Name": n.Name, "Hostname": hostname(n), "Labels": n.Labels}
	if n.Labels == nil {
		v["Labels"] = map[string]string{}
	}
	if m.Address != "" {
		v["Address"] = m.Address
	}
	if a, err := netip.ParseAddr(m.Address); err == nil && a.Unmap().Is4() {
		b := a.Unmap().As4()
		v["IPv4"] = map[string]any{"Address": m.Address, "Octet1": int(b[0]), "Octet2": int(b[1]), "Octet3": int(b[2]), "Octet4": int(b[3])}
	}
	return v
}

// names are what the name of a Secret can say of a node: what the node cannot choose.
func names(n *v1.Node) map[string]any {
	v := map[string]any{"Name": n.Name}
	if hostname(n) == n.Name {
		v["Hostname"] = n.Name
	}
	return v
}

func hostname(n *v1.Node) string {
	for _, a := range n.Status.Addresses {
		if a.Type == v1.NodeHostName {
			return a.Address
		}
	}
	return n.Name
}

// Render returns the profile that a template makes of a node. Every text of it is a template; see
// [v1alpha1.NodeProfileTemplateSpec]. Its cost is bounded by [MaxTemplate], [MaxRendered] and [MaxTime].
func Render(t *v1alpha1.ProfileTemplate, n *v1.Node) (v1alpha1.ProfileTemplate, error) {
	var out v1alpha1.ProfileTemplate
	data, err := json.Marshal(t)
	if err != nil {
		return out, err
	}
	if !bytes.Contains(data, []byte("{{")) {
		return *t.DeepCopy(), nil
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return out, err
	}
	r := &rendering{budget: budget{time.Now().Add(MaxTime)}, all: variables(n), names: names(n)}
	if tree, err = r.walk(tree, ""); err != nil {
		return out, err
	}
	if data, err = json.Marshal(tree); err != nil {
		return out, err
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return out, fmt.Errorf("what the template makes is no profile: %w", err)
	}
	return out, secretNames(&out.Spec)
}

// secretNames checks names that templates have made.
func secretNames(s *v1alpha1.NodeProfileSpec) error {
	var all []string
	for i := range s.Sensors {
		all = append(all, s.Sensors[i].SecretName)
	}
	if s.Model != nil && s.Model.Remote != nil {
		all = append(all, s.Model.Remote.SecretName)
	}
	for _, name := range all {
		if name == "" {
			continue
		}
		if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
			return fmt.Errorf("secretName: %q is no name of a Secret: %s", name, errs[0])
		}
	}
	return nil
}

type rendering struct {
	budget
	all, names map[string]any
}

func (r *rendering) walk(v any, field string) (any, error) {
	switch v := v.(type) {
	case string:
		data := r.all
		if field == "secretName" {
			data = r.names
		}
		text, err := r.expand(v, data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		address, _ := r.all["Address"].(string)
		return config.Bracket(text, address), nil
	case []any:
		for i := range v {
			var err error
			if v[i], err = r.walk(v[i], field); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			var err error
			if v[k], err = r.walk(v[k], k); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}
