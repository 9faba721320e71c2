package redfish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// The views, as a Reading's Source names them.
const (
	viewOverride = "Override"
	viewReport   = "MetricReport"
	viewThermalM = "ThermalMetrics"
	viewEnv      = "EnvironmentMetrics"
	viewSensor   = "Sensors"
	viewThermal  = "Thermal"
	viewPower    = "PowerControl"
	viewSupplies = "PowerSupplies"
)

// Limits on what one BMC can make us ask for.
const (
	maxChassis  = 32
	maxSensors  = 512
	maxSupplies = 32
	maxReports  = 32
)

// discover finds out what to read. Resources that do not change are asked for once, also over attempts
// that were cut short, so that a slow BMC is discovered in the end.
func (b *bmc) discover(ctx context.Context) error {
	chassis, err := b.chassis(ctx)
	if err != nil {
		return err
	}
	d := &discovery{bmc: b, have: make(map[sensors.Kind]bool), bad: make(map[sensors.Kind]error)}
	for i := range b.overrides {
		if err := d.try(ctx, b.overrides[i]); err != nil {
			return err
		}
		// An override is followed even where it gives nothing: what it says is to be used, not another.
		d.have[b.overrides[i].kinds[0]] = true
		if !d.planned(b.overrides[i]) {
			d.plan = append(d.plan, b.overrides[i])
		}
	}
	for i, uri := range chassis {
		if err := d.search(ctx, i, uri); err != nil {
			return err
		}
		if d.wants() == nil {
			break
		}
	}
	if !b.opts.NoReports && time.Now().After(b.noReports) && d.wants() == nil && len(d.plan) > 1 {
		if err := d.report(ctx); err != nil {
			return err
		}
	}
	if d.wants() != nil { // what was there before may come back
		for _, old := range b.plan {
			if !d.planned(old) {
				old.etag = ""
				d.plan = append(d.plan, old)
			}
		}
	}
	b.plan, b.why = d.plan, d.reasons()
	b.discovered = time.Now()
	b.tries++
	clear(b.scanned)
	return nil
}

// reasons says why what is wanted is missing: the view that had it, but not well, else what went wrong
// with the views.
func (d *discovery) reasons() map[sensors.Kind]error {
	why := make(map[sensors.Kind]error)
	for _, k := range d.wants() {
		switch {
		case d.bad[k] != nil:
			why[k] = d.bad[k]
		case len(d.failed) > 0:
			why[k] = d.failed[0] // the first view in order of precedence
		}
	}
	return why
}

func (d *discovery) planned(s step) bool {
	return slices.ContainsFunc(d.plan, func(p step) bool { return p.view == s.view && p.uri == s.uri && p.pointer == s.pointer })
}

// chassis returns the chassis in order: those that a computer system is linked to go first.
func (b *bmc) chassis(ctx context.Context) ([]string, error) {
	root, err := b.links(ctx, rootPath)
	if err != nil {
		return nil, err
	}
	if root.Chassis == "" {
		return nil, fmt.Errorf("%w: the service has no Chassis", sensors.ErrNoReading)
	}
	members, err := b.members(ctx, string(root.Chassis), maxChassis)
	if err != nil {
		return nil, err
	}
	var first, rest []string
	for _, uri := range members {
		l, err := b.links(ctx, uri)
		if err != nil {
			if fatal(err) {
				return nil, err
			}
			continue
		}
		switch {
		case b.endpoint.Chassis != "":
			if string(l.Name) == b.endpoint.Chassis {
				first = append(first, uri)
			}
		case len(l.Links.ComputerSystems) > 0:
			first = append(first, uri)
		default:
			rest = append(rest, uri)
		}
	}
	all := slices.Concat(first, rest)
	if len(all) == 0 && b.endpoint.Chassis != "" {
		return nil, fmt.Errorf("%w: none of the %d chassis has the Id %q", sensors.ErrNoReading, len(members), b.endpoint.Chassis)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: the service lists no chassis that can be read", sensors.ErrNoReading)
	}
	return all, nil
}

// fatal tells whether an error is of the BMC as a whole, so that it is of no use to go on.
func fatal(err error) bool {
	return !slices.ContainsFunc([]error{sensors.ErrNoReading, sensors.ErrMalformed, sensors.ErrDevice, sensors.ErrStale, sensors.ErrImplausible},
		func(of error) bool { return errors.Is(err, of) })
}

