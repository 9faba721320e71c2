package forecast

import (
	"context"
	"errors"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

const (
	firstFeed = 15 * time.Second // how long who asks for a new zone waits for its history
	soon      = time.Minute      // until a zone of which nothing is known is asked for again
)

// enter waits for the turn to ask the provider for history.
func (s *Source) enter(ctx context.Context) error {
	select {
	case s.round <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) leave() { <-s.round }

// begin asks for the history of a zone for the first time, unless a round or somebody else does: then it waits for that. After a failure rounds alone ask again.
func (s *Source) begin(ctx context.Context, name string, z *zone) error {
	ctx, cancel := context.WithTimeout(ctx, firstFeed)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if z.begun || z.out.Load() != nil {
		return nil
	}
	if !s.read {
		if err := s.remember(); err != nil && s.read { // else it is tried again, and told, in a round
			s.opts.Logger.Warn("history for forecasts", "signal", s.Signal(), "error", err)
		}
	}
	err := s.feed(ctx, name, z)
	if z.out.Load() != nil {
		return nil // the next round tells what was wrong with the rest
	}
	if !errors.Is(err, grid.ErrUnknownZone) && !errors.Is(err, grid.ErrUnsupported) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return err
}

// lacks tells whether nothing is known of a zone.
func (s *Source) lacks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, z := range s.zones {
		if z.out.Load() == nil {
			return true
		}
	}
	return false
}
