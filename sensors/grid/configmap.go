package grid

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// ConfigMapName and ConfigMapNamespace say where the consumers of [ConfigMap] look for it.
const (
	ConfigMapName      = "carbon-intensity"
	ConfigMapNamespace = "kube-system"
)

// maxConfigMap is what Kubernetes lets a ConfigMap hold (1 MiB), less what data and names take.
const maxConfigMap = 1<<20 - 4096

// A datum is one element of the array under "data": EmissionsDataDto of Azure's carbon-intensity-exporter.
type datum struct {
	Location  string    `json:"location"`
	Timestamp time.Time `json:"timestamp"`
	Duration  int       `json:"duration"` // minutes
	Value     float64   `json:"value"`    // g/kWh
}

// ConfigMap returns the data and binaryData of the ConfigMap that Azure's kubernetes-carbon-intensity-exporter writes, and
// carbon-aware-keda-operator reads, from a forecast: points of one zone and one intensity, by start. Data holds
// lastHeartbeatTime (now), forecastDateTime (the first Start), message, numOfRecords, minForecast and maxForecast;
// binaryData holds under "data" the points as a JSON array of location, timestamp, duration in minutes and value in
// g/kWh. The exporter's points hold five minutes: see [Split]. That operator looks for the point that covers the present, and
// cannot do without one: let the points begin now or before.
//
// The exporter makes its ConfigMap immutable and replaces it whole; whoever writes this one should do so too. Of an
// outage it keeps the last points and tells it in message.
func ConfigMap(points []Point, message string, now time.Time) (data map[string]string, binaryData map[string][]byte, err error) {
	if len(points) == 0 {
		return nil, nil, fmt.Errorf("carbon-intensity ConfigMap: no points: %w", ErrUnknown)
	}
	first := points[0]
	low, high := math.Inf(1), math.Inf(-1)
	records := make([]datum, 0, len(points))
	for i, p := range points {
		if err := p.Validate(); err != nil {
			return nil, nil, fmt.Errorf("carbon-intensity ConfigMap: point %d: %w", i, err)
		}
		minutes := p.End.Sub(p.Start)
		switch {
		case p.Signal == Price:
			return nil, nil, errors.New("carbon-intensity ConfigMap: want an intensity, got a price")
		case p.Zone != first.Zone || p.Signal != first.Signal:
			return nil, nil, fmt.Errorf("carbon-intensity ConfigMap: point %d is %s of %q, the first %s of %q: %w", i, p.Signal, p.Zone, first.Signal, first.Zone, ErrImplausible)
		case i > 0 && p.Start.Before(points[i-1].End):
			return nil, nil, fmt.Errorf("carbon-intensity ConfigMap: point %d starts at %v, before the end of the one before: %w", i, p.Start, ErrImplausible)
		case minutes%time.Minute != 0:
			return nil, nil, fmt.Errorf("carbon-intensity ConfigMap: point %d holds %v: want full minutes: %w", i, minutes, ErrImplausible)
		}
		low, high = min(low, p.Value), max(high, p.Value)
		records = append(records, datum{p.Zone, p.Start.UTC(), int(minutes / time.Minute), p.Value})
	}
	b, err := json.Marshal(records)
	if err != nil {
		return nil, nil, fmt.Errorf("carbon-intensity ConfigMap: %w", err)
	}
	if len(b)+len(message) > maxConfigMap {
		return nil, nil, fmt.Errorf("carbon-intensity ConfigMap: %d points take %d bytes, a ConfigMap holds %d: give fewer", len(points), len(b), maxConfigMap)
	}
	return map[string]string{
		"lastHeartbeatTime": now.UTC().String(),
		"message":           message,
		"numOfRecords":      strconv.Itoa(len(records)),
		"forecastDateTime":  first.Start.UTC().String(),
		"minForecast":       strconv.FormatFloat(low, 'f', 6, 64),
		"maxForecast":       strconv.FormatFloat(high, 'f', 6, 64),
	}, map[string][]byte{"data": b}, nil
}

// Split returns the points cut into pieces that start at full multiples of step since the Unix epoch, each with its point's
// value. A step below a minute or more than 100,000 pieces are an error.
func Split(points []Point, step time.Duration) ([]Point, error) {
	if step < time.Minute {
		return nil, fmt.Errorf("split into %v: want a minute or more", step)
	}
	const most = 100_000
	var out []Point
	for _, p := range points {
		for at := p.Start; at.Before(p.End); {
			if len(out) == most {
				return nil, fmt.Errorf("split into %v: more than %d pieces", step, most)
			}
			next := time.Unix(0, at.UnixNano()-at.UnixNano()%int64(step)).UTC().Add(step)
			if next.After(p.End) {
				next = p.End
			}
			piece := p
			piece.Start, piece.End = at, next
			out = append(out, piece)
			at = next
		}
	}
	return out, nil
}
