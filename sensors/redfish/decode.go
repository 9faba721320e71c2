package redfish

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/leastwatt/leastwatt/sensors"
)

// decode reads a resource. Where its types are not those of the schema, fields that cannot be converted
// without doubt are taken for absent and the others kept: one bad field does not lose the resource.
func decode[T any](body []byte) (*T, error) {
	v := new(T)
	// The library takes "N/A" for 0 watts in Power, so that is always repaired first.
	if _, power := any(v).(*schemas.Power); !power {
		if json.Unmarshal(body, v) == nil {
			return v, nil
		}
	}
	var tree any
	if err := json.Unmarshal(body, &tree); err != nil {
		return nil, fmt.Errorf("%w: not JSON: %w", sensors.ErrMalformed, err)
	}
	repaired, ok := repair(tree, reflect.TypeFor[T](), 0)
	if !ok {
		return nil, fmt.Errorf("%w: not a JSON object", sensors.ErrMalformed)
	}
	text, err := json.Marshal(repaired)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sensors.ErrMalformed, err)
	}
	v = new(T)
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("%w: %w", sensors.ErrMalformed, err)
	}
	return v, nil
}

const maxDepth = 16 // deeper than any schema that is read here

// repair makes v fit a type, or tells that it cannot. Of an object it keeps what the type has.
func repair(v any, t reflect.Type, depth int) (any, bool) {
	if depth > maxDepth || v == nil {
		return nil, false
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct:
		if list, ok := v.([]any); ok && len(list) == 1 {
			v = list[0] // a list of one for the one
		}
		o, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		fitted := make(map[string]any, len(o))
		fields(t, func(name string, field reflect.Type) {
			if x, ok := repair(o[name], field, depth+1); ok {
				fitted[name] = x
			} else if field.Kind() == reflect.Slice && field.Elem().Kind() == reflect.Struct {
				fitted[name] = []any{} // the library does without an empty list in no place, and without a list not in all
			}
		})
		return fitted, true
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 { // raw JSON: vendors' own, not needed
			return nil, false
		}
		list, ok := v.([]any)
		if !ok {
			list = []any{v} // the one for a list of one
		}
		fitted := make([]any, 0, len(list))
		for _, x := range list {
			if x, ok := repair(x, t.Elem(), depth+1); ok {
				fitted = append(fitted, x)
			}
		}
		return fitted, true
	case reflect.String:
		switch x := v.(type) {
		case string:
			return x, true
		case float64:
			return strconv.FormatFloat(x, 'g', -1, 64), true
		}
	case reflect.Bool:
		b, ok := v.(bool)
		return b, ok
	case reflect.Float32, reflect.Float64:
		return number(v)
	case reflect.Int, reflect.Int64, reflect.Int32:
		if n, ok := number(v); ok && math.Abs(n) < 1<<31 {
			return int64(math.Round(n)), true
		}
	}
	return nil, false
}

// number returns the number that v is, or says.
func number(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case string:
		n, err := strconv.ParseFloat(strings.TrimSpace(x), 64)
		return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
	}
	return 0, false
}

// fields calls f for each field of a struct that JSON fills, by its JSON name.
func fields(t reflect.Type, f func(name string, t reflect.Type)) {
	for field := range t.Fields() {
		if field.Anonymous && field.Type.Kind() == reflect.Struct {
			fields(field.Type, f)
			continue
		}
		if !field.IsExported() || field.Name == "RawData" {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			name = field.Name
		}
		f(name, field.Type)
	}
}
