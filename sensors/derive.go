package sensors

import (
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/internal/exposition"
)

// DeriveOptions tune [Derive]. The zero value works.
type DeriveOptions struct {
	// Cores returns a node's CPU capacity, which turns cores in use into a ratio; nil, or 0 of a node, leaves
	// the ratio out.
	Cores func(node string) float64
}

// Derive returns a source that gives, beside what s gives, the kinds that s lacks and that follow from
// others: watts from counters of energy, cores in use from the counter of CPU time, CPU utilization from
// cores in use, ΔT from inlet and exhaust, the pressure difference from both sides. Rates are there from the
// second measurement on. The Source of a derived reading ends in "|derived"; its time is that of the older of
// its inputs, or the end of the interval of a rate. It is a [BatchSource] if s is one.
func Derive(s SensorSource, o DeriveOptions) SensorSource {
	rates := new(exposition.Rates)
	return through(s, func(node string, readings []Reading, err error) ([]Reading, error) {
		d := derivation{slices.Clone(readings)}
		for _, r := range []struct{ counter, rate Kind }{{Energy, Power}, {CPUEnergy, CPUPower}, {CPUTime, CPUUsed}} {
			if c, ok := d.has(r.counter); ok && !has(d.all, r.rate) {
				if v, end, ok := rates.Per(node+"\xff"+string(r.counter)+"\xff"+c.Source, c.Value, c.At); ok {
					d.add(r.rate, v, end, 0, c.Source)
				}
			}
		}
		if used, ok := d.has(CPUUsed); ok && o.Cores != nil && !has(d.all, CPUUtilization) {
			if cores := o.Cores(node); cores > 0 {
				d.add(CPUUtilization, min(used.Value/cores, 1), used.At, used.Mean, used.Source)
			}
		}
		d.difference(DeltaT, ExhaustTemp, InletTemp)
		d.difference(PressureDelta, PressureInlet, PressureExhaust)
		return d.all, err
	})
}

const derived = "|derived"

type derivation struct{ all []Reading }

func (d *derivation) has(kind Kind) (Reading, bool) {
	i := slices.IndexFunc(d.all, func(r Reading) bool { return r.Kind == kind })
	if i < 0 {
		return Reading{}, false
	}
	return d.all[i], true
}

// add adds a kind, if its value is possible.
func (d *derivation) add(kind Kind, v float64, at time.Time, mean time.Duration, source string) {
	if Possible(kind, v) == nil {
		d.all = append(d.all, Reading{Kind: kind, Value: v, At: at, Mean: mean, Source: strings.TrimSuffix(source, derived) + derived})
	}
}

// difference adds a minus b.
func (d *derivation) difference(kind, a, b Kind) {
	x, okX := d.has(a)
	y, okY := d.has(b)
	if !okX || !okY || has(d.all, kind) {
		return
	}
	at := x.At
	if y.At.Before(at) {
		at = y.At
	}
	d.add(kind, x.Value-y.Value, at, 0, x.Source)
}
