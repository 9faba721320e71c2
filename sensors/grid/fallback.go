package grid

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Fallback asks sources in order and takes the first answer: a provider, its last forecast, an own forecast, a zone's
// mean. All must have one signal. What none knows is the errors of all, joined: they wrap [ErrUnknownZone] or [ErrUnsupported] where each
// says such a thing, since one that was away might have known, and ask to be left alone where each does. For limits of rates wrap each source in a [Cached], rather than the whole.
type Fallback struct{ sources []Source }

// NewFallback returns a source over others. Sources of different signals are an error: they are never mixed.
func NewFallback(sources ...Source) (*Fallback, error) {
	if len(sources) == 0 {
		return nil, errors.New("fallback of no sources")
	}
	for _, s := range sources[1:] {
		if s.Signal() != sources[0].Signal() {
			return nil, fmt.Errorf("fallback from %q to %q: %w", sources[0].Signal(), s.Signal(), ErrImplausible)
		}
	}
	return &Fallback{sources: sources}, nil
}

// Signal implements [Source].
func (f *Fallback) Signal() Signal { return f.sources[0].Signal() }

// Current implements [Source].
func (f *Fallback) Current(ctx context.Context, zone string) (Point, error) {
	var failed failures
	for _, s := range f.sources {
		p, err := s.Current(ctx, zone)
		if err == nil {
			err = p.Validate()
		}
		if err == nil {
			return p, nil
		}
		failed = append(failed, err)
	}
	return Point{}, failed
}

// History implements [HistorySource] by the first source that has any.
func (f *Fallback) History(ctx context.Context, zone string, from, until time.Time) ([]Point, error) {
	return f.first(func(s Source) ([]Point, error) { return History(ctx, s, zone, from, until) })
}

// Forecast implements [ForecastSource] by the first source that has any.
func (f *Fallback) Forecast(ctx context.Context, zone string, from, until time.Time) ([]Point, error) {
	return f.first(func(s Source) ([]Point, error) { return Forecast(ctx, s, zone, from, until) })
}

func (f *Fallback) first(ask func(Source) ([]Point, error)) ([]Point, error) {
	var failed failures
	for _, s := range f.sources {
		ps, err := ask(s)
		if err == nil && len(ps) > 0 {
			return ps, nil
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		return nil, ErrUnknown
	}
	return nil, failed
}
