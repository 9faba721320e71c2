package sensors

import "context"

// mapped is a source whose readings pass through a function, node by node. It is safe for concurrent use if
// the function is.
type mapped struct {
	SensorSource
	through func(node string, readings []Reading, err error) ([]Reading, error)
}

// through returns a source whose readings pass through f, as a [BatchSource] if s is one.
func through(s SensorSource, f func(node string, readings []Reading, err error) ([]Reading, error)) SensorSource {
	m := mapped{s, f}
	if b, ok := s.(BatchSource); ok {
		return batchMapped{m, b}
	}
	return m
}

// String names the source.
func (m mapped) String() string { return Name(m.SensorSource) }

// Read implements [SensorSource].
func (m mapped) Read(ctx context.Context, node string) ([]Reading, error) {
	readings, err := m.SensorSource.Read(ctx, node)
	return m.result(node, readings, err)
}

// result makes sure that nothing is never without an error.
func (m mapped) result(node string, readings []Reading, err error) ([]Reading, error) {
	readings, err = m.through(node, readings, err)
	if len(readings) == 0 && err == nil {
		err = &Error{Source: m.String(), Node: node, Err: ErrNoReading}
	}
	return readings, err
}

type batchMapped struct {
	mapped
	batch BatchSource
}

// ReadAll implements [BatchSource].
func (m batchMapped) ReadAll(ctx context.Context, nodes []string) (map[string][]Reading, map[string]error) {
	readings, errs := ReadAll(ctx, m.batch, nodes)
	for _, n := range nodes {
		r, err := m.result(n, readings[n], errs[n])
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
