// Package strictyaml reads YAML into structs, and takes nothing that it does not understand: a field that
// does not exist, is given twice or has the wrong type is an error with file, line and field.
//
// Its main function is [Decode]. [Schema] describes the same structs as a JSON schema. Both go by tags:
//
//	yaml:"name"      the field's name; a field without it is an error of the program
//	doc:"…"          what it means, for the schema
//	enum:"a,b"       what it may be
//	examples:"a,b"   what it may be, among other things, for the schema
//	required:"true"  must be there
//	min:"0" max:"1"  bounds of a number, or of each number of a list
package strictyaml

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	maxErrors = 20        // more would help nobody
	maxValues = 2_000_000 // once aliases are followed
	maxDepth  = 64
)

// Decode reads a node into what into points to. Fields that the node lacks keep their values. All that is
// wrong with it is told at once, joined; path is how the fields are called in errors.
func Decode(file string, n *yaml.Node, path string, into any) error {
	d := NewDecoder(file)
	d.Decode(n, path, into)
	return d.Err()
}

// A Decoder reads a file that is taken apart in several steps, such as structs that depend on a field, and gathers
// all that is wrong with it. What the file may hold is bounded over all of them.
type Decoder struct {
	file   string
	values int
	errs   []error
}

// NewDecoder returns a decoder of the file of a name.
func NewDecoder(file string) *Decoder { return &Decoder{file: file} }

// Decode is [Decode], and tells whether nothing was wrong.
func (d *Decoder) Decode(n *yaml.Node, path string, into any) bool {
	before := len(d.errs)
	v := reflect.ValueOf(into).Elem()
	if x := resolve(n); null(x) && v.Kind() == reflect.Struct {
		d.required(x, path, v.Type(), nil)
	}
	d.value(n, path, v, "", 0)
	return len(d.errs) == before && before < maxErrors
}

// Fail adds an error at the field of a mapping, or at the mapping itself where it lacks the field or where field is
// empty.
func (d *Decoder) Fail(n *yaml.Node, path, field, format string, args ...any) {
	if v := Field(n, field); v != nil {
		n = v
	}
	if field != "" {
		path = join(path, field)
	}
	d.fail(n, path, format, args...)
}

// Err returns all that was wrong, joined.
func (d *Decoder) Err() error { return errors.Join(d.errs...) }

// Field returns the value of a field of a mapping, or nil. Aliases are followed.
func Field(n *yaml.Node, name string) *yaml.Node {
	if n = resolve(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if keyOf(n.Content[i]) == name {
			return resolve(n.Content[i+1])
		}
	}
	return nil
}

// resolve returns what an alias stands for, or any other node itself.
func resolve(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// keyOf returns the text of a key; that of an alias is what it stands for.
func keyOf(n *yaml.Node) string { return resolve(n).Value }

// Errorf returns an error at a node.
func Errorf(file string, n *yaml.Node, path, format string, args ...any) error {
	if path == "" {
		path = "the file"
	}
	line := 0
	if n != nil {
		line = n.Line
	}
	return fmt.Errorf("%s:%d: %s: %w", file, line, path, fmt.Errorf(format, args...))
}

func (d *Decoder) fail(n *yaml.Node, path, format string, args ...any) {
	if len(d.errs) < maxErrors {
		d.errs = append(d.errs, Errorf(d.file, n, path, format, args...))
	}
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	nodeType     = reflect.TypeFor[*yaml.Node]()
)

func (d *Decoder) value(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag, depth int) {
	if len(d.errs) >= maxErrors {
		return
	}
	if d.values++; d.values == maxValues || depth > maxDepth {
		d.fail(n, path, "the file holds too much, or in too many layers")
	}
	if d.values >= maxValues || depth > maxDepth {
		return
	}
	n = resolve(n)
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(n))
		return
	}
	if null(n) {
		return // as if it were absent
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, path, v.Elem(), tag, depth+1)
	case reflect.Struct:
		d.object(n, path, v, depth)
	case reflect.Map:
		d.table(n, path, v, depth)
	case reflect.Slice:
		d.list(n, path, v, tag, depth)
	default:
		d.scalar(n, path, v, tag)
	}
}

// null tells whether a node stands for nothing.
func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (d *Decoder) object(n *yaml.Node, path string, v reflect.Value, depth int) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "want fields and their values")
		return
	}
	seen, filled := map[string]bool{}, map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, name := n.Content[i], keyOf(n.Content[i])
		field, tag, ok := fieldOf(v, name)
		if len(d.errs) == maxErrors {
			return
		}
		switch {
		case !ok:
			d.fail(key, join(path, name), "there is no such field; there are %s", strings.Join(names(v.Type()), ", "))
		case seen[name]:
			d.fail(key, join(path, name), "is given twice")
		default:
			d.value(n.Content[i+1], join(path, name), field, tag, depth+1)
		}
		seen[name] = true
		filled[name] = !null(resolve(n.Content[i+1]))
	}
	d.required(n, path, v.Type(), filled)
}

