package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// A decoder keeps the first error; reading goes on with zero values, so that the code that reads a form is
// a list of its fields.
type decoder struct{ err error }

func (d *decoder) fail(path, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: "+format, append([]any{path}, args...)...)
	}
}

// An object is one JSON object of which every field must be read.
type object struct {
	d      *decoder
	path   string
	fields map[string]json.RawMessage
	seen   []string
}

func (d *decoder) object(path string, raw json.RawMessage) *object {
	o := &object{d: d, path: path}
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		d.fail(path, "want an object, not %s", brief(raw))
		return o
	}
	if err := json.Unmarshal(raw, &o.fields); err != nil {
		d.fail(path, "%w", err)
	}
	return o
}

// brief shows the start of foreign text in an error.
func brief(raw []byte) string {
	if len(raw) == 0 {
		return "nothing"
	}
	const most = 40
	if len(raw) > most {
		return string(bytes.ToValidUTF8(raw[:most], nil)) + "…"
	}
	return string(raw)
}

func (o *object) at(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

func (o *object) has(name string) bool { _, ok := o.fields[name]; return ok }

// into decodes a field that must be there and not null.
func (o *object) into(name string, v any) {
	o.seen = append(o.seen, name)
	raw, ok := o.fields[name]
	switch {
	case !ok:
		o.d.fail(o.at(name), "missing")
	case string(bytes.TrimSpace(raw)) == "null":
		o.d.fail(o.at(name), "null is not a value")
	default:
		if err := json.Unmarshal(raw, v); err != nil {
			if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
				o.d.fail(o.at(name), "want %s, not %s", t.Type, brief(raw))
			} else {
				o.d.fail(o.at(name), "%w", err)
			}
		}
	}
}

func (o *object) number(name string) (v float64)   { o.into(name, &v); return v }
func (o *object) integer(name string) (v int)      { o.into(name, &v); return v }
func (o *object) text(name string) (v string)      { o.into(name, &v); return v }
func (o *object) flag(name string) (v bool)        { o.into(name, &v); return v }
func (o *object) moment(name string) (v time.Time) { o.into(name, &v); return v }

// numbers decodes an array of numbers; encoding/json would read null in it as 0.
func (o *object) numbers(name string) []float64 {
	var list []*float64
	o.into(name, &list)
	out := make([]float64, len(list))
	for i, v := range list {
		if v == nil {
			o.d.fail(fmt.Sprintf("%s[%d]", o.at(name), i), "null is not a number")
			return nil
		}
		out[i] = *v
	}
	return out
}

// noNull refuses null anywhere in a field of numbers or flags, which encoding/json would read as 0.
func (o *object) noNull(name string) {
	if bytes.Contains(o.fields[name], []byte("null")) {
		o.d.fail(o.at(name), "null is not a value")
	}
}

// names decodes an array of input names.
func (o *object) names(name string) (v []power.Input) {
	o.into(name, &v)
	return v
}

func (o *object) raw(name string) json.RawMessage {
	o.seen = append(o.seen, name)
	if raw, ok := o.fields[name]; ok {
		return raw
	}
	o.d.fail(o.at(name), "missing")
	return nil
}

// list decodes an array of objects.
func (o *object) list(name string, most int) []*object {
	var raws []json.RawMessage
	o.into(name, &raws)
	if len(raws) > most {
		o.d.fail(o.at(name), "%d elements: at most %d are allowed", len(raws), most)
		return nil
	}
	out := make([]*object, len(raws))
	for i, raw := range raws {
		out[i] = o.d.object(fmt.Sprintf("%s[%d]", o.at(name), i), raw)
	}
	return out
}

// done refuses the fields that nobody has asked for.
func (o *object) done() {
	var unknown []string
	for name := range o.fields {
		if !slices.Contains(o.seen, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		slices.Sort(o.seen)
		o.d.fail(o.at(unknown[0]), "unknown field (known here: %s)", strings.Join(slices.Compact(o.seen), ", "))
	}
}
