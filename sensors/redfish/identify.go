package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/fault"
)

const maxSystems = 32

// Identify implements [sensors.Identifier]: what the node's computer system says of itself. It asks the BMC at each
// call, one request once the BMC is known.
func (s *Source) Identify(ctx context.Context, node string) (sensors.Hardware, error) {
	b, err := s.bmc(node)
	if err != nil {
		return sensors.Hardware{}, fault.Node(name, node, err)
	}
	select {
	case b.slot <- struct{}{}:
		defer func() { <-b.slot }()
	case <-ctx.Done():
		return sensors.Hardware{}, b.errorf("", fault.HTTP(ctx.Err()))
	}
	h, err := b.identify(ctx)
	if err != nil {
		return sensors.Hardware{}, b.errorf("", err)
	}
	return h, nil
}

func (b *bmc) identify(ctx context.Context) (sensors.Hardware, error) {
	uri, err := b.system(ctx)
	if err != nil {
		return sensors.Hardware{}, err
	}
	r, err := b.get(ctx, uri, "")
	if err != nil {
		return sensors.Hardware{}, err
	}
	h, err := parseSystem(r.Body)
	if err != nil {
		return h, fmt.Errorf("%s: %w", uri, err)
	}
	return h, nil
}

// system returns the computer system of the chassis that is read first, else the first that the BMC lists.
func (b *bmc) system(ctx context.Context) (string, error) {
	chassis, err := b.chassis(ctx)
	if err != nil && fatal(err) {
		return "", err
	}
	for _, uri := range chassis {
		if l, err := b.links(ctx, uri); err == nil && len(l.Links.ComputerSystems) > 0 {
			return string(l.Links.ComputerSystems[0]), nil
		}
	}
	root, err := b.links(ctx, rootPath)
	if err != nil {
		return "", err
	}
	if root.Systems != "" {
		all, err := b.members(ctx, string(root.Systems), maxSystems)
		if err != nil {
			return "", err
		}
		if len(all) > 0 {
			return all[0], nil
		}
	}
	return "", fmt.Errorf("%w: the service lists no computer system", sensors.ErrNoReading)
}

// parseSystem reads a ComputerSystem. A field of another type than the schema's is taken for absent.
func parseSystem(body []byte) (sensors.Hardware, error) {
	var o struct {
		Manufacturer, Model text
		ProcessorSummary    object
		MemorySummary       object
	}
	if err := json.Unmarshal(body, &o); err != nil {
		return sensors.Hardware{}, fmt.Errorf("%w: not a JSON object", sensors.ErrMalformed)
	}
	h := sensors.Hardware{System: words(string(o.Manufacturer) + " " + string(o.Model)), CPU: words(o.ProcessorSummary.text("Model")),
		Chips: o.ProcessorSummary.count("Count"), Cores: o.ProcessorSummary.count("CoreCount"),
		Threads: o.ProcessorSummary.count("LogicalProcessorCount"), MemoryGB: o.MemorySummary.number("TotalSystemMemoryGiB")}
	if strings.HasPrefix(strings.ToLower(string(o.Model)), strings.ToLower(string(o.Manufacturer))) {
		h.System = words(string(o.Model)) // which names its maker itself
	}
	if h == (sensors.Hardware{}) {
		return h, fmt.Errorf("%w: the computer system says nothing of its hardware", sensors.ErrNoReading)
	}
	return h, nil
}

// object is a JSON object; what is none is empty.
type object map[string]json.RawMessage

// UnmarshalJSON takes what is no object for an empty one.
func (o *object) UnmarshalJSON(b []byte) error {
	var m map[string]json.RawMessage
	if json.Unmarshal(b, &m) == nil {
		*o = m
	}
	return nil
}

func (o object) text(field string) string {
	var t text
	_ = json.Unmarshal(o[field], &t) // absent is ""
	return string(t)
}

func (o object) number(field string) float64 {
	var v float64
	if json.Unmarshal(o[field], &v) != nil || !(v > 0 && v <= 1e9) {
		return 0
	}
	return v
}

func (o object) count(field string) int {
	if v := o.number(field); v == math.Trunc(v) && v <= 1e6 {
		return int(v)
	}
	return 0
}

const maxName = 200

// words makes a text one line of words, of bounded length, without what does not print.
func words(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}
