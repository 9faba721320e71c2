package sensors

import (
	"errors"
	"slices"
)

// Only returns a source that gives no other kinds than those listed: an exporter whose CPU power is wanted,
// but whose platform power comes from a better place. It is a [BatchSource] if the source is.
func Only(s SensorSource, kinds ...Kind) SensorSource {
	kinds = slices.Clone(kinds)
	return through(s, func(_ string, readings []Reading, err error) ([]Reading, error) {
		kept := slices.DeleteFunc(readings, func(r Reading) bool { return !slices.Contains(kinds, r.Kind) })
		var left []error
		for _, e := range Errors(err) {
			if e, ok := errors.AsType[*Error](e); ok && e.Kind != "" && !slices.Contains(kinds, e.Kind) {
				continue
			}
			left = append(left, e)
		}
		return kept, joinKnown(left, false)
	})
}
