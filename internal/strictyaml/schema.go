package strictyaml

import (
	"math"
	"reflect"
	"strings"
)

// Schema returns the JSON schema (draft 2020-12) of a struct as [Decode] reads it.
func Schema(t reflect.Type) map[string]any {
	switch {
	case t == nodeType:
		return map[string]any{}
	case t == durationType:
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return Schema(t.Elem())
	case reflect.Struct:
		properties := map[string]any{}
		var required []string
		for name, f := range fields(t) {
			p := Schema(f.Type)
			if doc := f.Tag.Get("doc"); doc != "" {
				p["description"] = doc
			}
			if enum := f.Tag.Get("enum"); enum != "" {
				p["enum"] = strings.Split(enum, ",")
			}
			if examples := f.Tag.Get("examples"); examples != "" {
				p["examples"] = strings.Split(examples, ",")
			}
			limit(p, f.Tag)
			if f.Tag.Get("required") != "" {
				required = append(required, name)
			}
			properties[name] = p
		}
		o := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
		if required != nil {
			o["required"] = required
		}
		return o
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": Schema(t.Elem())}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": Schema(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64, reflect.Float32:
		return map[string]any{"type": "number"}
	}
	return map[string]any{"type": "integer", "minimum": 0}
}

// limit puts the bounds of a field's numbers into its schema.
func limit(p map[string]any, tag reflect.StructTag) {
	if items, ok := p["items"].(map[string]any); ok {
		p = items
	}
	if t := p["type"]; t != "number" && t != "integer" {
		return
	}
	low, high := bounds(tag)
	if !math.IsInf(low, 0) {
		p["minimum"] = low
	}
	if !math.IsInf(high, 0) {
		p["maximum"] = high
	}
}
