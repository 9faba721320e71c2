package sensors

import (
	"context"
	"errors"
	"slices"
)

// Only returns a source that gives no other kinds than those listed: an exporter whose CPU power is wanted,
// but whose platform power comes from a better place. It is a [BatchSource] if the source is.
func Only(s SensorSource, kinds ...Kind) SensorSource {
	o := only{s, slices.Clone(kinds)}
	if b, ok := s.(BatchSource); ok {
		return batchOnly{o, b}
	}
	return o
}

type only struct {
	SensorSource
	kinds []Kind
}

// String names the source.
func (o only) String() string { return Name(o.SensorSource) }

// Read implements [SensorSource].
func (o only) Read(ctx context.Context, node string) ([]Reading, error) {
	return o.keep(node)(o.SensorSource.Read(ctx, node))
}

func (o only) keep(node string) func([]Reading, error) ([]Reading, error) {
	return func(readings []Reading, err error) ([]Reading, error) {
		kept := slices.DeleteFunc(readings, func(r Reading) bool { return !slices.Contains(o.kinds, r.Kind) })
		var left []error
		for _, e := range Errors(err) {
			if e, ok := errors.AsType[*Error](e); ok && e.Kind != "" && !slices.Contains(o.kinds, e.Kind) {
				continue
			}
			left = append(left, e)
		}
		err = joinKnown(left, false)
		if len(kept) == 0 && err == nil {
			err = &Error{Source: Name(o.SensorSource), Node: node, Err: ErrNoReading}
		}
		return kept, err
	}
}

type batchOnly struct {
	only
	batch BatchSource
}

// ReadAll implements [BatchSource].
func (o batchOnly) ReadAll(ctx context.Context, nodes []string) (map[string][]Reading, map[string]error) {
	readings, errs := ReadAll(ctx, o.batch, nodes)
	for _, n := range nodes {
		r, err := o.keep(n)(readings[n], errs[n])
		delete(readings, n)
		delete(errs, n)
		if len(r) > 0 {
			readings[n] = r
		}
		if err != nil {
			errs[n] = err
		}
	}
	return readings, errs
}
