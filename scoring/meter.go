package scoring

import (
	"errors"
	"sync/atomic"
)

// A Meter is what electricity costs at one place, as it was told last. Machines of one place share it. What
// refreshes it in the background sets it; what decides reads it. It is safe for concurrent use.
type Meter struct {
	zone   string
	tariff atomic.Pointer[Tariff]
	still  atomic.Pointer[Meter] // of a tariff before or now
}

// NewMeter returns a meter of a zone of which nothing is known yet.
func NewMeter(zone string) *Meter {
	m := &Meter{zone: zone}
	m.Set(Tariff{Err: errNotRead})
	return m
}

var (
	errNotRead = errors.New("nothing is known of the place yet")
	errNoMeter = errors.New("the place of the machine is not known")
)

// Zone returns the name of the place.
func (m *Meter) Zone() string { return m.zone }

// Set says what electricity costs from now on.
func (m *Meter) Set(t Tariff) { m.tariff.Store(&t) }

// Still returns a meter of the place that tells for ever what this one tells now; nil of nil. It is for those who keep a node to
// explain it later, and costs little: it is the same one for as long as nothing is set.
func (m *Meter) Still() *Meter {
	if m == nil {
		return nil
	}
	now := m.tariff.Load()
	if s := m.still.Load(); s != nil && s.tariff.Load() == now {
		return s
	}
	s := &Meter{zone: m.zone}
	s.tariff.Store(now)
	m.still.Store(s)
	return s
}

// Tariff returns what electricity costs now. That of a nil meter is not known.
func (m *Meter) Tariff() Tariff {
	if m == nil {
		return Tariff{Err: errNoMeter}
	}
	return *m.tariff.Load()
}

// Grams returns the gCO2eq that an hour of one watt of server emits, and whether that is known.
func (t Tariff) Grams() (float64, bool) {
	if t.Err != nil || t.IntensityErr != nil || t.validate("") != nil {
		return 0, false
	}
	return t.kWh() * t.Intensity, true
}
