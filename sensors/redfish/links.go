package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/leastwatt/leastwatt/sensors"
)

// links is what leads from one resource to others. What has a type other than the schema's is taken for
// absent.
type links struct {
	ID                 ref    `json:"@odata.id"`
	Name               text   `json:"Id"`
	Chassis            ref    `json:"Chassis"`
	Systems            ref    `json:"Systems"`
	TelemetryService   ref    `json:"TelemetryService"`
	Members            refs   `json:"Members"`
	Next               text   `json:"Members@odata.nextLink"`
	Thermal            ref    `json:"Thermal"`
	ThermalSubsystem   ref    `json:"ThermalSubsystem"`
	ThermalMetrics     ref    `json:"ThermalMetrics"`
	EnvironmentMetrics ref    `json:"EnvironmentMetrics"`
	Sensors            ref    `json:"Sensors"`
	Power              ref    `json:"Power"`
	PowerSubsystem     ref    `json:"PowerSubsystem"`
	PowerSupplies      ref    `json:"PowerSupplies"`
	Metrics            ref    `json:"Metrics"`
	MetricReports      ref    `json:"MetricReports"`
	Links              nested `json:"Links"`
	Features           struct {
		Expand struct {
			NoLinks flag `json:"NoLinks"`
		} `json:"ExpandQuery"`
	} `json:"ProtocolFeaturesSupported"`
}

// ref is a link: an object with an @odata.id.
type ref string

// UnmarshalJSON takes what is no link for none.
func (r *ref) UnmarshalJSON(b []byte) error {
	var o struct {
		ID string `json:"@odata.id"`
	}
	if json.Unmarshal(b, &o) == nil {
		*r = ref(o.ID)
	}
	return nil
}

type refs []ref

// UnmarshalJSON leaves out what is no link.
func (r *refs) UnmarshalJSON(b []byte) error {
	var all []ref
	if json.Unmarshal(b, &all) == nil {
		for _, l := range all {
			if l != "" {
				*r = append(*r, l)
			}
		}
	}
	return nil
}

type text string

// UnmarshalJSON takes what is no string for "".
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
	}
	return nil
}

type flag bool

// UnmarshalJSON takes what is not true for false.
func (f *flag) UnmarshalJSON(b []byte) error {
	*f = flag(bytes.Equal(bytes.TrimSpace(b), []byte("true")))
	return nil
}

type nested struct {
	ComputerSystems refs
	Sessions        ref
}

// UnmarshalJSON takes what is no object for an empty one.
func (n *nested) UnmarshalJSON(b []byte) error {
	var o struct {
		ComputerSystems refs `json:"ComputerSystems"`
		Sessions        ref  `json:"Sessions"`
	}
	if json.Unmarshal(b, &o) == nil {
		*n = nested(o)
	}
	return nil
}

// links asks for a resource's links, once.
func (b *bmc) links(ctx context.Context, uri string) (*links, error) {
	if l := b.static[uri]; l != nil {
		return l, nil
	}
	r, err := b.get(ctx, uri, "")
	if err != nil {
		return nil, err
	}
	l := new(links)
	if err := json.Unmarshal(r.Body, l); err != nil {
		return nil, fmt.Errorf("%w: %s: not a JSON object", sensors.ErrMalformed, uri)
	}
	b.static[uri] = l
	return l, nil
}

const maxPages = 16

// members asks for the links of a collection, of all its pages, at most limit of them.
func (b *bmc) members(ctx context.Context, uri string, limit int) ([]string, error) {
	var all []string
	for range maxPages {
		l, err := b.links(ctx, uri)
		if err != nil {
			return nil, err
		}
		for _, m := range l.Members {
			if len(all) == limit {
				return all, nil
			}
			all = append(all, string(m))
		}
		if uri = string(l.Next); uri == "" {
			break
		}
	}
	return all, nil
}