// required tells which fields of a struct must be there and are not.
func (d *Decoder) required(n *yaml.Node, path string, t reflect.Type, filled map[string]bool) {
	for name, f := range fields(t) {
		if f.Tag.Get("required") != "" && !filled[name] {
			d.fail(n, join(path, name), "is missing")
		}
	}
}

func (d *Decoder) table(n *yaml.Node, path string, v reflect.Value, depth int) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "want names and their values")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := keyOf(n.Content[i])
		key := reflect.ValueOf(name).Convert(v.Type().Key())
		if v.MapIndex(key).IsValid() {
			d.fail(n.Content[i], join(path, name), "is given twice")
			continue
		}
		x := reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i+1], join(path, name), x, "", depth+1)
		v.SetMapIndex(key, x)
	}
}

func (d *Decoder) list(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag, depth int) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "want a list")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, x := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		if null(resolve(x)) {
			d.fail(x, at, "is empty: fill it in, or take it out of the list")
		}
		d.value(x, at, list.Index(i), tag, depth+1)
	}
	v.Set(list)
}

func (d *Decoder) scalar(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "want one value")
		return
	}
	switch {
	case v.Type() == durationType:
		t, err := time.ParseDuration(n.Value)
		if err != nil || t <= 0 {
			d.fail(n, path, "is %q: want a duration above 0 such as 30s", n.Value)
			return
		}
		v.SetInt(int64(t))
	case v.Kind() == reflect.String:
		if n.Tag != "!!str" && n.Tag != "!!int" && n.Tag != "!!float" && n.Tag != "!!timestamp" {
			d.fail(n, path, "is %q: want a text", n.Value)
			return
		}
		if enum := tag.Get("enum"); enum != "" && !slices.Contains(strings.Split(enum, ","), n.Value) {
			d.fail(n, path, "is %q: want %s", n.Value, strings.ReplaceAll(tag.Get("enum"), ",", ", "))
			return
		}
		v.SetString(n.Value)
	case v.Kind() == reflect.Bool:
		var b bool
		if n.Tag != "!!bool" || n.Decode(&b) != nil {
			d.fail(n, path, "is %q: want true or false", n.Value)
			return
		}
		v.SetBool(b)
	case v.CanInt():
		var i int64
		if n.Tag != "!!int" || n.Decode(&i) != nil || i < 0 || v.OverflowInt(i) {
			d.fail(n, path, "is %q: want a whole number, not negative", n.Value)
			return
		}
		if d.bounded(n, path, float64(i), tag) {
			v.SetInt(i)
		}
	case v.CanFloat():
		var f float64
		if n.Tag != "!!int" && n.Tag != "!!float" || n.Decode(&f) != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.fail(n, path, "is %q: want a finite number", n.Value)
			return
		}
		if d.bounded(n, path, f, tag) {
			v.SetFloat(f)
		}
	default:
		panic("strictyaml: a field of type " + v.Type().String())
	}
}

// bounded tells whether a number is within the bounds of its field.
func (d *Decoder) bounded(n *yaml.Node, path string, v float64, tag reflect.StructTag) bool {
	low, high := bounds(tag)
	if v >= low && v <= high {
		return true
	}
	switch {
	case math.IsInf(high, 1):
		d.fail(n, path, "is %v: want at least %v", v, low)
	case math.IsInf(low, -1):
		d.fail(n, path, "is %v: want at most %v", v, high)
	default:
		d.fail(n, path, "is %v: want %v to %v", v, low, high)
	}
	return false
}

func bounds(tag reflect.StructTag) (low, high float64) {
	low, high = math.Inf(-1), math.Inf(1)
	for _, b := range []struct {
		name string
		to   *float64
	}{{"min", &low}, {"max", &high}} {
		if text, ok := tag.Lookup(b.name); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				panic("strictyaml: a field has the bound " + text)
			}
			*b.to = v
		}
	}
	return low, high
}

// fieldOf returns the field of a struct that has a name, also of a struct that is embedded in it.
func fieldOf(v reflect.Value, name string) (reflect.Value, reflect.StructTag, bool) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			if x, tag, ok := fieldOf(v.Field(i), name); ok {
				return x, tag, true
			}
		} else if f.IsExported() && f.Tag.Get("yaml") == name {
			return v.Field(i), f.Tag, true
		}
	}
	return reflect.Value{}, "", false
}

// fields ranges over the fields of a struct and those that are embedded, by name, in order.
func fields(t reflect.Type) func(func(string, reflect.StructField) bool) {
	return func(yield func(string, reflect.StructField) bool) {
		var walk func(t reflect.Type) bool
		walk = func(t reflect.Type) bool {
			for f := range t.Fields() {
				if f.Anonymous {
					if !walk(f.Type) {
						return false
					}
					continue
				}
				if name := f.Tag.Get("yaml"); f.IsExported() && name != "" && name != "-" && !yield(name, f) {
					return false
				}
			}
			return true
		}
		walk(t)
	}
}

func names(t reflect.Type) []string {
	var all []string
	for name := range fields(t) {
		all = append(all, name)
	}
	return all
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
