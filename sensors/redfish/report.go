package redfish

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/leastwatt/leastwatt/sensors"
)

// report looks for a metric report that has all that the plan has found of what is wanted, from the same
// sensors, and makes it the plan.
func (d *discovery) report(ctx context.Context) error {
	root := d.static[rootPath]
	if root == nil || root.TelemetryService == "" {
		return nil
	}
	service, err := d.links(ctx, string(root.TelemetryService))
	if err != nil || service.MetricReports == "" {
		return unlessFatal(err)
	}
	reports, err := d.members(ctx, string(service.MetricReports), maxReports)
	if err != nil {
		return unlessFatal(err)
	}
	want := make(map[string]found) // by the sensor that the report is to tell of
	best, _ := choose(d.found, nil, d.bmc)
	for kind, f := range best {
		if f.uri != "" {
			want[property(f.uri)] = found{kind: kind, view: viewReport, rank: f.rank}
		}
	}
	for _, uri := range reports {
		s := step{view: viewReport, uri: uri, report: want}
		fs, err := d.take(ctx, &s)
		if err != nil {
			if fatal(err) {
				return err
			}
			continue
		}
		has := make(map[sensors.Kind]bool)
		for _, f := range fs {
			has[f.kind] = true
		}
		all := true
		for _, k := range d.opts.Kinds {
			all = all && has[k]
		}
		if all {
			s.etag = ""
			d.plan = []step{s}
			return nil
		}
	}
	return nil
}

func unlessFatal(err error) error {
	if err != nil && fatal(err) {
		return err
	}
	return nil
}

// property makes the place of a value in a report comparable with a sensor's own place. Reports name the
// field ("…/Sensors/Inlet#/Reading", "…/Thermal#/Temperatures/2/ReadingCelsius"), views the sensor.
func property(uri string) string {
	uri = strings.Replace(uri, "/#", "#", 1)
	for _, field := range []string{"#/Reading", "/Reading", "/ReadingCelsius", "/PowerConsumedWatts"} {
		if cut, ok := strings.CutSuffix(uri, field); ok {
			return cut
		}
	}
	return uri
}

// reported takes what is wanted out of a report, if it is young enough.
func reported(s *step, body []byte, t times, maxAge time.Duration) ([]found, error) {
	m, err := decode[schemas.MetricReport](body)
	if err != nil {
		return nil, err
	}
	newest := make(map[sensors.Kind]found)
	for _, v := range m.MetricValues {
		f, ok := s.report[property(v.MetricProperty)]
		if !ok {
			continue
		}
		if f.value, ok = number(v.MetricValue); !ok {
			continue
		}
		at := v.Timestamp
		if at == "" {
			at = m.Timestamp
		}
		f.at = t.of(at)
		if f.at.IsZero() {
			continue // a report may be of any time
		}
		if old, ok := newest[f.kind]; !ok || f.at.After(old.at) { // a report may hold a series
			newest[f.kind] = f
		}
	}
	var fs []found
	for _, f := range newest {
		if age := t.arrived.Sub(f.at); age > maxAge {
			return nil, fmt.Errorf("%w: the metric report tells of %v ago, at most %v allowed", sensors.ErrStale, age.Round(time.Second), maxAge)
		}
		fs = append(fs, f)
	}
	if len(fs) == 0 {
		return nil, fmt.Errorf("%w: the metric report has none of what it had", sensors.ErrStale)
	}
	return fs, nil
}
