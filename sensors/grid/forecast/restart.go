package forecast

import (
	"fmt"
	"math"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// Values returns the hours that a zone's model holds, oldest first, and the start of the first; NaN where one was missing.
// Nil means that none is known. See Restore.
func (s *Source) Values(zone string) (start time.Time, values []float64) {
	s.mu.Lock()
	z := s.zones[zone]
	s.mu.Unlock()
	if z == nil {
		return time.Time{}, nil
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.model.Values()
}

// Restore gives a zone a model that has observed what Values returned before a restart, in place of the one it had. A value
// that no point may have is an error, and then nothing is changed. The currency is that of a price.
func (s *Source) Restore(zone, currency string, start time.Time, values []float64) error {
	m := NewModel(s.opts.Model)
	for h, v := range values {
		if math.IsNaN(v) {
			continue
		}
		at := start.Add(time.Duration(h) * time.Hour)
		p := grid.Point{Zone: zone, Signal: s.Signal(), Start: at, End: at.Add(time.Hour), Value: v}
		if err := p.Validate(); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		if err := m.Observe(at, v); err != nil {
			return fmt.Errorf("restore zone %q: hour %d: %w", zone, h, err)
		}
	}
	z, err := s.zone(zone, false)
	if err != nil {
		return err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.model, z.currency = m, currency
	z.publish(zone, s.Signal())
	return nil
}
