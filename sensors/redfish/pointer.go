package redfish

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/leastwatt/leastwatt/sensors"
)

// override splits the place of an override into a path and a JSON pointer.
func override(place string) (path, pointer string, err error) {
	path, pointer, _ = strings.Cut(place, "#")
	if !strings.HasPrefix(path, "/") {
		return "", "", fmt.Errorf("%w: %q is not a path that begins with /", sensors.ErrNoReading, place)
	}
	if pointer == "" {
		pointer = "/Reading"
	}
	if !strings.HasPrefix(pointer, "/") {
		return "", "", fmt.Errorf("%w: what follows # in %q does not begin with /", sensors.ErrNoReading, place)
	}
	return path, pointer, nil
}

// walk follows a JSON pointer (RFC 6901) and returns what it leads to, and the object that holds it.
func walk(v any, pointer string) (any, map[string]any, error) {
	var parent map[string]any
	for key := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		key = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[key]
			if !ok {
				return nil, nil, fmt.Errorf("no %q", key)
			}
			v, parent = next, at
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(at) {
				return nil, nil, fmt.Errorf("no element %q of %d", key, len(at))
			}
			v = at[i]
		default:
			return nil, nil, errors.New("it ends too soon")
		}
	}
	return v, parent, nil
}
