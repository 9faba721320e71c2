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