// discovery is a plan in the making.
type discovery struct {
	*bmc
	plan   []step
	found  []found
	have   map[sensors.Kind]bool
	bad    map[sensors.Kind]error // the first value that was not possible
	failed []error                // of views
}

// wants returns the kinds that are still looked for.
func (d *discovery) wants() (missing []sensors.Kind) {
	for _, k := range d.opts.Kinds {
		if !d.have[k] {
			missing = append(missing, k)
		}
	}
	return missing
}

func (d *discovery) want(kinds ...sensors.Kind) bool {
	return slices.ContainsFunc(d.wants(), func(k sensors.Kind) bool { return slices.Contains(kinds, k) })
}

// fail notes that a view failed. The first few are enough: one BMC can have thousands of bad sensors.
func (d *discovery) fail(view string, err error) {
	if len(d.failed) < 8 {
		d.failed = append(d.failed, fmt.Errorf("%s: %w", view, err))
	}
}

// search asks the views of a chassis, in order of precedence, until nothing that is wanted is missing.
func (d *discovery) search(ctx context.Context, n int, uri string) error {
	l, err := d.links(ctx, uri)
	if err != nil {
		return err
	}
	if l.EnvironmentMetrics != "" && d.want(sensors.Power, sensors.Energy, sensors.FanSpeed) {
		if err := d.try(ctx, step{view: viewEnv, uri: string(l.EnvironmentMetrics), chassis: n}); err != nil {
			return err
		}
	}
	if l.ThermalSubsystem != "" && d.want(sensors.InletTemp, sensors.ExhaustTemp, sensors.PressureDelta) {
		sub, err := d.links(ctx, string(l.ThermalSubsystem))
		if err != nil && fatal(err) {
			return err
		}
		if err == nil && sub.ThermalMetrics != "" {
			if err := d.try(ctx, step{view: viewThermalM, uri: string(sub.ThermalMetrics), chassis: n}); err != nil {
				return err
			}
		}
	}
	if l.Power != "" && d.want(sensors.Power) {
		if err := d.try(ctx, step{view: viewPower, uri: string(l.Power), chassis: n}); err != nil {
			return err
		}
	}
	if l.Sensors != "" && d.wants() != nil {
		if err := d.scan(ctx, n, string(l.Sensors), false); err != nil {
			return err
		}
	}
	if l.Thermal != "" && d.want(sensors.InletTemp, sensors.ExhaustTemp, sensors.CPUTemp, sensors.FanSpeed) {
		if err := d.thermal(ctx, n, string(l.Thermal), string(l.Sensors)); err != nil {
			return err
		}
	}
	if l.Sensors != "" && d.want(sensors.InletTemp) {
		if err := d.scan(ctx, n, string(l.Sensors), true); err != nil {
			return err
		}
	}
	if l.PowerSubsystem != "" && d.want(sensors.Power) {
		return d.try(ctx, step{view: viewSupplies, uri: string(l.PowerSubsystem), chassis: n})
	}
	return nil
}

// thermal asks Thermal. A sensor that is an inlet by its name goes before an inlet by name in Thermal, but
// after one by context.
func (d *discovery) thermal(ctx context.Context, n int, uri, sensorsURI string) error {
	before := len(d.plan)
	if err := d.try(ctx, step{view: viewThermal, uri: uri, chassis: n}); err != nil || len(d.plan) == before || sensorsURI == "" {
		return err
	}
	last := slices.ContainsFunc(d.plan[before].last, func(f found) bool { return f.kind == sensors.InletTemp && f.rank%100 > rankSensorName })
	if !last {
		return nil
	}
	return d.scan(ctx, n, sensorsURI, true)
}

// try takes a step into the plan if it gives anything. Its error says that the BMC does not answer.
func (d *discovery) try(ctx context.Context, s step) error {
	fs, err := d.take(ctx, &s)
	if err != nil {
		if fatal(err) {
			return err
		}
		d.fail(s.view, err)
	}
	useful := false
	for _, f := range fs {
		if err := sensors.Possible(f.kind, f.value); err == nil {
			d.have[f.kind] = true
			useful = true
		} else if d.bad[f.kind] == nil {
			d.bad[f.kind] = fmt.Errorf("%s: %w", f.view, err)
		}
	}
	if useful {
		s.etag = "" // the answer that the next read compares with is to be its own
		d.plan = append(d.plan, s)
		d.found = append(d.found, fs...)
	}
	return nil
}
