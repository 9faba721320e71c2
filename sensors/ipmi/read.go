package ipmi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/dcmi"
	"github.com/bougou/go-ipmi/pkg/command/sensor"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/leastwatt/leastwatt/sensors"
)

// read asks for power by DCMI first, because that needs no list of sensors, then for the chosen sensors.
func (c *controller) read(ctx context.Context) ([]sensors.Reading, error) {
	var out []sensors.Reading
	var errs []error
	power, err := c.dcmiPower(ctx)
	switch {
	case err == nil:
		out = append(out, power)
	case !errors.Is(err, sensors.ErrNoReading):
		return nil, c.failure("", err)
	}
	if err := c.walk(ctx); err != nil {
		return out, c.failure("", err)
	}
	chosen := choose(c.inventory.records, c.bmc.Sensors)
	if len(out) > 0 && c.bmc.Sensors[sensors.Power] == "" {
		delete(chosen, sensors.Power)
	} else {
		out = nil
	}
	for _, kind := range slices.Sorted(maps.Keys(chosen)) {
		r, err := c.measure(ctx, kind, chosen[kind])
		if err == nil {
			out = append(out, r)
			continue
		}
		errs = append(errs, c.failure(kind, err))
		if errors.Is(err, errSilent) || ctx.Err() != nil {
			break
		}
	}
	if len(out) == 0 && len(errs) == 0 {
		errs = append(errs, c.failure("", fmt.Errorf("%w: none of its %d sensors is one that we know; name them in Sensors", sensors.ErrNoReading, len(c.inventory.records))))
	}
	return out, errors.Join(errs...)
}

// dcmiPower returns the whole server's power by DCMI 1.5 §6.6.1. A BMC that answers draws power itself, so 0 W
// means that it does not measure. The answer's time stamp is the BMC's clock, often never set, and not used.
func (c *controller) dcmiPower(ctx context.Context) (sensors.Reading, error) {
	if c.noDCMI || c.bmc.Sensors[sensors.Power] != "" {
		return sensors.Reading{}, sensors.ErrNoReading
	}
	var res dcmi.GetDCMIPowerReadingResponse
	err := c.do(ctx, &dcmi.GetDCMIPowerReadingRequest{}, &res)
	if isCompletion(err) && !errors.Is(classify(err), sensors.ErrThrottled) {
		c.noDCMI = true // asked again in the next session
		return sensors.Reading{}, fmt.Errorf("%w: no DCMI: %w", sensors.ErrNoReading, err)
	}
	if err != nil {
		return sensors.Reading{}, err
	}
	if !res.PowerMeasurementActive || res.CurrentPower == 0 {
		return sensors.Reading{}, fmt.Errorf("%w: DCMI measures no power", sensors.ErrNoReading)
	}
	return sensors.Reading{Kind: sensors.Power, Value: float64(res.CurrentPower), At: time.Now(), Source: "ipmi:DCMI"}, nil
}

// measure reads the sensors of one kind.
func (c *controller) measure(ctx context.Context, kind sensors.Kind, of choice) (sensors.Reading, error) {
	if len(of.records) == 0 {
		return sensors.Reading{}, fmt.Errorf("%w: the BMC has no sensor named %q", sensors.ErrNoReading, c.bmc.Sensors[kind])
	}
	out := sensors.Reading{Kind: kind}
	found := 0
	var first error
	for i := range of.records {
		r := &of.records[i]
		value, err := c.value(ctx, r)
		if err == nil {
			err = sensors.Possible(kind, value)
		}
		if err != nil {
			err = fmt.Errorf("sensor %q: %w", r.name, err)
			if of.sum || errors.Is(err, errSilent) || ctx.Err() != nil {
				return sensors.Reading{}, err
			}
			first = cmp.Or(first, err)
			continue
		}
		found++
		switch {
		case of.sum:
			out.Value += value
			out.Source = fmt.Sprintf("ipmi:SDR/sum of %d", found)
		case found == 1 || value > out.Value:
			out.Value, out.Source = value, "ipmi:SDR/"+r.name
		}
	}
	if found == 0 {
		return sensors.Reading{}, first
	}
	out.At = time.Now()
	return out, nil
}

// value reads one sensor and converts it by its record (IPMI v2.0 §36.3).
func (c *controller) value(ctx context.Context, r *record) (float64, error) {
	ctx = client.WithCommandContext(ctx, new(client.CommandContext).WithResponderAddr(r.owner).WithResponderLUN(r.lun))
	var res sensor.GetSensorReadingResponse
	if err := c.do(ctx, &sensor.GetSensorReadingRequest{SensorNumber: r.number}, &res); err != nil {
		return 0, err
	}
	if res.ReadingUnavailable || res.SensorScanningDisabled {
		return 0, fmt.Errorf("%w: unavailable or not scanned now", sensors.ErrNoReading)
	}
	factor := r.factor
	if r.linear.IsNonLinear() {
		var f sensor.GetSensorReadingFactorsResponse
		if err := c.do(ctx, &sensor.GetSensorReadingFactorsRequest{SensorNumber: r.number, Reading: res.Reading}, &f); err != nil {
			return 0, err
		}
		factor = f.ReadingFactors
	}
	return r.convert(res.Reading, factor)
}

func (r *record) convert(raw uint8, factor types.ReadingFactors) (float64, error) {
	v := types.ConvertReading(raw, r.unit.AnalogDataFormat, factor, r.linear)
	switch r.unit.BaseUnit {
	case types.SensorUnitType_DegreesF:
		v = (v - 32) / 1.8
	case types.SensorUnitType_DegreesK:
		v -= 273.15
	}
	// The factors are decimal with at most three places in practice; their product in binary shows 23.400000000000002.
	v = math.Round(v*1e6) / 1e6
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%w: raw value %d converts to no number", sensors.ErrMalformed, raw)
	}
	return v, nil
}
