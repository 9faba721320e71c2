package redfish

import (
	"context"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/leastwatt/leastwatt/sensors"
)

// supplies sums the input power of all supplies. It is none where one of them does not tell: a part is not
// the whole.
func (b *bmc) supplies(ctx context.Context, s *step) ([]found, error) {
	subsystem, err := b.links(ctx, s.uri)
	if err != nil {
		return nil, err
	}
	if subsystem.PowerSupplies == "" {
		return nil, nil
	}
	units, err := b.members(ctx, string(subsystem.PowerSupplies), maxSupplies)
	if err != nil {
		return nil, err
	}
	sum, n := 0.0, 0
	for _, uri := range units {
		r, err := b.get(ctx, uri, "")
		if err != nil {
			return nil, err
		}
		unit, err := decode[schemas.PowerSupplyUnit](r.Body)
		if err != nil {
			return nil, err
		}
		if !works(unit.Status) {
			continue
		}
		l, err := b.links(ctx, uri)
		if err != nil {
			return nil, err
		}
		if l.Metrics == "" {
			return nil, nil
		}
		if r, err = b.get(ctx, string(l.Metrics), ""); err != nil {
			return nil, err
		}
		m, err := decode[schemas.PowerSupplyMetrics](r.Body)
		if err != nil {
			return nil, err
		}
		if m.InputPowerWatts.Reading == nil {
			return nil, nil
		}
		sum += *m.InputPowerWatts.Reading
		n++
	}
	if n == 0 {
		return nil, nil
	}
	return []found{{kind: sensors.Power, value: sum, view: viewSupplies, rank: rankSupplies + 100*s.chassis}}, nil
}
