package redfish

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/leastwatt/leastwatt/sensors"
)

// scan is what is known of a collection of sensors.
type scan struct {
	candidates []candidate
	asked      map[string]bool // members that were asked for, by URI
	done       bool
}

// candidate is a sensor that measures a kind.
type candidate struct {
	uri   string
	found found
}

// scan looks through the sensors of a chassis for what is wanted, and takes the best of each kind into the
// plan, one step each. By name, it takes inlets that only their names tell; otherwise all others.
func (d *discovery) scan(ctx context.Context, n int, uri string, byName bool) error {
	s := d.scanned[uri]
	if s == nil {
		s = &scan{asked: make(map[string]bool)}
		d.scanned[uri] = s
	}
	if !s.done {
		if err := d.enumerate(ctx, uri, s); err != nil {
			if fatal(err) {
				return err
			}
			d.fail(viewSensor, err) // Thermal may have it
			return nil
		}
		s.done = true
	}
	kinds := d.wants()
	if byName {
		kinds = []sensors.Kind{sensors.InletTemp}
	}
	for _, kind := range kinds {
		var best *candidate
		for i, c := range s.candidates {
			if c.found.kind == kind && (c.found.rank > rankSupplies) == byName && (best == nil || c.found.rank < best.found.rank) {
				best = &s.candidates[i]
			}
		}
		if best != nil {
			if err := d.try(ctx, step{view: viewSensor, uri: best.uri, chassis: n}); err != nil {
				return err
			}
		}
	}
	return nil
}

// enumerate asks for all sensors, in one request where the BMC can expand a collection.
func (d *discovery) enumerate(ctx context.Context, uri string, s *scan) error {
	if root := d.static[rootPath]; root != nil && bool(root.Features.Expand.NoLinks) {
		if done, err := d.expanded(ctx, uri, s); done || err != nil && fatal(err) {
			return err
		}
	}
	members, err := d.members(ctx, uri, maxSensors)
	if err != nil {
		return err
	}
	for _, m := range members {
		if s.asked[m] {
			continue
		}
		r, err := d.get(ctx, m, "")
		if err != nil {
			if fatal(err) {
				return err
			}
			continue
		}
		s.asked[m] = true
		d.note(s, r.Body, m, times{arrived: r.At})
	}
	return nil
}

// expanded asks for the collection with its members inside, and tells whether the BMC gave them.
func (d *discovery) expanded(ctx context.Context, uri string, s *scan) (bool, error) {
	for range maxPages {
		r, err := d.get(ctx, uri+"?$expand=.", "")
		if err != nil {
			return false, err
		}
		var page struct {
			Members []json.RawMessage `json:"Members"`
			Next    text              `json:"Members@odata.nextLink"`
		}
		if json.Unmarshal(r.Body, &page) != nil {
			return false, nil
		}
		for i, m := range page.Members {
			var head struct {
				ID      string          `json:"@odata.id"`
				Reading json.RawMessage `json:"Reading"`
				Units   text            `json:"ReadingUnits"`
			}
			if json.Unmarshal(m, &head) != nil || head.ID == "" {
				continue
			}
			if i == 0 && head.Reading == nil && head.Units == "" {
				return false, nil // links alone: it did not expand
			}
			if len(s.asked) < maxSensors*maxPages && !s.asked[head.ID] {
				s.asked[head.ID] = true
				d.note(s, m, head.ID, times{arrived: r.At})
			}
		}
		if uri = string(page.Next); uri == "" {
			return true, nil
		}
	}
	return true, nil
}

// note keeps what a sensor measures, if it is of use.
func (d *discovery) note(s *scan, body []byte, uri string, t times) {
	v, err := decode[schemas.Sensor](body)
	if err != nil {
		d.fail(viewSensor, err)
		return
	}
	for _, f := range sensor(v, t) {
		if err := sensors.Possible(f.kind, f.value); err != nil {
			if d.bad[f.kind] == nil {
				d.bad[f.kind] = fmt.Errorf("%s: %w", viewSensor, err)
			}
		} else if len(s.candidates) < maxSensors {
			s.candidates = append(s.candidates, candidate{uri, f})
		}
	}
}
