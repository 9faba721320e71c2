package promgrid

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// point makes a sample a point, in the signal's unit, not checked yet.
func (s *Source) point(zone string, m model.Metric, value float64, start, end time.Time) (grid.Point, error) {
	if math.IsNaN(value) {
		return grid.Point{}, fmt.Errorf("promgrid: zone %q: NaN: %w", zone, grid.ErrUnknown)
	}
	scale := s.query.Scale
	if scale == 0 {
		var err error
		if scale, err = unitScale(string(m["units"])); err != nil {
			return grid.Point{}, fmt.Errorf("promgrid: zone %q: %w", zone, err)
		}
	}
	p := grid.Point{Zone: zone, Signal: s.query.Signal, Start: start.UTC(), End: end.UTC(), Value: value * scale, Currency: s.query.Currency,
		Estimated: m["is_estimated"] == "true", Source: "prometheus"}
	if provider := string(m["provider"]); provider != "" {
		p.Source += ":" + provider
	}
	return p, nil
}

// unitScale understands the units of grid-intensity-go: "gCO2e per kWh", "gCO2 per kWh", "lbCO2e per MWh".
func unitScale(units string) (float64, error) {
	switch {
	case units == "", strings.HasPrefix(units, "gCO2") && strings.HasSuffix(units, "per kWh"):
		return 1, nil
	case strings.HasPrefix(units, "lbCO2") && strings.HasSuffix(units, "per MWh"):
		return 0.45359237, nil // g/kWh: the international pound is 453.59237 g
	}
	return 0, fmt.Errorf("units %.40q are not known; set Scale: %w", units, grid.ErrImplausible)
}

// agree refuses two series of one zone that are of different providers or units.
func agree(a, b model.Metric) error {
	for _, l := range []model.LabelName{"provider", "units"} {
		if a[l] != b[l] {
			return fmt.Errorf("series of %s %.40q and %.40q; choose one in the query: %w", l, a[l], b[l], grid.ErrImplausible)
		}
	}
	return nil
}

// saw remembers a zone, up to a thousand.
func (s *Source) saw(zone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) < 1000 && zone != "" {
		s.seen[zone] = true
	}
}

// absent tells why a zone has no series.
func (s *Source) absent(zone string, others bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if others && !s.seen[zone] {
		return grid.ErrUnknownZone
	}
	return grid.ErrUnknown
}

// unix returns a time of Unix seconds, zero if it is none.
func unix(f float64) time.Time {
	if !(f > 0 && f < 1e10) {
		return time.Time{}
	}
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC()
}
